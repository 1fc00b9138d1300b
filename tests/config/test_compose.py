"""Every file of ``conf/`` and every recipe composes; overrides, names and recipe files from elsewhere."""

import os
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from distill.config import Config, PretrainedTeacher, Source, SourceTokenizer, TeacherTokenizer, TrainedTokenizer
from distill.config.compose import folder, groups, recipe_names, recipe_path, recipe_summary, run_name, run_with_hydra
from distill.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
CHOICES = [(group, path.stem) for group in groups() for path in sorted((folder("conf") / group).glob("*.yaml"))]


def _compose(recipe: str, *overrides: str, flags: Sequence[str] = ()) -> list[Config]:
    made: list[Config] = []
    run_with_hydra(recipe, overrides, flags, made.append)
    return made


def _missing(group: str, choice: str) -> Iterator[str]:
    """Overrides for the values that a file leaves to its user."""
    node = OmegaConf.load(folder("conf") / group / f"{choice}.yaml")
    is_global = "@package _global_" in (folder("conf") / group / f"{choice}.yaml").read_text()
    for key in OmegaConf.missing_keys(node):
        yield f"{key if is_global else f'{group}.{key}'}=somewhere"
    if choice == "cosine":
        yield "task=sentence_embedding"


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_composes_into_its_dataclass(group: str, choice: str) -> None:
    (config,) = _compose("quickstart", f"{group}={choice}", *_missing(group, choice))
    assert config.recipe == "quickstart"
    node = getattr(config, group)
    written = OmegaConf.to_container(OmegaConf.load(folder("conf") / group / f"{choice}.yaml"))
    assert isinstance(written, dict)
    named = written.get(group, written).get("name")
    if named is not None:
        assert node.name == named


@pytest.mark.parametrize("compression", ["none", "prune"])
def test_every_training_of_a_language_model_has_few_tokens_a_forward_pass(compression: str) -> None:
    """A teacher, a student and its recovery alike give logits over a whole vocabulary."""
    (config,) = _compose("wikitext2", f"compression={compression}")
    assert config.task.name == "language-modelling"
    assert isinstance(config.teacher, PretrainedTeacher)
    assert {train.tokens for train in (config.train, config.teacher.train, config.compression.train)} == {2048}
    (other,) = _compose("quickstart", f"compression={compression}")
    assert other.train.tokens == other.compression.train.tokens == 16384


STANDARD_TERMS = (
    "Text classification",
    "Multi-label classification",
    "Regression",
    "Token classification",
    "Question answering",
    "Sentence embedding",
    "Language modelling",
    "Translation",
)


@pytest.mark.parametrize("recipe", recipe_names())
def test_every_recipe_composes_and_says_what_it_is(recipe: str) -> None:
    needed = ["teacher.source.path=m", "data.train.path=x.csv"] if recipe == "compress" else []
    (config,) = _compose(recipe, *needed)
    assert config.recipe == recipe
    if not needed:
        assert config.name == recipe
    task, method = recipe_summary(recipe_path(recipe))
    assert task in STANDARD_TERMS
    assert 20 < len(method) < 80
    assert re.search(r"^# .*\bNeeds\b", recipe_path(recipe).read_text(), re.MULTILINE)


def test_the_rotten_tomatoes_recipe_is_what_it_promises() -> None:
    (config,) = _compose("rotten_tomatoes")
    assert config.seeds == (0, 1, 2, 3, 4)
    assert config.arms == ("linear", "static", "hard", "soft", "soft+transfer", "pseudo+transfer")
    assert config.data.labelled == 2000
    assert config.data.group == "movie_name"
    assert (config.student.name, getattr(config.student, "count", None), config.train.steps) == ("layers", 3, 1000)


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ([], "small"),
        (["student=lstm"], "small-student-lstm"),
        (["++train.steps=3"], "small-train.steps-3"),
        (["student=lstm", "++train.steps=3"], "small-student-lstm-train.steps-3"),
        (["name=x", "++outputs=o", "exports=e", "hydra.run.dir=.", "hydra/launcher=basic"], "small"),
        (["~data.pair=x"], "small-data.pair-x"),
    ],
)
def test_overrides_give_a_name_of_their_own(overrides: list[str], name: str) -> None:
    assert run_name(Path("recipes/small.yaml"), overrides) == name


def test_long_overrides_give_short_names_that_still_differ() -> None:
    names = {run_name(Path("small.yaml"), [f"data.train.path={'x' * 100}{i}"]) for i in range(50)}
    assert len(names) == 50
    assert max(map(len, names)) <= len("small-") + 60


def test_a_run_with_overrides_is_named_after_them_unless_a_name_is_given() -> None:
    assert _compose("quickstart", "train.steps=3")[0].name == "quickstart-train.steps-3"
    assert _compose("quickstart", "train.steps=3", "name=mine")[0].name == "mine"


def test_keys_that_no_yaml_file_lists_can_be_set_and_wrong_ones_name_the_right() -> None:
    (config,) = _compose("quickstart", "export.max_drop=2", "data.label_map={0: bad}", "train.patience=2")
    assert config.export.max_drop == 2.0
    assert config.data.label_map == {"0": "bad"}
    assert config.train.patience == 2
    for override, message in (
        ("export.maxdrop=2", r"unknown key 'export\.maxdrop'; did you mean 'max_drop'\?"),
        ("stduent=lstm", r"unknown key 'stduent'; did you mean 'student'\?"),
        ("student=lstn", r"unknown choice student=lstn; did you mean 'lstm'\?"),
        ("objective=kll", r"unknown choice objective=kll"),
        ("train.steps=three", r"train\.steps is 'three'"),
        ("student.vocabulary.trim=maybe", "expected true or false"),
        ("train.steps", "is no override; write KEY=VALUE"),
        ("train.steps=[1", r"'train\.steps=\[1' cannot be read as KEY=VALUE"),
    ):
        with pytest.raises(UserError, match=message):
            _compose("quickstart", override)


def test_a_choice_takes_its_settings_with_it_and_overrides_win_over_the_recipe() -> None:
    (config,) = _compose("quickstart", "student=lstm", "data.labelled=7")
    assert config.train.learning_rates == (1e-3, 3e-3)
    assert config.data.labelled == 7
    (config,) = _compose("quickstart", "student=lstm", "train.learning_rates=[2e-3]")
    assert config.train.learning_rates == (2e-3,)


def test_a_teacher_from_nothing_brings_a_trained_tokenizer_unless_another_is_chosen(tmp_path: Path) -> None:
    (config,) = _compose("quickstart", "teacher=transformer", "tokenizer.vocabulary_size=100")
    assert config.tokenizer == TrainedTokenizer("trained", vocabulary_size=100)
    (config,) = _compose("quickstart", "teacher=transformer", "tokenizer=source", "tokenizer.source.path=x")
    assert config.tokenizer == SourceTokenizer("source", Source(path="x"))
    own = _write(tmp_path / "own.yaml", "defaults: [override /teacher: transformer]\ndata: {train: {path: x}}\n")
    assert _compose(own)[0].tokenizer == TrainedTokenizer("trained")
    assert _compose("quickstart")[0].tokenizer == TeacherTokenizer("teacher")


def test_the_language_modelling_recipe_fine_tunes_smollm2_and_takes_a_teacher_from_nothing() -> None:
    assert _compose("wikitext2")[0].teacher.fine_tune == "always"
    from_nothing = _compose("wikitext2", "teacher=transformer", "tokenizer=trained", "tokenizer.model=bpe")[0].teacher
    assert (from_nothing.name, from_nothing.train.steps) == ("transformer", 120)


def test_the_arm_static_has_the_budget_of_the_choice() -> None:
    chosen = _compose("quickstart", "student=static")[0]
    floor = _compose("quickstart", "arms=[linear,static,hard]")[0].static
    assert floor is not None
    assert (floor.train.steps, floor.train.learning_rates) == (chosen.train.steps, chosen.train.learning_rates)
    assert floor.student == chosen.student


def test_a_value_that_a_choice_leaves_open_is_asked_for() -> None:
    with pytest.raises(UserError, match=r"data\.train\.path"):
        _compose("quickstart", "data=files")


def test_recipes_are_named_or_found_by_path() -> None:
    with pytest.raises(UserError, match=r"unknown recipe 'quikstart'; did you mean 'quickstart'\?"):
        recipe_path("quikstart")
    with pytest.raises(UserError, match=r"no recipe file nowhere\.yaml"):
        recipe_path("nowhere.yaml")


def _write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


OWN = """# My own.
defaults:
  - override /student: transformer
  - override /objective: mse
data:
  train: {path: mine.csv}
  pair: second
arms: [linear, hard, soft]
seeds: [7]
"""


def test_a_recipe_file_composes_from_any_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path / "own.yaml", OWN)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for given in ("../own.yaml", str(tmp_path / "own.yaml")):
        (config,) = _compose(given, "train.steps=1")
        assert (config.recipe, config.name, config.seeds) == ("own", "own-train.steps-1", (7,))
        assert config.student.name == "transformer"
        assert [term.name for term in config.objective.terms] == ["hard", "mse"]
        assert config.data.pair == "second"
    assert Path.cwd() == tmp_path / "elsewhere"
    assert not any((tmp_path / "elsewhere").iterdir())  # hydra leaves no folder of its own


def test_a_file_of_a_shipped_recipes_name_does_not_stay(tmp_path: Path) -> None:
    own = _write(tmp_path / "quickstart.yaml", OWN)
    assert _compose(own)[0].seeds == (7,)
    assert _compose("quickstart")[0].seeds == (0, 1, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b\n", r"own\.yaml is \['a', 'b'\]; expected a mapping"),
        ("a: [1\n", r"own\.yaml is not valid YAML"),
        ("a:\tb: c\n", r"own\.yaml is not valid YAML"),
        ("data: {train: {path: x}}\nsedes: [1]\n", r"unknown key 'sedes'; did you mean 'seeds'\?"),
        ("defaults: [override /student: lstn]\n", r"unknown choice student=lstn; did you mean 'lstm'\?"),
        ("defaults: [override /studnet: lstm]\n", r"'studnet', which is no group of choices; did you mean 'student'\?"),
        ("data: {train: {path: '${nowhere}'}}\n", r"has '\$\{nowhere\}'; a recipe says its values"),
    ],
)
def test_a_recipe_file_that_is_wrong_is_told_in_words(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        _compose(_write(tmp_path / "own.yaml", text))


def test_a_recipe_file_that_is_not_utf_8_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_bytes(b"a: \xff\n")
    with pytest.raises(UserError, match="not valid YAML"):
        _compose(str(tmp_path / "own.yaml"))


@pytest.mark.parametrize(
    "key",
    [
        "hydra: {callbacks: {x: {_target_: pathlib.Path.touch, self: {_target_: pathlib.Path, _args_: [PLACE]}}}}",
        "hydra: {callbacks: {x: {_target_: logging.FileHandler, filename: PLACE}}}",
        "hydra: {job: {chdir: true}, run: {dir: PLACE}}",
    ],
)
def test_a_recipe_is_data_never_code(tmp_path: Path, key: str) -> None:
    place = tmp_path / "made by the recipe"
    own = _write(tmp_path / "own.yaml", f"data: {{train: {{path: x}}}}\n{key.replace('PLACE', str(place))}\n")
    try:
        with pytest.raises(UserError, match="hydra"):
            _compose(own)
    finally:
        assert not place.exists()


def test_a_target_in_a_recipe_is_an_unknown_key(tmp_path: Path) -> None:
    own = _write(tmp_path / "own.yaml", "data: {train: {path: x, _target_: os.getcwd}}\n")
    with pytest.raises(UserError, match=r"unknown key 'data\.train\._target_'"):
        _compose(own)


@pytest.mark.parametrize("name", ["my own", "a,b", "a=b", "rezept-ü", "a(b)", "v1.2", ".hidden", "x${y}", "null"])
def test_a_recipe_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    own = _write(tmp_path / f"{name}.yaml", OWN)
    (config,) = _compose(own)
    assert (config.recipe, config.seeds) == (name, (7,))
    assert Path(config.name).name == config.name
    assert _compose(own, "name=mine")[0].name == "mine"


def test_a_name_that_is_no_folder_is_refused_with_the_rule() -> None:
    with pytest.raises(UserError, match="name is 'my/own'; it names a folder"):
        _compose("quickstart", "name=my/own")


def test_multirun_runs_each_combination_under_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = _compose("quickstart", "student=lstm,transformer", "train.steps=1,2", flags=["--multirun"])
    assert [(c.name, c.student.name, c.train.steps) for c in made] == [
        (f"quickstart-student-{student}-train.steps-{epochs}", name, epochs)
        for student, name in (("lstm", "recurrent"), ("transformer", "transformer"))
        for epochs in (1, 2)
    ]
    assert {path.name for path in tmp_path.iterdir()} <= {"outputs"}  # where Hydra writes its multirun.yaml


def test_an_error_in_one_of_several_runs_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"train\.steps is 0"):
        _compose("quickstart", "train.steps=1,0", flags=["--multirun"])


@pytest.mark.parametrize(
    ("one", "other"),
    [("data.text=a_b", "data.text=a-b"), ("data.train.path=a/b", "data.train.path=a_b"), ("seeds=[1,2]", "seeds=1-2")],
)
def test_different_overrides_give_different_names(one: str, other: str) -> None:
    assert run_name(Path("small.yaml"), [one]) != run_name(Path("small.yaml"), [other])


def test_a_slip_in_a_key_is_told_before_what_is_missing_for_it(tmp_path: Path) -> None:
    """``conf/data/files.yaml`` leaves ``data.train.path`` to its user."""
    recipe = tmp_path / "own.yaml"
    for data, message in (
        ("{trian: {path: a.csv}}", r"unknown key 'data\.trian'; did you mean 'train'\?"),
        ("{train: {pth: a.csv}}", r"unknown key 'data\.train\.pth'; did you mean 'path'\?"),
        ("{text: review}", r"'data\.train\.path' is missing; set it in the recipe"),
    ):
        recipe.write_text(f"# A task: a method\ndata: {data}\n", "utf-8")
        with pytest.raises(UserError, match=f"^{message}"):
            _compose(str(recipe))


def test_cfg_job_prints_the_configuration_and_runs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert _compose("quickstart", flags=["--cfg", "job"]) == []
    assert "rotten_tomatoes_corpus_full" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("studnet.layers=2", r"unknown key 'studnet'; did you mean 'student'\?"),
        ("student.layers=two", r"student\.layers\[0\] is 'two'"),
        ("train.steps=0", r"train\.steps is 0"),
        ("data=files", r"'data\.train\.path' is missing"),
    ],
)
def test_cfg_prints_nothing_that_would_not_run(override: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    for what in ("job", "all"):
        with pytest.raises(UserError, match=message):
            _compose("quickstart", override, flags=["--cfg", what])
    assert capsys.readouterr().out == ""


def test_cfg_prints_a_part_of_the_configuration_where_there_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    _compose("quickstart", flags=["--cfg", "job", "--package", "task.name"])
    assert capsys.readouterr().out == "text-classification\n"
    for nothing in ("nosuch", "teacher.nosuch", "task.labels"):
        with pytest.raises(UserError, match="the recipe sets nothing there"):
            _compose("quickstart", flags=["--cfg", "job", "--package", nothing])
        told = capsys.readouterr()
        assert (told.out, nothing in told.err) == ("", True)


def test_composing_leaves_the_command_line_and_directory_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setattr(sys, "argv", ["pytest", "--flag"])
    before = os.getcwd()
    _compose("quickstart")
    with pytest.raises(UserError):
        _compose("quickstart", "student=lstn")
    assert sys.argv == ["pytest", "--flag"]
    assert os.getcwd() == before


def test_the_package_list_names_every_package_on_disk() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "distill").rglob("__init__.py")}
    assert len(listed) == len(set(listed))
    assert set(listed) == found | {"distill.conf", "distill.recipes"}
    with_code = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "distill").rglob("*.py")}
    assert with_code == found  # no folder with modules lacks its __init__.py


def test_package_data_reaches_every_file_that_is_no_module() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    places = {
        "distill": "distill",
        "distill.report": "distill/report",
        "distill.conf": "conf",
        "distill.recipes": "recipes",
    }
    reached = {
        path
        for package, patterns in settings["package-data"].items()
        for pattern in patterns
        for path in (ROOT / places[package]).glob(pattern)
    }
    there = {
        path
        for place in ("distill", "conf", "recipes")
        for path in (ROOT / place).rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    }
    assert there == reached
