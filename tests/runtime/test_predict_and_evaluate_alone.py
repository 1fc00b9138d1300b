"""``predict`` and ``evaluate`` of a bundle work where torch, transformers, hydra and rich cannot be imported."""

import json
import os
import random
import select
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_graphs import CORPUS, MakeBundle

from distill import load

BLOCKED = (
    *("torch", "transformers", "hydra", "omegaconf", "rich", "accelerate", "datasets", "sklearn", "scipy", "onnx"),
    *("onnxscript", "matplotlib", "jinja2", "psutil", "pynvml", "safetensors", "pyarrow", "yaml", "pandas"),
)
PROGRAM = f"""
import sys
for name in {BLOCKED!r}:
    sys.modules[name] = None
from distill.cli import main
sys.exit(main(sys.argv[1:]))
"""


def _distill(*arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )


def test_the_block_holds(make_bundle: MakeBundle) -> None:
    done = _distill("compress", str(make_bundle()), "--texts", __file__)
    assert done.returncode == 2
    assert "install distill[train]" in done.stderr


def test_predict_prints_label_and_probability(make_bundle: MakeBundle) -> None:
    folder = make_bundle()
    texts = ["a gorgeous witty movie", "fine", ""]
    done = _distill("predict", str(folder), *texts, "--threads", "1")
    assert (done.returncode, done.stderr) == (0, "")
    expected = [answer.as_dict() for answer in load(folder)(texts)]
    assert done.stdout.splitlines() == [f"{e['label']}\t{e['probability']:.4f}" for e in expected]


def test_an_answer_takes_one_line_whatever_it_holds(make_bundle: MakeBundle) -> None:
    classes = make_bundle("text-classification", ("b\nad", "f\r\nine", "go\u2028od"))
    done = _distill("predict", str(classes), *CORPUS)
    assert [line.partition("\t")[0] for line in done.stdout.splitlines()] == [
        " ".join(answer.as_dict()["label"].splitlines()) for answer in load(classes)(CORPUS)
    ]
    words = ["not\nmuch", "of", "any\x85thing"]
    tags = make_bundle("token-classification", ("O", "B-X"))
    done = _distill("predict", str(tags), "--input", "json", json.dumps(words), json.dumps(words))
    assert [line.count("/") for line in done.stdout.splitlines()] == [3, 3]
    done = _distill("predict", str(tags), "--input", "json", "--json", json.dumps(words))
    assert json.loads(done.stdout)["words"] == words


def test_predict_reads_texts_or_json_from_stdin(make_bundle: MakeBundle) -> None:
    folder = make_bundle()
    texts = ["fine", "{name}, a mess", '"quoted"', "", '["not", "much"]']
    lines = ['"fine"', '{"text": "a mess", "text_pair": "fine"}', '["not", "much"]', '""']
    for given, options, questions in (
        (texts, (), texts),
        (lines, ("--input", "json"), ["fine", {"text": "a mess", "text_pair": "fine"}, ("not", "much"), ""]),
    ):
        arguments = ("predict", str(folder), "--json", "--variant", "int8", *options)
        done = _distill(*arguments, stdin="\n".join(given) + "\n")
        assert (done.returncode, done.stderr) == (0, "")
        expected = [answer.as_dict() for answer in load(folder, "int8")(questions)]
        shown = [json.loads(line) for line in done.stdout.splitlines()]
        assert [s["label"] for s in shown] == [e["label"] for e in expected]
        for s, e in zip(shown, expected, strict=True):
            assert s["probabilities"] == pytest.approx(e["probabilities"], abs=1e-6)
        assert _distill(*arguments, *given).stdout == done.stdout


def test_json_is_a_mend_for_a_text_that_is_no_question_and_for_no_other(make_bundle: MakeBundle) -> None:
    folder = make_bundle()
    about = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps({**about, "paired": True}))
    done = _distill("predict", str(folder), "fine")
    assert (done.returncode, done.stderr.endswith("; for questions in JSON give --input json\n")) == (2, True)
    done = _distill("predict", str(folder), "a\udce9")
    assert (done.returncode, done.stderr) == (2, "error: TEXT 1: not UTF-8 (invalid continuation byte at byte 1)\n")


def test_lines_of_any_length_are_answered_in_order_and_a_refused_one_is_named(make_bundle: MakeBundle) -> None:
    folder = make_bundle()
    rng = random.Random(0)
    texts = [" ".join(rng.choices(["fine", "mess", "é", ""], k=rng.choice([0, 1, 3, 9, 3000]))) for _ in range(300)]
    done = _distill("predict", str(folder), stdin="\n".join(texts))
    assert done.stdout.splitlines() == [answer.as_line() for answer in load(folder)(texts)]
    lines = [json.dumps(text) for text in texts[:250]] + ["3", '"fine"']
    done = _distill("predict", str(folder), "--input", "json", stdin="\n".join(lines))
    assert done.stdout.splitlines() == [answer.as_line() for answer in load(folder)(texts[:250])]
    assert (done.returncode, done.stderr.partition(", got")[0][:40]) == (2, "error: line 251 of stdin: expected a tex")


def test_an_answer_is_there_before_the_next_question(make_bundle: MakeBundle) -> None:
    command = [sys.executable, "-c", PROGRAM, "predict", str(make_bundle())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for text in (b"fine\n", b"a mess\n"):
            process.stdin.write(text)
            assert select.select([process.stdout], [], [], 60)[0]
            assert process.stdout.readline().endswith(b"\n")
        process.stdin.close()
        assert process.wait(60) == 0


@pytest.mark.parametrize(
    ("redirection", "complaint"),
    [
        ("<&-", "error: stdin is closed; give TEXT, or texts on stdin, one a line\n"),
        (">&-", "error: stdout is closed; leave it open, or send it to a file or to /dev/null\n"),
        (">/dev/full", "error: No space left on device; free some space\n"),
        (">&- 2>&-", ""),
        ("<&- 2>&-", ""),
    ],
)
def test_a_stream_that_is_closed_or_full_is_an_error(make_bundle: MakeBundle, redirection: str, complaint: str) -> None:
    command = [
        "sh",
        "-c",
        f'exec "$@" {redirection}',
        "sh",
        sys.executable,
        "-c",
        PROGRAM,
        "predict",
        str(make_bundle()),
    ]
    done = subprocess.run(command, input="fine\n", capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", complaint)


def test_predict_tags_words(make_bundle: MakeBundle) -> None:
    done = _distill("predict", str(make_bundle("token-classification", ("B-x", "O"))), "a mess")
    assert (done.returncode, done.stderr) == (0, "")
    assert [pair.split("/")[0] for pair in done.stdout.split()] == ["a", "mess"]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_evaluate_counts_right_answers(make_bundle: MakeBundle, tmp_path: Path, kind: str) -> None:
    folder = make_bundle()
    texts = ["a gorgeous witty movie", "fine", "a mess", "not much of anything"]
    labels = [answer.as_dict()["label"] for answer in load(folder)(texts)]
    labels[2] = next(label for label in ("bad", "fine", "good") if label != labels[2])  # three of four are right
    data = tmp_path / f"data.{kind}"
    if kind == "csv":
        data.write_text("label,text\n" + "".join(f"{x},{t}\n" for x, t in zip(labels, texts, strict=True)))
    else:
        rows = [json.dumps({"label": x, "text": t}) for x, t in zip(labels, texts, strict=True)]
        data.write_text("\n".join(rows) + "\n")
    done = _distill("evaluate", str(folder), "--data", str(data), "--json", "--threads", "1")
    assert (done.returncode, done.stderr) == (0, "")
    shown = json.loads(done.stdout)
    assert shown["texts"] == 4
    assert shown["scores"]["accuracy"]["value"] == 0.75


def test_a_table_is_read_as_the_bundle_was_trained_and_options_win(make_bundle: MakeBundle, tmp_path: Path) -> None:
    folder = make_bundle()
    texts = ["a gorgeous witty movie", "fine", "a mess", "not much of anything"]
    codes = [{"bad": "0", "fine": "1", "good": "2"}[a.as_dict()["label"]] for a in load(folder)(texts)]
    other = ["bad" if code != "0" else "good" for code in codes]
    rows = [{"said": t, "code": c, "by": o} for t, c, o in zip(texts, codes, other, strict=True)]
    data = tmp_path / "coded.jsonl"
    data.write_text("\n".join(json.dumps(row) for row in [*rows, {"said": "fine", "code": "?", "by": "fine"}]))
    about = json.loads((folder / "bundle.json").read_text())
    assert about["columns"] == {"text": "text", "pair": None, "label": "label", "label_map": {}, "drop_labels": []}
    named = {"text": "said", "label": "code", "label_map": {"0": "bad", "1": "fine", "2": "good"}, "drop_labels": ["?"]}
    (folder / "bundle.json").write_text(json.dumps({**about, "columns": named}))

    def evaluated(*options: str) -> "subprocess.CompletedProcess[str]":
        return _distill("evaluate", str(folder), "--data", str(data), "--json", "--threads", "1", *options)

    right = {answer.as_dict()["label"] == "fine" for answer in load(folder)(["fine"])}
    for options, texts_scored, hits in (((), 4, 4), (("--label-column", "by"), 5, sum(right))):
        done = evaluated(*options)
        assert (done.returncode, done.stderr) == (0, "")
        shown = json.loads(done.stdout)
        assert shown["texts"] == texts_scored
        assert shown["left_out"] == ({} if options else {"label '?'": 1})
        assert shown["scores"]["accuracy"]["value"] == hits / texts_scored
    told = _distill("evaluate", str(folder), "--data", str(data), "--threads", "1").stdout.splitlines()
    assert told[0] == "4 texts; left out: 1 label '?'"
    assert "has no column 'code2'" in evaluated("--label-column", "code2").stderr
    assert "has no column 'text'" in evaluated("--text-column", "text").stderr
    del about["columns"]  # an older bundle
    (folder / "bundle.json").write_text(json.dumps(about))
    assert "has no column 'text'" in evaluated().stderr


def test_bad_input_is_one_line_and_status_2(make_bundle: MakeBundle, tmp_path: Path) -> None:
    folder = make_bundle()
    for arguments in (
        ["predict", str(tmp_path / "nowhere"), "text"],
        ["predict", str(folder), "text", "--variant", "int4"],
        ["evaluate", str(folder), "--data", str(tmp_path / "none.csv")],
    ):
        done = _distill(*arguments)
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
        assert "Traceback" not in done.stderr


def test_the_folder_of_a_run_is_told_from_a_model_before_torch_is_asked_for(tmp_path: Path) -> None:
    command = ["evaluate", str(tmp_path), "--data", "reviews.csv"]
    others = [["predict", str(tmp_path), "text"], ["measure", str(tmp_path)]]
    recipe = {"name": "small", "recipe": "quickstart", "outputs": "outputs", "exports": "exports"}
    (tmp_path / "config.json").write_text(json.dumps(recipe))
    complaint = f"error: {tmp_path} is the folder of a run; give its bundle, exports/small\n"
    for one in (command, *others):
        done = _distill(*one)
        assert (done.returncode, done.stderr) == (2, complaint)
    for other in ('{"model_type": "bert", "name": "small"}', "[]", "{"):
        (tmp_path / "config.json").write_text(other)
        assert "install distill[train]" in _distill(*command).stderr


def test_options_may_stand_before_the_texts(make_bundle: MakeBundle) -> None:
    done = _distill("predict", str(make_bundle()), "--variant", "int8", "fine", "a mess")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 2)


def test_a_test_of_one_text_has_no_interval(make_bundle: MakeBundle, tmp_path: Path) -> None:
    folder = make_bundle()
    (answer,) = load(folder)(["fine"])
    data = tmp_path / "one.csv"
    data.write_text(f"label,text\n{answer.as_dict()['label']},fine\n")
    done = _distill("evaluate", str(folder), "--data", str(data))
    assert done.returncode == 0, done.stderr
    assert "accuracy         100.00 %   no interval: one text" in done.stdout
    shown = json.loads(_distill("evaluate", str(folder), "--data", str(data), "--json").stdout)
    assert (shown["scores"]["accuracy"]["low"], shown["scores"]["accuracy"]["high"]) == (None, None)
