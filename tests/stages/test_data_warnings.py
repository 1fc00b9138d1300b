"""What is perhaps wrong with the data is told before anything is trained."""

import dataclasses
import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from little_world import write_bert
from tiny_teachers import teacher_in

from distill.config import build_config
from distill.config.compose import run_with_hydra
from distill.data import Dataset
from distill.errors import UserError
from distill.ladder import rung_of, with_settled_arms
from distill.stages.checkpoint import labels_of, look_at_teacher
from distill.stages.checks import check_task
from distill.stages.context import open_run
from distill.stages.reporting import cut_texts
from distill.stages.texts import read_data, settle_arms
from distill.text import Example


def test_labels_that_look_alike_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"text": f"text {i}", "label": ("Tea", "tea ", "TEA", "cake")[i % 4]} for i in range(80)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config = build_config(
        {
            "name": "small",
            "recipe": "small",
            "data": {"train": {"path": str(tmp_path / "a.jsonl")}},
            "teacher": {"name": "pretrained", "source": {"path": "folder"}},
            "student": {"name": "recurrent"},
            "arms": ["linear", "hard", "soft"],
        }
    )
    this: Any = SimpleNamespace(config=config, machine=SimpleNamespace(main_first=lambda read: read()))
    (warning,) = read_data(this).warnings
    assert "the labels 'TEA' and 'Tea' and 'tea' differ in case" in warning
    assert f"warning: {warning}" in capsys.readouterr().err


EMPTY: dict[str, Any] = {
    "labels": (),
    "dropped": {},
    "licence": "",
    "source": "",
    "notes": (),
    "train": (),
    "transfer": (),
    "validation": (),
    "test": (),
}
QUESTIONS = "defaults:\n  - override /task: question_answering\ndata:\n  train: {path: a.csv}\n"
REVIEWS = "data:\n  train: {path: a.csv}\n"


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a run is made of, as far as arms are settled by it."""

    config: Any


@pytest.mark.parametrize("recipe", [REVIEWS, QUESTIONS])
def test_arms_that_a_recipe_leaves_as_they_are_are_those_that_the_data_has_texts_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], recipe: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text(f"# A task: a method\n{recipe}", encoding="utf-8")

    def composed(*overrides: str) -> Any:
        found: list[Any] = []
        run_with_hydra("own.yaml", overrides, [], found.append)
        return found[0]

    def data(transfer: tuple[Example, ...]) -> Dataset:
        return Dataset(**{**EMPTY, "transfer": transfer})

    def settled(transfer: tuple[Example, ...], *overrides: str) -> Any:
        this: Any = Settings(composed(*overrides))
        return settle_arms(this, data(transfer)).config.arms

    arms = settled((Example("b"),))
    assert arms[-2:] == ("soft", "soft+transfer")
    assert capsys.readouterr().err == ""
    assert settled(()) == arms[:-1]
    assert "so no arm soft+transfer; for one, set data.labelled or data.transfer, or choose augment=mask" in (
        capsys.readouterr().err
    )
    with pytest.raises(UserError, match=r"leave these arms out with arms=\[hard\]$"):
        settled((), "arms=[hard,soft+transfer]")
    with pytest.raises(UserError, match=r"leave these arms out with arms=\[static,soft\]$"):
        settled((), "arms=[static,soft+transfer]")
    assert settled((), "arms=[hard,soft]") == ("hard", "soft")
    with pytest.raises(UserError, match=r"leave these arms out with arms=\[linear,soft\+assistant\]$"):
        settled((), "arms=[linear,soft+transfer+assistant]")
    with pytest.raises(UserError, match=r"leave these arms out with arms=\[linear,soft\]$"):
        settled((), "arms=[linear,soft+transfer]")
    floor = tuple(arm for arm in arms if arm == "linear")
    for transfer, last in (((Example("b"),), "soft+transfer"), ((), "soft")):
        monkeypatch.setattr("distill.ladder.read_data", lambda this, found=transfer: data(found))
        config = with_settled_arms(lambda sets: composed(*sets))(("student=static",))
        assert config.student.name == "static"
        assert rung_of(config, "static", "exports").arms == (*floor, last)
    assert rung_of(composed("arms=[linear,hard,soft,static]"), "", "").arms == ("linear", "soft")


@pytest.mark.parametrize(
    ("arms", "more", "said"),
    [
        ("soft,soft+transfer", {}, r"soft\+transfer would be soft again; set arms=\[linear,soft\], or choose augment="),
        (
            "soft+transfer,soft+transfer+assistant,soft+assistant",
            {},
            r"again; set arms=\[linear,soft\+transfer,soft\+as",
        ),
        ("soft+transfer", {}, None),
        ("soft,pseudo+transfer", {}, None),
        ("soft,soft+transfer", {"augment": {"steps": [{"name": "mask"}]}}, None),
    ],
)
def test_where_no_text_has_a_label_no_arm_is_trained_twice(arms: str, more: dict[str, Any], said: str | None) -> None:
    """All are learnt on by every arm, so that those with +transfer have no texts that the others lack."""
    config = build_config(
        {
            "name": "small",
            "recipe": "small",
            "data": {"train": {"path": "x"}, "label": None},
            "teacher": {"name": "pretrained", "source": {"path": "folder"}},
            "student": {"name": "recurrent"},
            "assistant": [{"name": "recurrent"}] if "assistant" in arms else [],
            "arms": ["linear", *arms.split(",")],
            **more,
        }
    )
    with nullcontext() if said is None else pytest.raises(UserError, match=said):
        check_task(config)


def test_texts_of_which_the_student_reads_a_part_are_told_where_they_are_many() -> None:
    examples = tuple(Example(f"text {i}") for i in range(40))
    dataset = Dataset(**{**EMPTY, "train": examples, "validation": examples, "test": examples[:20]})
    data: Any = SimpleNamespace(truncated={"train": 2, "validation": 3, "test": 0, "stream": 9}, max_length=26)
    (told,) = cut_texts(dataset, data)
    assert told == (
        "3 of the 40 texts of validation are longer than the 26 tokens that the student reads, and are cut: raise "
        "data.max_length"
    )


def test_a_teacher_that_is_taken_as_it_is_keeps_the_labels_that_no_text_has(tmp_path: Path) -> None:
    write_bert(tmp_path / "classifier", ["some words"], ("rare", "LABEL_1", "cake"))

    def labels(fine_tune: str, *known: str) -> tuple[str, ...]:
        teacher = {
            "name": "pretrained",
            "source": {"path": str(tmp_path / "classifier")},
            "fine_tune": fine_tune,
            "label_map": {"LABEL_1": "tea"},
        }
        own = {"outputs": str(tmp_path / "outputs"), "precision": "fp32", "student": {"name": "recurrent"}}
        config = build_config({"name": "small", "recipe": "small", "data": {}, "teacher": teacher, **own})
        return labels_of(config, known, look_at_teacher(open_run(config)))

    assert labels("never", "cake", "tea") == ("cake", "tea", "rare")
    assert labels("never", "cake", "coffee") == ("cake", "coffee")  # told to differ when the teacher is read
    assert labels("auto", "cake", "tea") == ("cake", "tea")
    assert labels("never") == ("rare", "tea", "cake")


def test_layers_that_a_decoder_lacks_are_told_before_any_training(tmp_path: Path) -> None:
    def look(count: int) -> None:
        config = build_config(
            {
                "name": "small",
                "recipe": "small",
                "task": {"name": "text-to-text"},
                "data": {},
                "teacher": {"name": "pretrained", "source": {"path": str(tmp_path / "t5")}},
                "student": {"name": "layers", "count": -1, "decoder_count": count},
                "arms": ["hard", "soft"],
                "outputs": str(tmp_path / "outputs"),
                "precision": "fp32",
            }
        )
        look_at_teacher(open_run(config))

    teacher_in(tmp_path, "t5", ["some words"])
    look(2)
    with pytest.raises(UserError, match=r"student\.decoder_count is 3, but the teacher's decoder has 2 layers; give"):
        look(3)


def test_pretraining_on_longer_texts_than_the_checkpoint_reads_is_refused_before_any_training(tmp_path: Path) -> None:
    write_bert(tmp_path / "encoder", ["some words"])  # of 64 positions

    def look(max_length: int, arm: str) -> None:
        config = build_config(
            {
                "name": "small",
                "recipe": "small",
                "data": {},
                "teacher": {"name": "pretrained", "source": {"path": str(tmp_path / "encoder")}},
                "student": {"name": "layers", "start": "checkpoint", "pretraining": {"max_length": max_length}},
                "arms": ["linear", "hard", arm],
                "outputs": str(tmp_path / "outputs"),
                "precision": "fp32",
            }
        )
        look_at_teacher(open_run(config))

    with pytest.raises(UserError, match=r"student\.pretraining: max_length is 3, but 3 special tokens alone take as"):
        look(3, "pretrained")
    look(64, "pretrained")
    look(65, "soft")  # which is not pretrained
    with pytest.raises(UserError, match=r"student\.pretraining\.max_length is 65, but .* reads at most 64 tokens"):
        look(65, "pretrained")
    for name, old, new in (
        ("tokenizer.json", "[MASK]", "[GAP]"),
        ("tokenizer_config.json", '"mask_token": "[MASK]",', ""),
    ):
        file = tmp_path / "encoder" / name
        file.write_text(file.read_text().replace(old, new))
    look(64, "soft")
    with pytest.raises(UserError, match=r"has 'pretrained'.* but the tokenizer of .*encoder has no mask token; leave"):
        look(64, "pretrained")
