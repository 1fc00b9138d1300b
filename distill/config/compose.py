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


def recipe_summary(path: Path) -> str:
    """The first comment of a recipe."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            lines.append(line.removeprefix("#").strip())
    return " ".join(lines)


def run_name(recipe: Path, overrides: Sequence[str]) -> str:
    """The recipe's name, and a suffix of its own for overrides, so that no run writes over another's bundle."""
    places = ("name=", "outputs=", "exports=", "hydra.", "hydra/")
    own = [o for o in overrides if not o.lstrip("+~").startswith(places)]
    if not own:
        return recipe.stem
    suffix = "-".join(re.sub(r"[^A-Za-z0-9.]+", "-", o.lstrip("+~")).strip("-.") for o in own)
    if len(suffix) > 60:
        suffix = suffix[:50].rstrip("-.") + "-" + hashlib.sha256(" ".join(own).encode()).hexdigest()[:8]
    return f"{recipe.stem}-{suffix}"


def groups() -> list[str]:
    """Hydra's config groups: the folders of ``conf/``."""
    return sorted(path.name for path in folder("conf").iterdir() if path.is_dir())


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
        raise UserError(f"the recipe {path.name} is not valid YAML: {error}") from error
    if not isinstance(node, DictConfig):
        raise UserError(f"the recipe {path.name} is {node!r}; expected a mapping of keys")
    ConfigStore.instance().store(group="recipe", name=path.stem, node=node, package="_global_")

    errors: list[UserError] = []

    def job(composed: DictConfig) -> Any:
        try:
            given = list(HydraConfig.get().overrides.task)
        except ValueError:
            given = list(overrides)
        values = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
        assert isinstance(values, dict)
        values.pop("hydra", None)
        values["recipe"] = path.stem
        if not values.get("name"):
            values["name"] = run_name(path, [o for o in given if not o.startswith("recipe=")])
        try:
            return task(build_config({str(k): v for k, v in values.items()}))
        except UserError as error:  # Hydra would print its own lines about it
            errors.append(error)
            return None

    known = groups()
    arguments = [f"recipe={path.stem}", *(_addable(o, known) for o in overrides), *flags]
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
    if "=" not in override:
        raise UserError(f"'{override}' is no override; write KEY=VALUE, such as student=lstm or train.epochs=3")
    if override.startswith(("+", "~")) or key.startswith(("hydra.", "hydra/")) or key in known or "@" in key:
        return override
    return f"++{override}"


def _in_plain_words(error: Exception, known: Sequence[str]) -> str:
    text = str(error)
    match = re.search(r"Could not find '(\w+)/([^']+)'", text)
    if match and match[1] in known:
        choices = [p.stem for p in (folder("conf") / match[1]).glob("*.yaml")]
        return f"unknown choice {match[1]}={match[2]}{nearest(match[2], choices)}"
    return "the recipe cannot be composed: " + " ".join(text.split())
