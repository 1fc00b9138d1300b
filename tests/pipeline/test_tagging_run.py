"""Token classification from sentences with tags to a bundle that tags words: the second task, whole."""

import csv
import json
import random

import numpy as np
import pytest
from little_world import write_bert
from workplace import Workplace

from distill import load
from distill.metrics import entity_f1

NAMES = ["anna", "boris", "chen li", "dora maar", "emil", "fatima", "greta stern", "hugo"]
PLACES = ["paris", "new york", "rome", "oslo", "cape town", "lima", "kyoto", "san jose"]
FORMS = [
    "{name} lives in {place}",
    "in {place} there is {name} again",
    "yesterday {name} met {other} near {place}",
    "{name} went from {place} to {elsewhere}",
    "nobody was there",
]


def sentence(generator: random.Random) -> tuple[list[str], list[str]]:
    """Words and their tags in BIO."""
    values = {
        "name": ("PER", generator.choice(NAMES)),
        "other": ("PER", generator.choice(NAMES)),
        "place": ("LOC", generator.choice(PLACES)),
        "elsewhere": ("LOC", generator.choice(PLACES)),
    }
    words, tags = [], []
    for word in [*generator.choice(FORMS).split(), "number", str(generator.randrange(10_000))]:
        kind, text = values.get(word.strip("{}"), ("", word))
        for i, part in enumerate(text.split()):
            words.append(part)
            tags.append(f"{'I' if i else 'B'}-{kind}" if kind else "O")
    return words, tags


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    folder = tmp_path_factory.mktemp("tagged")
    generator = random.Random(1)
    rows = [sentence(generator) for _ in range(400)]
    with (folder / "tagged.jsonl").open("w") as file:
        file.writelines(json.dumps({"words": words, "tags": tags}) + "\n" for words, tags in rows)
    write_bert(folder / "encoder", [" ".join(words) for words, _ in rows])
    place = Workplace(
        folder,
        [
            "task=token_classification",
            "data=files",
            "data.train.path=tagged.jsonl",
            "data.text=words",
            "data.label=tags",
            "data.labelled=200",
            "teacher=folder",
            "teacher.source.path=encoder",
            "teacher.train.steps=90",
            "teacher.train.batch_size=8",
            "teacher.train.learning_rates=[5e-3]",
            "train.steps=60",
            "train.batch_size=8",
            "train.learning_rates=[3e-3]",
            "student.count=1",
            "arms=[linear,hard,soft+transfer]",
            "seeds=[0]",
            "measure.enabled=false",
            "export.max_drop=20",
            "threads=1",
            "device=cpu",
            "name=small",
        ],
    )
    assert place.run() == 0, place.err
    return place


def test_tagging_run_reports_entity_f1_of_teacher_and_students(tagged: Workplace) -> None:
    report = tagged.report()
    assert (report.task, report.metric) == ("token-classification", "entity_f1")
    assert set(report.labels) == {"O", "B-PER", "I-PER", "B-LOC", "I-LOC"}
    scores = {arm.name: arm for arm in report.arms}
    assert scores["teacher"].score.value > 0.8
    assert scores["soft+transfer"].score.value > 0.5
    assert 0.5 < scores["linear"].score.value <= 1
    assert {"entity_f1", "token_accuracy"} <= set(scores["teacher"].metrics) | {report.metric}
    assert {(v.model, v.variant) for v in report.variants} == {
        (m, v) for m in ("teacher", "student") for v in ("fp32", "int8")
    }
    assert all(v.parity is None or v.parity.passed for v in report.variants)


def test_bundle_tags_each_word(tagged: Workplace) -> None:
    bundle = load(tagged.folder / "exports/small", "fp32")
    words = ["yesterday", "chen", "li", "met", "boris", "near", "new", "york"]
    answer = bundle([words, " ".join(words), ""])
    assert answer[0] == answer[1]
    assert answer[0].as_dict()["words"] == words
    assert answer[0].as_dict()["tags"] == ["O", "B-PER", "I-PER", "O", "B-PER", "O", "B-LOC", "I-LOC"]
    assert answer[2].as_dict()["words"] == []


def test_evaluated_bundle_has_the_f1_of_an_independent_count(tagged: Workplace) -> None:
    assert tagged.distill(
        "evaluate", "exports/small", "--data", "tagged.jsonl", "--text-column", "words", "--label-column", "tags",
        "--variant", "fp32", "--json",
    ) == 0, tagged.err  # fmt: skip
    stated = json.loads(tagged.out)["scores"]["entity_f1"]["value"]
    bundle = load(tagged.folder / "exports/small", "fp32")
    rows = [json.loads(line) for line in (tagged.folder / "tagged.jsonl").read_text().splitlines()]
    found = [answer.as_dict()["tags"] for answer in bundle([row["words"] for row in rows], 1)]

    def entities(tags: list[str]) -> set[tuple[str, int, int]]:
        spans, start = set(), None
        for i, tag in enumerate([*tags, "O"]):
            if start is not None and tag != f"I-{tags[start][2:]}":
                spans.add((tags[start][2:], start, i))
                start = None
            if start is None and tag != "O":
                start = i
        return spans

    pairs = [(entities(row["tags"]), entities(tags)) for row, tags in zip(rows, found, strict=True)]
    right = sum(len(gold & own) for gold, own in pairs)
    assert stated == pytest.approx(2 * right / sum(len(gold) + len(own) for gold, own in pairs))
    assert stated == pytest.approx(entity_f1.score(found, [row["tags"] for row in rows]))
    assert not np.isnan(stated)


def test_predict_prints_words_with_tags(tagged: Workplace) -> None:
    assert tagged.distill("predict", "exports/small", "anna lives in oslo") == 0
    assert tagged.out == "anna/B-PER lives/O in/O oslo/B-LOC\n"


def test_tags_that_do_not_fit_the_words_are_named_by_row(tagged: Workplace) -> None:
    path = tagged.folder / "unfit.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["words", "tags"], ["a b", "O O"], ["a b", "O"]])
    assert tagged.run(f"data.train.path={path}", "name=unfit") == 2
    assert "row 2: 2 words in 'words', but 1 tags in 'tags'" in tagged.err


def test_student_folder_is_a_token_classifier_for_transformers(tagged: Workplace) -> None:
    from transformers import pipeline

    tagger = pipeline("token-classification", model=str(tagged.folder / "outputs/small/student"), device="cpu")
    words = ["fatima", "went", "from", "lima", "to", "kyoto"]
    first_pieces: dict[int, str] = {}
    text = " ".join(words)
    for piece in tagger(text, ignore_labels=[]):
        first_pieces.setdefault(text[: piece["start"] + 1].count(" "), piece["entity"])
    answer = load(tagged.folder / "exports/small", "fp32")([words])[0].as_dict()
    assert [first_pieces[i] for i in range(len(words))] == answer["tags"]
