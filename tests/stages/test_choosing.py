"""`data.transfer_choice=unsure`: which texts are chosen, by whose answers, and who learns on them."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import SmallRun, config_of, run, teacher_in

from distill.config import Config
from distill.data import Dataset
from distill.errors import UserError
from distill.models import load_model
from distill.results import Figure, StageCost
from distill.stages import choosing
from distill.stages.artifacts import Artifact, Artifacts
from distill.stages.checks import check_task
from distill.stages.choosing import WHO, lacking
from distill.stages.context import Run, StudentTexts, Texts
from distill.stages.signal import LabelTexts
from distill.stages.students import TrainStudent
from distill.stages.tokens import Tokens
from distill.tasks import build
from distill.text import Example, Reading
from distill.training.devices import Machine

LIMIT = 15
MSE = {"terms": [{"name": "mse"}]}


def recipe(reviews: Path, encoder: Path, folder: Path, **changes: Any) -> Config:
    values = {
        "student": {"name": "layers", "layers": [1], "vocabulary": {"trim": True}},
        "arms": ["linear", "hard", "soft+transfer"],
        "export": {"variants": ["fp32"]},
        "measure": {"enabled": False},
        "teacher": {**teacher_in(encoder), "tries": 1},
    }
    return limited(config_of(reviews, folder, "test A", **{**values, **changes}), LIMIT)


def limited(config: Config, limit: int) -> Config:
    """With so many texts without labels, chosen by both."""
    data = dataclasses.replace(config.data, transfer_limit=limit, transfer_choice="unsure")
    return dataclasses.replace(config, data=data)


@pytest.fixture(scope="module")
def now(reviews: Path, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    return run(recipe(reviews, encoder, tmp_path_factory.mktemp("unsure")))


def test_the_texts_are_those_whose_answer_the_teacher_is_surer_of_than_the_first_student(now: SmallRun) -> None:
    pool, task = now.values["read_data"].transfer, now.values["read_texts"].task
    chosen = now.values["choose_transfer"].dataset.transfer
    assert (len(pool), len(chosen)) == (40, LIMIT)
    teacher = now.values["prepare_teacher"].model
    [asked] = [stage for stage, _ in now.of(LabelTexts) if stage.model != teacher]
    assert asked.texts.examples == pool
    sure = {}
    for name, model, reading in (
        ("teacher", teacher, now.values["read_texts"].reading),
        ("student", asked.model, asked.reading),
    ):
        network = load_model(model.directory / "model", task).model.eval()
        rows = [torch.tensor([reading.tokenizer.encode(str(e.text)).ids]) for e in pool]
        with torch.no_grad():
            logits = [network(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0] for ids in rows]
        sure[name] = torch.stack(logits).softmax(-1).numpy()
    answer = sure["teacher"].argmax(-1)
    lack = [sure["teacher"][row, label] - sure["student"][row, label] for row, label in enumerate(answer)]
    best = sorted(sorted(range(len(pool)), key=lambda row: -lack[row])[:LIMIT])
    assert chosen == tuple(pool[row] for row in best)
    assert chosen != pool[:LIMIT]


def test_the_first_student_is_the_recipes_and_learns_soft_labels_of_labelled_texts_alone(now: SmallRun) -> None:
    first = [stage for stage, _ in now.of(TrainStudent) if stage.who == WHO]
    assert [stage.rate for stage in first] == list(now.config.train.learning_rates)
    for stage in first:
        assert (stage.arm, stage.seed, stage.student) == ("soft", now.config.seeds[0], now.config.student)
        assert stage.texts.examples == now.values["read_data"].train
        assert stage.signal == now.values["ask_teacher"].answers


def test_the_arm_learns_on_the_labelled_and_the_chosen_texts(now: SmallRun) -> None:
    chosen = now.values["choose_transfer"].dataset
    stages = [stage for stage, _ in now.of(TrainStudent) if stage.arm == "soft+transfer"]
    assert stages
    for stage in stages:
        assert stage.texts.examples == (*chosen.train, *chosen.transfer)


def test_the_report_says_how_many_and_what_the_choice_cost(now: SmallRun) -> None:
    assert now.outcome is not None
    report = now.outcome.report
    said = f"transfer: {LIMIT} of 40 texts without labels used, those whose answer the teacher is surer of"
    assert any(note.startswith(said) for note in report.data.notes)
    costs = [cost.stage for cost in report.costs]
    assert f"what the {WHO} says of all texts" in costs
    assert sum(WHO in stage for stage in costs) == 3  # two learning rates, too


def test_with_fewer_texts_than_the_limit_nothing_is_chosen(reviews: Path, encoder: Path, tmp_path: Path) -> None:
    done = run(limited(recipe(reviews, encoder, tmp_path, seeds=[0]), 40))
    assert done.values["choose_transfer"].dataset.transfer == done.values["read_data"].transfer
    assert not [stage for stage, _ in done.of(TrainStudent) if stage.who == WHO]


def test_pairs_that_were_made_are_learnt_on_beside_the_chosen_texts(
    reviews: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 30 texts 5 are chosen, and 4 made pairs are kept, all of which the first student lacks more than the texts."""
    texts = [Example(f"text {i}", f"other {i}") for i in range(30)]
    made = tuple(Example(f"text {i}", f"other {i + 1}") for i in range(4))
    dataset = Dataset((), (*texts, *made), (), (), ("a", "b"), {}, "", "", (), recombined=made)
    task, reading = build("text-classification", dataset.labels), Reading.from_file(encoder / "tokenizer.json", 24)
    cost = StageCost("asked", 1.0, Figure(None, "J", "unavailable", ""), False)
    asked: list[LabelTexts] = []

    def get(artifacts: Any, stage: LabelTexts) -> Artifact:
        asked.append(stage)
        return Artifact(tmp_path, "student", cost)

    def units(store: str, examples: tuple[Example, ...]) -> list[Any]:
        sure = {e: float(i) for i, e in enumerate((*texts, *made))}
        return [np.array([[0.0, sure[e] if store == "teacher" else 0.0]]) for e in examples]

    own = StudentTexts(dataset, task, reading, Artifact(tmp_path, "vocabulary", cost), True)
    trained = SimpleNamespace(models=[Artifact(tmp_path, "first", cost)], costs=())
    for name, stand_in in (
        ("prepare_student", lambda *_: own),
        ("make_vectors", lambda *_: None),
        ("rank_parts", lambda *_: None),
        ("train_arm", lambda *_: trained),
        ("tokens_of", lambda this, own, part: Tokens(part, Artifact(tmp_path, "tokens", cost))),
        ("open_store", lambda artifact: artifact.identity),
        ("units_of", units),
    ):
        monkeypatch.setattr(choosing, name, stand_in)
    monkeypatch.setattr(Artifacts, "get", get)
    config = limited(recipe(reviews, encoder, tmp_path), 5)
    signal: Any = SimpleNamespace(answers=Artifact(tmp_path, "teacher", cost))
    this = Run(config, Machine("cpu", "fp32", "as asked for", 1))
    left = choosing.choose_transfer(this, Texts(dataset, task, reading), signal).dataset
    assert left.transfer == (*texts[-5:], *made)
    assert "transfer: 5 of 30 texts without labels used" in left.notes[0]
    assert asked[0].texts.examples == tuple(texts)
    everything = dataclasses.replace(this, config=limited(config, 30))
    assert choosing.choose_transfer(everything, Texts(dataset, task, reading), signal).dataset is dataset


def test_lack_is_of_the_answer_and_of_each_label_where_several_may_hold() -> None:
    one = build("text-classification", ("a", "b", "c"))
    teacher = [np.log([[0.7, 0.2, 0.1]]), np.log([[0.1, 0.1, 0.8]])]
    student = [np.log([[0.6, 0.3, 0.1]]), np.log([[0.5, 0.3, 0.2]])]
    assert lacking(one, teacher, student) == pytest.approx([0.1, 0.6])
    several = build("multi-label-classification", ("a", "b"))
    odds = np.log([[0.9 / 0.1, 0.2 / 0.8]]), np.log([[0.6 / 0.4, 0.3 / 0.7]])
    assert lacking(several, [odds[0]], [odds[1]]) == pytest.approx([(0.3 + 0.1) / 2])  # 0.9 - 0.6; 0.8 - 0.7


def test_lack_of_a_sentence_is_the_mean_over_its_words_that_both_see() -> None:
    tags = build("token-classification", ("O", "B-film"))
    sure, unsure, unseen = [0.9, 0.1], [0.6, 0.4], [np.nan, np.nan]
    teacher = [np.log([sure, sure, sure]), np.log([sure]), np.log([unseen, sure, [0.1, 0.9]]), np.zeros((0, 2))]
    student = [np.log([sure, unsure]), np.log([unsure]), np.log([sure, sure, sure]), np.zeros((0, 2))]
    assert lacking(tags, teacher, student) == pytest.approx([(0.0 + 0.3) / 2, 0.3, (0.0 + 0.8) / 2, 0.0])
    assert lacking(tags, teacher[-1:], student[-1:]) == [0.0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"arms": ["linear", "hard"]}, "no arm of .* learns on texts without labels"),
        ({"augment": {"steps": [{"name": "splice"}]}}, "before any is chosen; set it to random"),
        ({"task": {"name": "regression"}, "objective": MSE}, "have no probability"),
    ],
)
def test_what_cannot_be_chosen_is_refused(
    reviews: Path, encoder: Path, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        check_task(recipe(reviews, encoder, tmp_path, **changes))
