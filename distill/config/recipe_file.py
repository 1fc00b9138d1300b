"""A recipe's file, read as data: nothing in it is run, looked up or multiplied."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.errors import UserError, nearest

if TYPE_CHECKING:
    from omegaconf import DictConfig

LARGEST = 1_000_000
"""Bytes of a recipe's file."""
MOST_VALUES = 20_000
"""Keys and values of a recipe, with an alias counted as all that it stands for: aliases of aliases multiply."""
DEEPEST = 50
"""Lists and mappings inside each other."""
LARGEST_NUMBER = 2**63 - 1


def read_recipe(path: Path, groups: Mapping[str, Sequence[str]]) -> "DictConfig":
    """The recipe at ``path``. ``groups`` are the choices of each of Hydra's config groups.

    Raises UserError where it is no YAML mapping, is larger than a person writes, or asks for more than to be read.
    """
    from omegaconf import DictConfig, OmegaConf

    if path.stat().st_size > LARGEST:
        raise UserError(f"the recipe {path.name} has {path.stat().st_size:,} bytes; a recipe has at most {LARGEST:,}")
    try:
        check_size(path)
        node = OmegaConf.load(path)
    except UserError:
        raise
    except Exception as error:  # PyYAML's errors have no common base that is worth naming
        raise UserError(f"the recipe {path.name} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(node, DictConfig):
        raise UserError(f"the recipe {path.name} is {node!r}; expected a mapping of keys")
    values = OmegaConf.to_container(node)
    assert isinstance(values, dict)
    check_recipe(values, path.name, groups)
    return node


def check_size(path: Path) -> None:
    """Raises UserError for too many values or levels, before anything is made of them."""
    import yaml

    sizes: dict[str, int] = {}
    """Values that each anchor stands for."""
    inside: list[str | None] = []
    """Anchors of the lists and mappings that are open, and where each began to count."""
    begun: list[int] = []
    values = 0
    for event in yaml.parse(path.read_text(encoding="utf-8-sig"), Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, first = inside.pop(), begun.pop()
            if anchor is not None:
                sizes[anchor] = values - first
        elif isinstance(event, yaml.CollectionStartEvent):
            inside.append(event.anchor)
            begun.append(values)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor in inside:
                raise UserError(f"the recipe {path.name} has a value that holds itself (*{event.anchor})")
            values += sizes.get(str(event.anchor), 0)
        if isinstance(event, yaml.NodeEvent):
            values += 1
        if values > MOST_VALUES or len(inside) > DEEPEST:
            raise UserError(
                f"the recipe {path.name} has more than {MOST_VALUES:,} keys and values, aliases counted, or more than "
                f"{DEEPEST} levels; write it shorter"
            )


def check_recipe(values: dict[Any, Any], name: str, groups: Mapping[str, Sequence[str]]) -> None:
    """What a recipe may hold: choices of groups and values, and nothing of Hydra's own.

    Hydra makes objects of classes that its own section names, OmegaConf runs functions in the place of values, and a
    recipe from a stranger is data, never code.
    """
    if "hydra" in values:
        raise UserError(f"{name} sets 'hydra'; a recipe holds the keys of distill alone, so take it out")
    check_values(values, name)
    defaults = values.get("defaults", [])
    if not isinstance(defaults, list):
        raise UserError(f"defaults in {name} is {defaults!r}; expected a list such as [override /student: lstm]")
    for item in defaults:
        check_choice(item, name, groups)


def check_choice(item: Any, name: str, groups: Mapping[str, Sequence[str]]) -> None:
    """One line of ``defaults``. A choice that is no name but a path would read a file from anywhere."""
    if item == "_self_":
        return
    key, choice = next(iter(item.items())) if isinstance(item, dict) and len(item) == 1 else ("", None)
    group = str(key).removeprefix("override ").strip().removeprefix("/")
    if group not in groups:
        raise UserError(
            f"defaults in {name} has '{group or item}', which is no group of choices{nearest(group, groups)}"
        )
    if key != f"override /{group}":
        raise UserError(f"defaults in {name} has '{key}'; write 'override /{group}: {choice}'")
    if choice not in groups[group]:
        raise UserError(f"unknown choice {group}={choice}{nearest(str(choice), groups[group])}")


def check_values(value: Any, name: str) -> None:
    """Raises UserError for a text with ``${``, by which OmegaConf puts something else in its place, and for a whole
    number that no message could show."""
    for one in (*value, *value.values()) if isinstance(value, dict) else value if isinstance(value, list) else ():
        check_values(one, name)
    if isinstance(value, str) and "${" in value:
        raise UserError(
            f"{name} has '{value}'; a recipe says its values and refers to nothing else: write the value itself, or "
            "give it on the command line"
        )
    if isinstance(value, int) and abs(value) > LARGEST_NUMBER:
        raise UserError(f"{name} has a whole number beyond {LARGEST_NUMBER}; write a smaller one")
