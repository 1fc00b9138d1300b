"""Runs in which texts are made of the training texts, task by task."""

import random
from pathlib import Path

import pytest
from little_world import review, write_masked_bert
from task_worlds import write_world
from workplace import Workplace

pytestmark = pytest.mark.usefixtures("measured_here", "plots_stay_undrawn")

SMALL = [
    "data.labelled=null",
    "data.transfer_limit=null",
    "teacher.train.steps=6",
    "teacher.train.batch_size=16",
    "teacher.train.learning_rates=[3e-3]",
    "teacher.tries=1",
    "train.steps=3",
    "train.batch_size=16",
    "train.learning_rates=[2e-3]",
    "seeds=[0]",
    "measure.enabled=false",
    "export.variants=[fp32]",
    "teacher_floor=false",
    "threads=1",
    "device=cpu",
    "name=small",
]


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    generator = random.Random(0)
    texts = [review(generator)[0] for _ in range(300)] + ["how is the ?", "number film ."] * 3
    return write_masked_bert(tmp_path_factory.mktemp("encoder"), texts)


OF_LAYERS = ["teacher=folder", "teacher.source.path={encoder}", "student.count=1"]
OTHER_TOKENS = ["teacher=folder", "teacher.source.path={encoder}", "student=lstm", "tokenizer=trained"]
FROM_NOTHING = ["teacher=lstm", "student=rnn", "tokenizer.vocabulary_size=400"]


def slow(*values: object) -> object:
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("task", "augment", "arms", "models"),
    [
        ("token-classification", "mask_ngrams", "[linear,hard,hard+augmented,soft+transfer]", OF_LAYERS),
        slow("token-classification", "masked_lm", "[linear,hard,hard+augmented,soft+transfer]", OTHER_TOKENS),
        slow("text-classification", "masked_lm", "[linear,hard,soft+transfer]", OF_LAYERS),
        slow("token-classification", "words", "[linear,hard,soft+transfer]", OTHER_TOKENS),
        slow("multi-label-classification", "words", "[linear,hard,hard+augmented,pseudo+transfer]", OF_LAYERS),
        slow("regression", "splice", "[linear,hard,soft+transfer]", OF_LAYERS),
        slow("question-answering", "mask", "[hard,soft+transfer]", OF_LAYERS),
        slow("text-classification", "words", "[linear,hard,hard+augmented,soft+transfer]", FROM_NOTHING),
    ],
)
def test_a_run_learns_on_texts_that_were_made(
    task: str, augment: str, arms: str, models: list[str], tmp_path: Path, encoder: Path
) -> None:
    chosen = [f"task={task.replace('-', '_')}", f"arms={arms}", f"augment={augment}"]
    own = [model.format(encoder=encoder) for model in models]
    place = Workplace(tmp_path, [*chosen, *write_world(tmp_path, task), *own, *SMALL])
    assert place.run() == 0, place.err
    report = place.report()
    (note,) = [note for note in report.data.notes if note.startswith("augmented: ")]
    made, count = int(note.split()[1].replace(",", "")), report.data.labelled
    texts = {arm.name: arm.texts for arm in report.arms}
    assert texts["hard"] == count
    assert {texts[arm] for arm in texts if "transfer" in arm or "augmented" in arm} == {count + made}
    assert place.run() == 0
    assert "nothing has changed" in place.err
