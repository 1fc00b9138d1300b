"""Recipes, composed by Hydra from ``conf/``, ``recipes/`` and overrides, as the schema's dataclasses."""

import hashlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.config.build import build, build_config
from distill.config.recipe_file import read_recipe
from distill.config.schema import Config
from distill.errors import UserError, nearest

if TYPE_CHECKING:
    from omegaconf import DictConfig

PACKAGE = Path(__file__).resolve().parent.parent
TRUSTS = re.compile(r"\+{0,2}teacher\.trust_remote_code=true", re.IGNORECASE)
"""The one way to run code that comes with a teacher: said by the person who runs it."""


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


def recipe_summary(path: Path) -> tuple[str, str]:
    """The task and the method of a recipe, which its first line names."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    task, _, method = first.removeprefix("# ").partition(": ")
    return task, method


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


def choices_of(group: str) -> list[str]:
    """The names that a group can be set to."""
    return sorted(path.stem for path in (folder("conf") / group).glob("*.yaml"))


def run_with_hydra(recipe: str, overrides: Sequence[str], flags: Sequence[str], task: Callable[[Config], Any]) -> Any:
    """Composes a recipe and calls ``task`` with it; under ``--multirun`` once a job.

    ``flags`` are Hydra's own (``--multirun``, ``--cfg job`` …). A key is added where it is not in the YAML files, and
    the schema rejects what it does not know, with the nearest right key.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises instead of printing and exiting with 1
    from hydra.core.config_store import ConfigStore

    path, known = recipe_path(recipe), groups()
    node = read_recipe(path, {group: choices_of(group) for group in known})
    stored = "recipe_" + re.sub(r"[^A-Za-z0-9_.-]", "_", path.stem)  # a name that Hydra's grammar takes for a text
    ConfigStore.instance().store(group="recipe", name=stored, node=node, package="_global_")
    given_name = next((o for o in overrides if o.lstrip("+").startswith("name=")), None)
    if given_name and "," not in given_name and "--multirun" in flags:
        raise UserError(f"{given_name} would be the name of every run of --multirun; leave it out, each gets its own")
    arguments = [f"recipe={stored}", *(_addable(o, known) for o in overrides)]
    if "--cfg" in flags:  # Hydra would print what the schema does not know
        _start(arguments, _Jobs(path, overrides, lambda config: None))
    return _start([*arguments, *flags], _Jobs(path, overrides, task))


@dataclass
class _Jobs:
    """What Hydra calls with each composed recipe. It would print lines of its own about an error, so they are kept."""

    path: Path
    overrides: Sequence[str]
    task: Callable[[Config], Any]
    errors: list[UserError] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def run(self, composed: "DictConfig") -> Any:
        """Checks one recipe and runs it."""
        try:
            return self.task(self.config_of(composed))
        except UserError as error:
            self.errors.append(error)
            return None

    def config_of(self, composed: "DictConfig") -> Config:
        """The recipe as its dataclasses. Raises UserError where it is none, or asks for what a recipe may not."""
        from hydra.core.hydra_config import HydraConfig
        from omegaconf import OmegaConf
        from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

        try:
            given = list(HydraConfig.get().overrides.task)
        except ValueError:
            given = list(self.overrides)
        try:
            found = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
        except OmegaConfBaseException as error:
            if isinstance(error, MissingMandatoryValue):  # perhaps because of a slip in a key, which is told first
                build(Config, {**_own(OmegaConf.to_container(composed, resolve=True)), "recipe": "", "name": ""}, "")
            raise UserError(_in_plain_words(error, groups())) from error
        values = _own(found)
        values["recipe"] = self.path.stem
        if not values.get("name"):
            values["name"] = run_name(self.path, [o for o in given if not o.startswith("recipe=")])
        config = build_config(values)
        if getattr(config.teacher, "trust_remote_code", False) and not any(map(TRUSTS.fullmatch, given)):
            raise UserError(
                f"the recipe {self.path.name} sets teacher.trust_remote_code, which would run code that comes with the "
                "teacher; a recipe is data: remove it there, and give teacher.trust_remote_code=true on the command "
                "line"
            )
        if config.name in self.names:
            raise UserError(f"two runs of --multirun are called '{config.name}'; take name out of the recipe")
        self.names.add(config.name)
        return config


def _start(arguments: Sequence[str], jobs: _Jobs) -> Any:
    """Hydra's main function over these arguments."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf import DictConfig
    from omegaconf.errors import OmegaConfBaseException

    def job(composed: DictConfig) -> Any:
        return jobs.run(composed)

    before = sys.argv
    sys.argv = ["distill run", *arguments]
    try:
        main = hydra.main(version_base="1.3", config_path=str(folder("conf")), config_name="config")(job)
        result = main()
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_in_plain_words(error, groups())) from error
    except SystemExit as error:
        if "--package" not in arguments:
            raise
        raise UserError("the recipe sets nothing there; --cfg job without --package prints all its keys") from error
    finally:
        sys.argv = before
    if jobs.errors:
        raise jobs.errors[0]
    return result


def _addable(override: str, known: Sequence[str]) -> str:
    """``key=value`` as ``++key=value``, so that keys which no YAML file lists can be set; group choices stay."""
    key = override.split("=", 1)[0]
    if "=" not in override and not override.startswith("~"):
        raise UserError(f"'{override}' is no override; write KEY=VALUE, such as student=lstm or train.steps=300")
    if override.startswith(("+", "~")) or key.startswith(("hydra.", "hydra/")) or key in known or "@" in key:
        return override
    return f"++{override}"


def _own(composed: Any) -> dict[str, Any]:
    """A composed recipe without what is Hydra's."""
    return {str(key): value for key, value in composed.items() if key != "hydra"}


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
        return f"unknown choice {match[1]}={match[2]}{nearest(match[2], choices_of(match[1]))}"
    return "the recipe cannot be composed: " + " ".join(text.split())
