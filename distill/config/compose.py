"""Recipes, composed by Hydra from ``conf/``, ``recipes/`` and overrides, as the schema's dataclasses."""

import hashlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from distill.config.build import build_config
from distill.config.schema import Config
from distill.errors import UserError, nearest

PACKAGE = Path(__file__).resolve().parent.parent


def folder(name: str) -> Path:
    """``conf`` or ``recipes``: beside the package (installed) or one folder up (a checkout)."""
    for candidate in (PACKAGE / name, PACKAGE.parent / name):
        if candidate.is_dir():
            return candidate
    raise UserError(f"the folder {name}/ of this installation is missing; install distill again")


def recipe_names() -> list[str]:
    """The recipes that ship."""
    return sorted(path.stem for path in folder("recipes").glob("*.yaml"))


def recipe_path(recipe: str) -> Path:
    """The file of a recipe given by name or path. Raises UserError where there is none."""
    path = Path(recipe)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise UserError(
                f"no recipe file {recipe}; give the path of a YAML file, or one of {', '.join(recipe_names())}"
            )
        return path.resolve()
    shipped = folder("recipes") / f"{recipe}.yaml"
    if not shipped.is_file():
        raise UserError(f"unknown recipe '{recipe}'{nearest(recipe, recipe_names())}")
    return shipped


def recipe_summary(path: Path) -> tuple[str, str, str]:
    """The first comment of a recipe: its task and its method, which the first line names, and what follows."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            lines.append(line.removeprefix("#").strip())
    task, _, method = "".join(lines[:1]).partition(": ")
    return task, method, " ".join(lines[1:])


def run_name(recipe: Path, overrides: Sequence[str]) -> str:
    """The recipe's name, and a suffix of its own for overrides, so that no run writes over another's bundle."""
    places = ("name=", "outputs=", "exports=", "threads=", "hydra.", "hydra/")
    own = [o for o in overrides if not o.lstrip("+~").startswith(places)]
    stem = re.sub(r"[^A-Za-z0-9._+-]+", "-", recipe.stem).lstrip(".") or "recipe"
    if not own:
        return stem
    suffix = "-".join(re.sub(r"[^A-Za-z0-9.]+", "-", o.lstrip("+~")).strip("-.") for o in own)
    told = all(re.fullmatch(r"[\w./]+=[A-Za-z0-9.]+", o.lstrip("+~")) for o in own)
    if len(suffix) > 60 or not told:  # other signs would fall together
        suffix = suffix[:50].rstrip("-.") + "-" + hashlib.sha256(" ".join(own).encode()).hexdigest()[:8]
    return f"{stem}-{suffix}"


def groups() -> list[str]:
    """Hydra's config groups: the folders of ``conf/``."""
    return sorted(path.name for path in folder("conf").iterdir() if path.is_dir())


def check_recipe(node: Any, path: Path, known: Sequence[str]) -> None:
    """What a recipe may hold besides the schema's keys: choices of groups, and nothing of Hydra's own.

    Hydra makes objects of classes that its own section names, and a recipe from a stranger is data, never code.
    """
    teacher = node.get("teacher")
    if isinstance(teacher, dict) and teacher.get("trust_remote_code"):
        raise UserError(
            f"the recipe {path.name} sets teacher.trust_remote_code, which would run code that comes with the teacher; "
            "a recipe is data: remove it there, and give teacher.trust_remote_code=true on the command line"
        )
    if "hydra" in node:
        raise UserError(f"{path.name} sets 'hydra'; a recipe holds the keys of distill alone, so take it out")
    defaults = node.get("defaults", [])
    if not isinstance(defaults, Sequence) or isinstance(defaults, str):
        raise UserError(f"defaults in {path.name} is {defaults!r}; expected a list such as [override /student: lstm]")
    for item in defaults:
        key = str(next(iter(item))) if hasattr(item, "keys") and len(item) == 1 else ""
        group = key.removeprefix("override ").strip().removeprefix("/")
        if group in known and key != f"override /{group}":
            raise UserError(f"defaults in {path.name} has '{key}'; write 'override /{group}: {item[key]}'")
        if group not in known and item != "_self_":
            raise UserError(
                f"defaults in {path.name} has '{group or item}', which is no group of choices{nearest(group, known)}"
            )


def run_with_hydra(recipe: str, overrides: Sequence[str], flags: Sequence[str], task: Callable[[Config], Any]) -> Any:
    """Composes a recipe and calls ``task`` with it; under ``--multirun`` once a job.

    ``flags`` are Hydra's own (``--multirun``, ``--cfg job`` …). A key is added where it is not in the YAML files, and
    the schema rejects what it does not know, with the nearest right key.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises instead of printing and exiting with 1
    import hydra
    from hydra.core.config_store import ConfigStore
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    path = recipe_path(recipe)
    try:
        node = OmegaConf.load(path)
    except Exception as error:  # PyYAML's errors have no common base that is worth naming
        raise UserError(f"the recipe {path.name} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(node, DictConfig):
        raise UserError(f"the recipe {path.name} is {node!r}; expected a mapping of keys")
    known = groups()
    check_recipe(OmegaConf.to_container(node), path, known)
    stored = "recipe_" + re.sub(r"[^A-Za-z0-9_.-]", "_", path.stem)  # a name that Hydra's grammar takes for a text
    ConfigStore.instance().store(group="recipe", name=stored, node=node, package="_global_")
    given_name = next((o for o in overrides if o.lstrip("+").startswith("name=")), None)
    if given_name and "," not in given_name and "--multirun" in flags:
        raise UserError(f"{given_name} would be the name of every run of --multirun; leave it out, each gets its own")

    errors: list[UserError] = []
    names: set[str] = set()

    def job(composed: DictConfig) -> Any:
        try:
            given = list(HydraConfig.get().overrides.task)
        except ValueError:
            given = list(overrides)
        try:
            values = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
        except OmegaConfBaseException as error:
            errors.append(UserError(_in_plain_words(error, known)))
            return None
        assert isinstance(values, dict)
        values.pop("hydra", None)
        values["recipe"] = path.stem
        if not values.get("name"):
            values["name"] = run_name(path, [o for o in given if not o.startswith("recipe=")])
        if values["name"] in names:
            errors.append(
                UserError(f"two runs of --multirun are called '{values['name']}'; take name out of the recipe")
            )
            return None
        names.add(values["name"])
        try:
            return task(build_config({str(k): v for k, v in values.items()}))
        except UserError as error:  # Hydra would print its own lines about it
            errors.append(error)
            return None

    arguments = [f"recipe={stored}", *(_addable(o, known) for o in overrides), *flags]
    before = sys.argv
    sys.argv = ["distill run", *arguments]
    try:
        main = hydra.main(version_base="1.3", config_path=str(folder("conf")), config_name="config")(job)
        result = main()
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_in_plain_words(error, known)) from error
    finally:
        sys.argv = before
    if errors:
        raise errors[0]
    return result


def _addable(override: str, known: Sequence[str]) -> str:
    """``key=value`` as ``++key=value``, so that keys which no YAML file lists can be set; group choices stay."""
    key = override.split("=", 1)[0]
    if "=" not in override and not override.startswith("~"):
        raise UserError(f"'{override}' is no override; write KEY=VALUE, such as student=lstm or train.steps=300")
    if override.startswith(("+", "~")) or key.startswith(("hydra.", "hydra/")) or key in known or "@" in key:
        return override
    return f"++{override}"


def _in_plain_words(error: Exception, known: Sequence[str]) -> str:
    from omegaconf.errors import MissingMandatoryValue

    text = str(error)
    override = getattr(error, "override", None)
    if override is not None:
        return (
            f"'{override.removeprefix('++')}' cannot be read as KEY=VALUE; leave no space before =, close brackets and "
            "quotes, and put a value with commas or special characters in quotes: KEY='VALUE'"
        )
    if isinstance(error, MissingMandatoryValue):
        return f"'{error.full_key}' is missing; set it in the recipe, or add {error.full_key}=VALUE"
    match = re.search(r"Could not find '(\w+)/([^']+)'", text)
    if match and match[1] in known:
        choices = [p.stem for p in (folder("conf") / match[1]).glob("*.yaml")]
        return f"unknown choice {match[1]}={match[2]}{nearest(match[2], choices)}"
    return "the recipe cannot be composed: " + " ".join(text.split())
