"""Recipes from strangers: whatever a file holds, it composes or is refused in words, and none of it is run."""

import dataclasses
import json
import random
import time
from pathlib import Path

import pytest
import yaml

from distill.cli import main
from distill.config import Config
from distill.config.compose import folder, recipe_names, run_with_hydra
from distill.errors import UserError

MUTATIONS = 50
VALUES = [
    None,
    True,
    0,
    -1,
    1.5,
    float("nan"),
    float("inf"),
    2**70,
    "",
    "x",
    "???",
    "${seeds}",
    [],
    [None],
    {},
    {"name": []},
]
"""What stands in the place of another value."""
PIECES = [
    "{",
    "]",
    ":",
    "- ",
    "\n",
    "\t",
    "*a",
    "&a ",
    "!!binary ",
    "? ",
    "'",
    "#",
    "\x00",
    "é",
    "<<: ",
    "override ",
    "../",
]


def compose(path: Path, *overrides: str) -> list[Config]:
    made: list[Config] = []
    run_with_hydra(str(path), overrides, [], made.append)
    return made


def places(value: object, at: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """Every place in a tree of mappings and lists."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, one in inside for place in places(one, (*at, key)))]


def with_another_value(tree: object, draw: random.Random) -> str:
    """One value of a recipe is another, or stands under another key."""
    *way, last = draw.choice(places(tree)[1:])
    node: object = tree
    for key in way:
        node = node[key]  # type: ignore[index]
    assert isinstance(node, (dict, list))
    if isinstance(node, dict) and draw.random() < 0.3:
        node[draw.choice([1, None, True, "x", "name", "_target_", "hydra"])] = node.pop(last)
    else:
        node[last] = draw.choice(VALUES)
    return yaml.safe_dump(tree)


def with_another_piece(text: str, draw: random.Random) -> str:
    """Some characters are others."""
    for _ in range(draw.randint(1, 3)):
        place = draw.randrange(len(text))
        text = text[:place] + draw.choice(PIECES) + text[place + draw.randrange(4) :]
    return text


def test_a_recipe_with_anything_changed_composes_or_is_refused_in_words(tmp_path: Path) -> None:
    draw = random.Random(25)
    composed = 0
    for number in range(MUTATIONS):
        text = (folder("recipes") / f"{draw.choice(recipe_names())}.yaml").read_text(encoding="utf-8")
        changed = with_another_piece(text, draw) if number % 3 == 0 else with_another_value(yaml.safe_load(text), draw)
        own = tmp_path / "own.yaml"
        own.write_text(changed, encoding="utf-8")
        try:
            composed += len(compose(own))
        except UserError:
            pass
        except Exception as error:
            raise AssertionError(f"mutation {number}:\n{changed}") from error
    assert 5 < composed < MUTATIONS - 20


LAUGHS = "a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (LAUGHS, "more than 20,000 keys and values"),
        (LAUGHS.replace("[", "{x: [").replace("]", "]}"), "more than 20,000 keys and values"),
        ("".join(f"a{n}: '${{a{n + 1}}}${{a{n + 1}}}'\n" for n in range(60)) + "a60: ha\n", "refers to nothing else"),
        ("a: " + "[" * 5000, "50 levels"),
        ("a: " + "{b: " * 60 + "1" + "}" * 60, "50 levels"),
        ("a: &a\n  b: *a\n", "holds itself"),
        ("a: " + "x" * 2_000_000, "bytes; a recipe has at most"),
        (f"seeds: [0x{'f' * 6000}]", "a whole number beyond"),
        (f"? 0x{'f' * 6000}\n: 1", "a whole number beyond"),
        (f"train: {{clip: {'9' * 400}}}", "a whole number beyond"),
        ("train: {clip: .nan}", "train.clip is nan; expected a number"),
        ("defaults: {override /student: lstm}", "expected a list"),
        ("defaults: [[override /student]]", "no group of choices"),
        ("defaults: [{override /student: [lstm, gru]}]", "unknown choice student=['lstm', 'gru']"),
        ("defaults: [{override /student: null}]", "unknown choice student=None"),
        ("defaults: [{1: 2}]", "'1', which is no group of choices"),
        ("name: !!python/object/apply:os.getcwd []", "not valid YAML"),
        ("name: !!python/object/apply:pathlib.Path [x]", "expected a text"),
        ("data: !!binary aGE=", "data is b'ha'; expected a mapping"),
        ("name: [a]", "name is ['a']; expected a text"),
        ("name: true", "name is True; expected a text"),
        ("task: {name: {}}", "task.name is {}; expected a text"),
        ("student: {name: [layers]}", "student.name is ['layers']"),
        ("objective: {terms: [{name: {}}]}", "objective.terms[0].name is {}"),
    ],
)
def test_a_recipe_that_no_person_writes_is_refused_at_once(tmp_path: Path, text: str, complaint: str) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(text if "data:" in text else f"data: {{train: {{path: x}}}}\n{text}\n", encoding="utf-8")
    start = time.monotonic()
    with pytest.raises(UserError) as caught:
        compose(own)
    assert complaint in str(caught.value)
    assert time.monotonic() - start < 10


@pytest.fixture
def model_with_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model whose code leaves a mark where it is run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "odd", "auto_map": {"AutoConfig": "odd.OddConfig"}}')
    (model / "odd.py").write_text(
        f"open({str(tmp_path / 'mark')!r}, 'w').close()\n"
        "from transformers import PretrainedConfig\n"
        "class OddConfig(PretrainedConfig):\n    model_type = 'odd'\n"
    )
    (tmp_path / "texts.csv").write_text("text,label\n" + "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(60)))
    (tmp_path / "elsewhere.yaml").write_text(
        "# @package _global_\nteacher: {name: pretrained, source: {path: model}, trust_remote_code: true}\n"
        f"hydra: {{callbacks: {{x: {{_target_: logging.FileHandler, filename: {tmp_path / 'mark'}}}}}}}\n"
    )
    return model


OWN = """
defaults: [{override /teacher: folder}]
data: {train: {path: texts.csv}}
teacher: {source: {path: model}}
arms: [linear, hard, soft]
"""
TEACHER = "{name: pretrained, source: {path: model}, trust_remote_code: true}"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (f"teacher: {TEACHER}", "trust_remote_code"),
        (f"teacher: '${{oc.create:{TEACHER}}}'", "refers to nothing else"),
        (f"""teacher: '${{oc.decode:"{TEACHER}"}}'""", "refers to nothing else"),
        ("teacher: {name: pretrained, source: {path: model}, trust_remote_code: '${oc.env:TRUST}'}", "refers to"),
        (f"report: {TEACHER}\nteacher: ${{report}}", "refers to"),
        (
            "defaults: [{override /teacher: ../../../../../../../../../../../../PLACE/elsewhere}]",
            "unknown choice teacher=",
        ),
        ("defaults: [{override /teacher@hydra: folder}]", "no group of choices"),
    ],
)
def test_the_code_of_a_teacher_is_run_by_no_recipe(
    model_with_code: Path,
    text: str,
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TRUST", "true")
    text = text.replace("PLACE", str(model_with_code.parent).lstrip("/"))
    Path("stranger.yaml").write_text(f"data: {{train: {{path: texts.csv}}}}\narms: [linear, hard, soft]\n{text}\n")
    assert main(["run", "stranger.yaml"]) == 2
    told = capsys.readouterr().err
    assert complaint in told
    assert "Traceback" not in told
    assert not Path("mark").exists()


def test_the_code_of_a_teacher_is_run_where_the_command_line_says_so(model_with_code: Path) -> None:
    Path("own.yaml").write_text(OWN)
    main(["run", "own.yaml"])
    assert not Path("mark").exists()
    main(["run", "own.yaml", "teacher.trust_remote_code=true"])
    assert Path("mark").exists()


def test_the_folder_of_a_run_does_not_bring_that_trust(
    model_with_code: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("own.yaml").write_text(OWN)
    (config,) = compose(Path("own.yaml"), "teacher.trust_remote_code=true")
    Path("stranger").mkdir()
    Path("stranger/config.json").write_text(json.dumps(dataclasses.asdict(config)))
    assert main(["export", "stranger"]) == 2
    assert "teacher.trust_remote_code=true" in capsys.readouterr().err
    assert not Path("mark").exists()
