"""Language modelling and text-to-text, from texts to a bundle that writes."""

import json
from pathlib import Path
from typing import Any

import pytest
from task_worlds import write_world
from tiny_gguf import tiny_model, tokenizer_of, vocabulary_of, write_gguf
from tiny_teachers import teacher_in, texts_in
from tokenizers import Tokenizer
from workplace import Workplace

from distill import load

pytestmark = pytest.mark.usefixtures("measured_here", "plots_stay_undrawn")

SMALL = [
    "teacher.train.steps=30",
    "teacher.train.batch_size=16",
    "teacher.train.learning_rates=[5e-3]",
    "teacher.train.evaluations=2",
    "train.steps=20",
    "train.batch_size=16",
    "train.learning_rates=[5e-3]",
    "train.evaluations=2",
    "data.labelled=null",
    "data.transfer_limit=null",
    "data.max_length=24",
    "seeds=[0]",
    "measure.seconds=0.02",
    "export.max_drop=100",
    "export.min_agreement=0",
    "teacher_floor=false",
    "threads=1",
    "device=cpu",
    "name=small",
]
FROM_NOTHING = [
    "teacher=transformer",
    "teacher.architecture={layers: 1, hidden_size: 32, heads: 2, intermediate_size: 64}",
    "tokenizer=trained",
    "tokenizer.model=bpe",
    "tokenizer.vocabulary_size=300",
]
TRANSFORMER = [
    "student=transformer",
    "student.architecture={layers: 1, hidden_size: 16, heads: 2, intermediate_size: 32}",
]
LSTM = ["student=lstm", "student.architecture={cell: lstm, embedding_size: 16, hidden_size: 16}"]
GRU = ["student=gru", "student.architecture={cell: gru, embedding_size: 16, hidden_size: 16}"]


def run(folder: Path, task: str, *overrides: str) -> Workplace:
    place = Workplace(folder, [f"task={task.replace('-', '_')}", *write_world(folder, task, 100), *SMALL, *overrides])
    assert place.run() == 0, place.err
    report = place.report()
    assert all(v.parity is None or v.parity.passed for v in report.variants), [v.parity for v in report.variants]
    assert [v.variant for v in report.variants if v.model == "student" and v.shipped] == ["fp32", "int8"]
    return place


@pytest.mark.parametrize(
    "student",
    [pytest.param([*TRANSFORMER, "student.vocabulary.trim=false"], marks=pytest.mark.slow), LSTM],
    ids=["decoder", "recurrent"],
)
def test_a_language_model_is_distilled_and_writes(student: list[str], tmp_path: Path) -> None:
    place = run(tmp_path, "language-modelling", *FROM_NOTHING, *student, "arms=[hard,soft,gkd]")
    report = place.report()
    assert [arm.name for arm in report.arms] == ["teacher", "hard", "soft", "gkd"]
    assert all(-8 < arm.score.value < 0 for arm in report.arms)
    assert {"perplexity", "next_token_accuracy"} <= set(report.arms[1].metrics)
    assert place.run() == 0
    assert "nothing has changed" in place.err
    assert place.distill("evaluate", "exports/small", "--data", "test.jsonl") == 0, place.err
    int8 = next(v for v in report.variants if v.model == "student" and v.variant == "int8")
    assert int8.score is not None
    assert f"{-int8.score.value:.4f}" in place.out
    assert place.distill("predict", "exports/small", "the cast", "--max-new-tokens", "5") == 0, place.err
    bundle: Any = load(tmp_path / "exports/small")
    assert place.out.rstrip("\n") == "".join(bundle.stream("the cast"))[: len(place.out.rstrip("\n"))]


@pytest.mark.parametrize(
    "student", [TRANSFORMER, pytest.param(GRU, marks=pytest.mark.slow)], ids=["transformer", "attention of 2014"]
)
def test_a_translator_is_distilled_and_writes(student: list[str], tmp_path: Path) -> None:
    place = run(tmp_path, "text-to-text", *FROM_NOTHING, *student, "arms=[hard,soft,sequence,sequence+soft]")
    report = place.report()
    assert [arm.name for arm in report.arms] == ["teacher", "hard", "soft", "sequence", "sequence+soft"]
    assert ("sequence+soft", "sequence") in [(contrast.arm, contrast.against) for contrast in report.contrasts]
    assert {arm.budget for arm in report.arms[1:]} == {20}
    wrote = ["what the teacher writes of train", "soft labels of what it wrote"]
    assert [cost.stage for cost in report.costs if "writ" in cost.stage or "wrote" in cost.stage] == wrote
    assert report.metric == "bleu"
    assert any(note.startswith("BLEU: nrefs:1|case:mixed") for note in report.data.notes)
    assert all(0 <= arm.score.value <= 1 for arm in report.arms)
    assert all(0 <= seed.validation <= 1 for arm in report.arms for seed in arm.seeds)
    assert place.distill("evaluate", "exports/small", "--data", "test.jsonl") == 0, place.err
    int8 = next(v for v in report.variants if v.model == "student" and v.variant == "int8")
    assert int8.score is not None
    assert f"{100 * int8.score.value:.2f}" in place.out
    assert place.distill("predict", "exports/small", "--json", "a dull film 7") == 0, place.err
    assert json.loads(place.out)["text"] == load(tmp_path / "exports/small")("a dull film 7")[0].text
    loaded = json.loads((tmp_path / "exports/small/bundle.json").read_text())
    assert set(loaded["graphs"]["int8"]) == {"encoder", "decoder"}


@pytest.mark.parametrize(
    ("name", "student"),
    [
        pytest.param("gpt2", ["student=layers", "student.count=1"], marks=pytest.mark.slow),
        pytest.param("llama", ["student=half"], marks=pytest.mark.slow),
        pytest.param("llama", TRANSFORMER, marks=pytest.mark.slow),
    ],
)
def test_language_models_of_transformers_are_teachers(name: str, student: list[str], tmp_path: Path) -> None:
    write_world(tmp_path, "language-modelling")
    source = teacher_in(tmp_path, name, texts_in(tmp_path))
    place = run(
        tmp_path,
        "language-modelling",
        "teacher=folder",
        f"teacher.source.path={source}",
        "teacher.fine_tune=always",
        "teacher.tries=1",
        *student,
        "arms=[hard,soft,gkd]",
    )
    assert len(load(tmp_path / "exports/small")(["the cast", ""])) == 2
    assert place.report().arms[0].name == "teacher"


@pytest.mark.slow
def test_a_language_model_in_a_gguf_file_is_a_teacher(tmp_path: Path) -> None:
    write_world(tmp_path, "language-modelling")
    tokens, merges = vocabulary_of(texts_in(tmp_path))
    file = write_gguf(tmp_path / "tiny.gguf", tiny_model("llama", len(tokens)), tokens, merges, "Q8_0")
    whole, chosen = file.read_bytes(), ["teacher=folder", f"teacher.source.path={file}", "arms=[hard,soft]"]
    place = run(tmp_path, "language-modelling", *chosen, *TRANSFORMER, "student.vocabulary.trim=false")
    assert "\nteacher, taken as it is\n" in place.err
    assert "GGUF" not in place.err
    for folder in ("exports/small", "outputs/small/student"):
        tokenizer = Tokenizer.from_file(str(tmp_path / folder / "tokenizer.json"))
        assert tokenizer.get_vocab() == {token: i for i, token in enumerate(tokens)}
        assert tokenizer.encode("the cast is dull").ids == tokenizer_of(tokens, merges).encode("the cast is dull").ids
    for damaged, said in (
        (whole[: len(whole) // 2], f"; give a whole file (this one has {len(whole) // 2:,} bytes)"),
        (whole.replace(b"llama", b"lhasa"), "architecture lhasa"),
    ):
        file.write_bytes(damaged)
        assert place.run() == 2
        assert place.err.splitlines()[-1].startswith("error: no ")
        assert said in place.err


@pytest.mark.parametrize(
    ("task", "name"), [("language-modelling", "gpt2"), pytest.param("text-to-text", "t5", marks=pytest.mark.slow)]
)
def test_a_student_with_a_tokenizer_of_its_own_learns_from_text(task: str, name: str, tmp_path: Path) -> None:
    columns = write_world(tmp_path, task, 60)
    source = teacher_in(tmp_path, name, texts_in(tmp_path))
    chosen = ["teacher=folder", f"teacher.source.path={source}", "teacher.fine_tune=never", *columns]
    own = ["tokenizer=trained", "tokenizer.model=bpe", "tokenizer.vocabulary_size=330", "export.variants=[fp32]"]
    place = Workplace(tmp_path, [f"task={task.replace('-', '_')}", *SMALL, *chosen, *own, *TRANSFORMER])
    assert place.run("arms=[hard,soft,sequence]") == 2
    assert "arms has 'soft', but the student reads with another tokenizer (tokenizer=trained)" in place.err
    assert not list(tmp_path.glob("outputs/artifacts/*"))
    assert place.run("arms=[hard,sequence]") == 0, place.err
    report = place.report()
    assert [arm.name for arm in report.arms] == ["teacher", "hard", "sequence"]
    assert ("sequence", "hard") in [(contrast.arm, contrast.against) for contrast in report.contrasts]
    assert (report.arms[1].agreement is None) == (task == "language-modelling")
    tokenizer = Tokenizer.from_file(str(tmp_path / "exports/small/tokenizer.json"))
    assert tokenizer.get_vocab_size() != Tokenizer.from_file(str(source / "tokenizer.json")).get_vocab_size()
    assert len(load(tmp_path / "exports/small")(["the cast", ""])) == 2


@pytest.mark.parametrize(
    ("student", "layers"),
    [
        pytest.param(TRANSFORMER, (1, 1), marks=pytest.mark.slow),
        pytest.param(["student=layers", "student.count=1", "student.decoder_count=-1"], (1, 2), marks=pytest.mark.slow),
        (["student=layers", "student.count=-1", "student.decoder_count=1"], (2, 1)),
    ],
    ids=["transformer", "a shorter encoder", "a shorter decoder"],
)
def test_an_encoder_decoder_of_transformers_is_a_teacher(
    student: list[str], layers: tuple[int, int], tmp_path: Path
) -> None:
    write_world(tmp_path, "text-to-text")
    source = teacher_in(tmp_path, "t5", texts_in(tmp_path))
    chosen = ["teacher=folder", f"teacher.source.path={source}", "teacher.fine_tune=always", "teacher.tries=1"]
    run(tmp_path, "text-to-text", *chosen, *student, "arms=[hard,soft,sequence]")
    made = json.loads((tmp_path / "outputs/small/student/config.json").read_text())
    assert (made.get("num_layers", made.get("num_hidden_layers")), made["num_decoder_layers"]) == layers
    assert len(load(tmp_path / "exports/small")(["a dull film 7", ""])) == 2
