import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyarrow import Table, parquet

from distill.config.data import DataConfig, Source, TaskConfig
from distill.data import Dataset, load_data, load_examples, load_texts
from distill.errors import UserError
from distill.tasks.cells import tags_of
from distill.text import Example, Span

CLASSIFICATION = TaskConfig()
MULTI = TaskConfig(name="multi-label-classification")
REGRESSION = TaskConfig(name="regression")
ANSWERING = TaskConfig(name="question-answering")
MODELLING = TaskConfig(name="language-modelling")
EMBEDDING = TaskConfig(name="sentence-embedding")
SQUAD = DataConfig(text="question", pair="context", label="answers")
PAIRS = DataConfig(pair="other", label="score")


def source(path: Path, rows: list[dict[str, Any]]) -> Source:
    """Rows in a file of the ending's format; in a CSV, what is no text stands as JSON."""
    if path.suffix == ".parquet":
        parquet.write_table(Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            for row in rows:
                writer.writerow({k: v if isinstance(v, str) else json.dumps(v) for k, v in row.items()})
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return Source(path=str(path))


def every(data: Dataset) -> list[Example]:
    return [*data.train, *data.transfer, *data.validation, *data.test]


def emotions(count: int = 40) -> list[dict[str, Any]]:
    kinds: list[list[str]] = [["joy"], ["love", "joy"], [], ["anger"]]
    return [{"text": f"text {i}", "label": kinds[i % 4]} for i in range(count)]


def scored(count: int = 40, start: int = 0) -> list[dict[str, Any]]:
    return [{"text": f"one {i}", "other": f"two {i}", "score": i / 4} for i in range(start, start + count)]


def question(number: int, *answers: str) -> dict[str, Any]:
    passage = f"Film {number} was made in Paris by Agnès Varda in {1900 + number}."
    starts = [passage.index(answer) for answer in answers]
    return {
        "question": f"Where was film {number} made?",
        "context": passage,
        "answers": {"text": list(answers), "answer_start": starts},
        "title": f"Film {number // 5}",
    }


# Sets of labels


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
def test_sets_of_labels_are_lists_and_may_be_empty(tmp_path, ending):
    data = load_data(DataConfig(train=source(tmp_path / f"a{ending}", emotions())), MULTI)
    expected = {row["text"]: tuple(sorted(row["label"])) for row in emotions()}
    assert {e.text: e.label for e in every(data)} == expected
    assert data.labels == ("anger", "joy", "love")
    assert (len(data.train), len(data.validation), len(data.test)) == (30, 4, 6)
    assert data.dropped == {}


@pytest.mark.parametrize(
    ("cell", "label"),
    [
        ("joy", ("joy",)),
        ("love;joy", ("joy", "love")),
        ("love, joy ; joy", ("joy", "love")),
        ("joy;", ("joy",)),
        ('["joy, quiet", "love"]', ("joy, quiet", "love")),
        (" [2, 0, 2]", ("0", "2")),
        ("[]", ()),
        ("[1, 0]", ("0", "1")),
    ],
)
def test_sets_of_labels_in_a_text_are_json_or_separated(tmp_path, cell, label):
    file = source(tmp_path / "a.csv", [{"text": "x", "label": cell}])
    (example,) = load_examples(file, DataConfig(), MULTI, ("0", "1", "2", "joy", "love", "joy, quiet"))[0]
    assert example.label == label


def test_label_numbers_of_sets_are_mapped_and_stay_distinct(tmp_path):
    rows = [{"text": str(i), "label": [[2, 0], [1, 2], []][i % 3]} for i in range(30)]
    train = source(tmp_path / "a.jsonl", rows)
    assert load_data(DataConfig(train=train), MULTI).labels == ("0", "1", "2")
    data = load_data(DataConfig(train=train, label_map={"0": "joy", "1": "anger", "2": "joy"}), MULTI)
    assert data.labels == ("anger", "joy")
    assert {e.label for e in every(data)} == {("joy",), ("anger", "joy"), ()}


def test_rows_with_an_unwanted_label_among_others_are_dropped(tmp_path):
    config = DataConfig(train=source(tmp_path / "a.jsonl", emotions()), drop_labels=("love",))
    data = load_data(config, MULTI)
    assert data.dropped == {"label 'love'": 10}
    assert data.labels == ("anger", "joy")


def test_sets_in_another_order_are_the_same_label(tmp_path):
    rows = [*emotions(), {"text": "text 1", "label": ["joy", "love"]}, {"text": "text 1", "label": ["joy"]}]
    data = load_data(DataConfig(train=source(tmp_path / "a.jsonl", rows)), MULTI)
    assert data.dropped == {"duplicate": 1, "duplicate with another label": 1}


def test_one_example_of_a_label_is_enough_in_sets(tmp_path):
    rows = [{"text": f"text {i}", "label": ["rare", "joy"] if i == 0 else ["joy"] * (i % 2)} for i in range(40)]
    for seed in range(5):
        data = load_data(DataConfig(train=source(tmp_path / "a.jsonl", rows), split_seed=seed), MULTI)
        assert data.labels == ("joy", "rare")
        assert ("joy", "rare") in {e.label for e in data.train}


def test_label_that_stands_in_no_training_set_is_refused(tmp_path):
    train = source(tmp_path / "a.jsonl", emotions())
    config = DataConfig(train=train, test=source(tmp_path / "t.jsonl", [{"text": "x", "label": ["joy", "fear"]}]))
    with pytest.raises(UserError, match=r"label 'fear' \(1 rows of test\) is not in the labels among the 36 labelled"):
        load_data(config, MULTI)
    listed = replace(MULTI, labels=("joy", "anger", "love", "fear"))
    assert load_data(config, listed).labels == ("joy", "anger", "love", "fear")
    with pytest.raises(UserError, match=r"label 'fear' .* is not in the model's labels"):
        load_examples(config.test or train, config, MULTI, ("joy",))


@pytest.mark.parametrize(
    ("ending", "cell", "message"),
    [
        (".jsonl", None, r"train row 41: no labels in column 'label'; give a list of labels, \[\] where none applies"),
        (".jsonl", 3, r"train row 41: column 'label' holds '3'; give a list of labels"),
        (".jsonl", {"joy": 1}, r"train row 41: column 'label' holds .*joy.*; give a list of labels"),
        (".jsonl", ["joy", None], r"train row 41: column 'label' holds a list with 'None' in it"),
        (".jsonl", ["joy", " "], r"train row 41: column 'label' holds a list with ' ' in it"),
        (".jsonl", [["joy"]], r"train row 41: column 'label' holds a list with .* in it"),
        (".csv", '["joy"', r"train row 41: column 'label' holds '\[\"joy\"', which is not JSON \(Expecting"),
        (".csv", "[1.5]", r"train row 41: column 'label' holds a list with '1.5' in it"),
    ],
)
def test_bad_sets_of_labels_name_the_row(tmp_path, ending, cell, message):
    rows = [*emotions(), {"text": "x", "label": cell}]
    with pytest.raises(UserError, match=message):
        load_data(DataConfig(train=source(tmp_path / f"a{ending}", rows)), MULTI)


@pytest.mark.parametrize(("label", "shown"), [([], r"\(\)"), (["joy"], r"\('joy',\)")])
def test_one_and_the_same_set_everywhere_is_nothing_to_learn(tmp_path, label, shown):
    rows = [{"text": str(i), "label": label} for i in range(40)]
    with pytest.raises(UserError, match=rf"only the set of labels {shown} among the 30 .* at least two are needed"):
        load_data(DataConfig(train=source(tmp_path / "a.jsonl", rows)), MULTI)


# Numbers


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
def test_numbers_are_labels_of_regression(tmp_path, ending):
    data = load_data(replace(PAIRS, train=source(tmp_path / f"a{ending}", scored())), REGRESSION)
    assert {e.pair: e.label for e in every(data)} == {f"two {i}": i / 4 for i in range(40)}
    assert {type(e.label) for e in every(data)} == {float}
    assert data.labels == ()
    assert (len(data.train), len(data.validation), len(data.test)) == (30, 4, 6)
    assert data.notes[0] == "test: 6 of 40 texts held out of train (seed 0)"


@pytest.mark.parametrize(("cell", "number"), [(3, 3.0), ("-2.5", -2.5), (" 1e-3 ", 0.001), ("4", 4.0)])
def test_numbers_may_be_whole_or_written_as_text(tmp_path, cell, number):
    file = source(tmp_path / "a.jsonl", [{"text": "x", "label": cell}])
    (example,) = load_examples(file, DataConfig(), REGRESSION, ())[0]
    assert example.label == number
    assert isinstance(example.label, float)


@pytest.mark.parametrize("ending", [".jsonl", ".csv"])
@pytest.mark.parametrize("cell", [math.inf, "nan", "-inf", "good", "3_5", True, [1.0], {"score": 1}, 10**400])
def test_what_is_no_finite_number_names_the_row(tmp_path, ending, cell):
    rows = [*scored(), {"text": "x", "other": "y", "score": cell}]
    with pytest.raises(UserError, match=r"train row 41: column 'score' holds .*; give a finite number such as 2.5"):
        load_data(replace(PAIRS, train=source(tmp_path / f"a{ending}", rows)), REGRESSION)


def test_a_missing_number_names_the_row(tmp_path):
    for name, cell in (("a.jsonl", None), ("a.jsonl", math.nan), ("a.jsonl", " "), ("a.csv", ""), ("a.csv", " ")):
        rows = [*scored(), {"text": "x", "other": "y", "score": cell}]
        with pytest.raises(UserError, match=r"train row 41: no label in column 'score'; label the row, or leave it"):
            load_data(replace(PAIRS, train=source(tmp_path / name, rows)), REGRESSION)


def test_numbers_that_stand_for_no_number_are_dropped_as_they_are_written(tmp_path):
    rows = [*scored(), *({"text": f"x {i}", "other": "y", "score": "-1"} for i in range(3))]
    data = load_data(replace(PAIRS, train=source(tmp_path / "a.csv", rows), drop_labels=("-1",)), REGRESSION)
    assert data.dropped == {"label '-1'": 3}
    assert min(e.label for e in every(data) if isinstance(e.label, float)) == 0.0


@pytest.mark.parametrize("task", ["regression", "sentence-embedding", "question-answering"])
def test_names_for_what_is_no_label_are_refused_before_anything_is_read(tmp_path, task):
    gone = Source(path=str(tmp_path / "gone.csv"))
    with pytest.raises(UserError, match=rf"data\.label_map gives names to labels, but {task} has none; leave it out"):
        load_data(replace(PAIRS, train=gone, label_map={"5": "good"}), TaskConfig(name=task))


def test_one_number_everywhere_is_nothing_to_learn(tmp_path):
    rows = [{"text": str(i), "label": 2} for i in range(40)]
    with pytest.raises(UserError, match=r"only the number 2.0 among the 30 labelled texts of train; at least two"):
        load_data(DataConfig(train=source(tmp_path / "a.jsonl", rows)), REGRESSION)


def test_part_of_the_numbers_counts_as_labelled(tmp_path):
    data = load_data(replace(PAIRS, train=source(tmp_path / "a.jsonl", scored()), labelled=10), REGRESSION)
    assert (len(data.train), len(data.transfer)) == (10, 20)
    assert {e.label for e in data.transfer} == {None}


# Answers


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
def test_answers_are_spans_of_the_passage(tmp_path, ending):
    rows = [question(i, "Agnès Varda", "Paris") for i in range(40)]
    data = load_data(replace(SQUAD, train=source(tmp_path / f"a{ending}", rows)), ANSWERING)
    assert (len(data.train), len(data.validation), len(data.test)) == (30, 4, 6)
    assert data.labels == ()
    for example in every(data):
        assert isinstance(example.label, tuple)
        first, second = example.label
        assert isinstance(first, Span)
        assert isinstance(second, Span)
        assert (first.text, second.text) == ("Agnès Varda", "Paris")
        assert (example.pair or "")[first.start : first.start + 11] == "Agnès Varda"
        assert (example.pair or "")[second.start : second.start + 5] == "Paris"


def test_answers_may_be_a_list_of_objects(tmp_path):
    cell = [{"text": "Paris", "answer_start": 20}, {"text": "in Paris", "answer_start": 17}]
    file = source(tmp_path / "a.jsonl", [{**question(10), "answers": cell}])
    (example,) = load_examples(file, SQUAD, ANSWERING, ())[0]
    assert example == Example(
        "Where was film 10 made?",
        "Film 10 was made in Paris by Agnès Varda in 1910.",
        (Span("Paris", 20), Span("in Paris", 17)),
    )


def test_answers_are_read_from_a_saved_data_set(tmp_path):
    datasets = pytest.importorskip("datasets")
    saved = {
        name: datasets.Dataset.from_list([question(i, "Paris") for i in range(start, start + 10)])
        for name, start in (("train", 0), ("validation", 10), ("test", 20))
    }
    datasets.DatasetDict(saved).save_to_disk(tmp_path / "squad")
    data = load_data(replace(SQUAD, train=Source(path=str(tmp_path / "squad")), group="title"), ANSWERING)
    assert (len(data.train), len(data.validation), len(data.test)) == (10, 10, 10)
    assert {e.label for e in data.train} == {(Span("Paris", 19),)}
    assert {e.label for e in data.test} == {(Span("Paris", 20),)}
    assert data.train[7].group == "Film 1"
    assert data.notes == ()


def test_questions_without_an_answer_are_dropped_and_counted(tmp_path):
    rows = [*(question(i, "Paris") for i in range(40)), question(90), question(91)]
    rows.append({**question(92), "answers": []})
    data = load_data(replace(SQUAD, train=source(tmp_path / "a.jsonl", rows)), ANSWERING)
    assert data.dropped == {"no answer": 3}
    assert len(every(data)) == 40
    none = source(tmp_path / "none.jsonl", [question(i) for i in range(3)])
    with pytest.raises(UserError, match=r"is left to train on; left out: {'no answer': 3}"):
        load_data(replace(SQUAD, train=none), ANSWERING)
    with pytest.raises(
        UserError, match=r"no row of file .*none.jsonl is left for validation; left out: {'no answer': 3"
    ):
        load_data(replace(SQUAD, train=source(tmp_path / "a.jsonl", rows), validation=none), ANSWERING)


def test_equal_questions_on_equal_passages_are_duplicates(tmp_path):
    rows = [question(i, "Paris") for i in range(40)]
    rows += [rows[0], question(1, "Varda"), {**question(2, "Paris"), "question": "Who made it?"}]
    data = load_data(replace(SQUAD, train=source(tmp_path / "a.jsonl", rows)), ANSWERING)
    assert data.dropped == {"duplicate": 1, "duplicate with another label": 1}
    assert len(every(data)) == 41


def test_passages_are_needed(tmp_path):
    file = source(tmp_path / "a.jsonl", [question(1, "Paris")])
    complaint = r"data.pair is not set; question-answering needs the column of passages .* --pair-column\)"
    with pytest.raises(UserError, match=complaint):
        load_data(replace(SQUAD, train=file, pair=None), ANSWERING)
    with pytest.raises(UserError, match=r"has no column 'contxt'; did you mean 'context'"):
        load_texts(file, replace(SQUAD, pair="contxt"), ANSWERING)
    assert load_texts(file, SQUAD, ANSWERING)[0].label is None


@pytest.mark.parametrize("ending", [".jsonl", ".csv"])
@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (
            {"text": ["Paris"], "answer_start": [19]},
            "column 'answers' says that 'Paris' starts at character 19 of the passage, where ' Pari' stands; mend",
        ),
        (
            {"text": ["Paris"], "answer_start": [500]},
            "column 'answers' says that 'Paris' starts at character 500 of the passage, where '' stands",
        ),
        ({"text": ["Film"], "answer_start": [-1]}, "holds the answer .*'answer_start': -1.*; give"),
        ({"text": ["Paris"], "answer_start": [True]}, "holds the answer .*; give"),
        ({"text": ["Paris"], "answer_start": ["20"]}, "holds the answer .*; give"),
        ({"text": [""], "answer_start": [0]}, "holds the answer .*; give"),
        ({"text": ["Paris"], "answer_start": []}, "not two lists of one length; give"),
        ({"text": "Paris", "answer_start": 20}, "not two lists of one length; give"),
        ({"text": ["Paris"]}, "not two lists of one length; give"),
        (["Paris"], "holds the answer 'Paris'; give"),
        (3, "column 'answers' holds '3'; give .*\"answer_start\""),
        ("Paris", "column 'answers' holds 'Paris', which is not JSON"),
        ("", "no answers in column 'answers'; give .* as in SQuAD 2, are not supported: leave these rows out"),
    ],
)
def test_bad_answers_name_the_row(tmp_path, ending, cell, message):
    rows = [question(9, "Paris"), {**question(10), "answers": cell}]
    with pytest.raises(UserError, match=rf"test row 2: .*{message}"):
        load_examples(source(tmp_path / f"a{ending}", rows), SQUAD, ANSWERING, ())


def test_a_missing_cell_of_answers_names_the_row(tmp_path):
    rows = [question(9, "Paris"), {**question(10), "answers": None}]
    with pytest.raises(UserError, match=r"test row 2: no answers in column 'answers'"):
        load_examples(source(tmp_path / "a.jsonl", rows), SQUAD, ANSWERING, ())


# Sentence embeddings


def embedding(tmp_path: Path, train: list[dict[str, Any]], **options: Any) -> DataConfig:
    return replace(
        PAIRS,
        train=source(tmp_path / "train.jsonl", train),
        validation=source(tmp_path / "v.jsonl", scored(6, 100)),
        test=source(tmp_path / "t.jsonl", scored(8, 200)),
        **options,
    )


def test_both_texts_of_a_pair_are_learnt_on_alone_and_without_score(tmp_path):
    train = [{**row, "score": "unknown"} for row in scored(10)]
    train += [{"text": "two 3", "other": "new", "score": None}, {"text": "one 0", "other": "", "score": 1}]
    data = load_data(embedding(tmp_path, train), EMBEDDING)
    assert data.train == ()
    assert [e.text for e in data.transfer][:4] == ["one 0", "two 0", "one 1", "two 1"]
    assert {e.text for e in data.transfer} == {f"{side} {i}" for side in ("one", "two") for i in range(10)} | {"new"}
    assert {(e.pair, e.label) for e in data.transfer} == {(None, None)}
    assert data.dropped == {"duplicate": 2, "empty text": 1}
    assert [e.label for e in data.validation] == [i / 4 for i in range(100, 106)]
    assert data.test[0] == Example("one 200", "two 200", 50.0)
    assert data.labels == ()


def test_texts_of_either_side_of_a_test_pair_are_not_learnt_on(tmp_path):
    train = [{"text": text} for text in ("a", "b", "one 100", "two 101", "two 207", "one 300")]
    transfer = [{"text": "c", "other": "two 205"}, {"text": "a", "other": "one 105"}]
    config = embedding(tmp_path, train, transfer=(source(tmp_path / "x.jsonl", transfer),))
    data = load_data(config, EMBEDDING)
    assert [e.text for e in data.transfer] == ["a", "b", "one 300", "c"]
    assert data.dropped == {
        "also in test": 1,
        "also in validation": 2,
        "transfer: also in train": 1,
        "transfer: also in test": 1,
        "transfer: also in validation": 1,
    }


def test_scores_cannot_be_held_out_of_texts(tmp_path):
    config = embedding(tmp_path, [{"text": f"text {i}"} for i in range(40)])
    with pytest.raises(UserError, match=r"there is no validation data; .*pairs with a score.*: give data.validation$"):
        load_data(replace(config, validation=None), EMBEDDING)
    with pytest.raises(UserError, match=r"no validation and no test data; .*: give data.validation and data.test$"):
        load_data(replace(config, validation=None, test=None), EMBEDDING)
    assert load_data(replace(config, test=None, test_share=0), EMBEDDING).test == ()


def test_embeddings_are_tested_on_pairs_with_numbers(tmp_path):
    config = embedding(tmp_path, [{"text": "a"}])
    assert config.test is not None
    assert load_examples(config.test, config, EMBEDDING, ())[0][1] == Example("one 201", "two 201", 50.25)
    assert load_texts(config.test, config, EMBEDDING)[:2] == [Example("one 200"), Example("two 200")]
    with pytest.raises(UserError, match=r"data.pair is not set; sentence-embedding needs the column of second texts"):
        load_data(replace(config, pair=None), EMBEDDING)
    bad = source(tmp_path / "bad.jsonl", [{"text": "a", "other": "b", "score": "alike"}])
    with pytest.raises(UserError, match=r"test row 1: column 'score' holds 'alike'; give a finite number"):
        load_data(replace(config, test=bad), EMBEDDING)


def test_embeddings_without_any_score_are_read_too(tmp_path):
    data = load_data(embedding(tmp_path, [{"text": "a"}], label=None), EMBEDDING)
    assert {e.label for e in (*data.validation, *data.test)} == {None}
    assert data.test[0].pair == "two 200"


# Texts that are their own labels


def test_a_blank_text_that_is_its_own_label_is_nothing_to_predict(tmp_path):
    texts = [f"the film is dull {i}" for i in range(30)]
    kept, blank = [{"text": text} for text in texts], [{"text": ""}, {"text": " \t"}]
    config = DataConfig(
        train=source(tmp_path / "a.jsonl", [*kept[:20], *blank]),
        validation=source(tmp_path / "v.jsonl", [*blank, *kept[20:25]]),
        test=source(tmp_path / "t.jsonl", [*kept[25:], *blank, *blank]),
    )
    data = load_data(config, MODELLING)
    assert data.dropped == {"empty text": 2, "validation: empty text": 2, "test: empty text": 4}
    assert ([e.text for e in data.validation], [e.text for e in data.test]) == (texts[20:25], texts[25:])
    examples, left_out = load_examples(config.test or Source(), DataConfig(), MODELLING, ())
    assert (examples, left_out) == (list(data.test), {"empty text": 4})
    with pytest.raises(UserError, match=r"no row of file .*b\.jsonl is left to score; left out: 2 empty text$"):
        load_examples(source(tmp_path / "b.jsonl", blank), DataConfig(), MODELLING, ())
    assert load_texts(config.test or Source(), DataConfig(), MODELLING)[-1] == Example(" \t")  # a caller may ask it


# Texts that belong to no label


def test_texts_out_of_scope_are_kept_apart(tmp_path):
    train = [{"text": f"text {i}", "label": "ab"[i % 2]} for i in range(40)]
    apart = [{"text": text} for text in ("weather", "", "weather", "text 3", "news")]
    config = DataConfig(
        train=source(tmp_path / "a.jsonl", train),
        validation=source(tmp_path / "v.jsonl", [{"text": "x", "label": "a"}]),
        test=source(tmp_path / "t.jsonl", [{"text": "y", "label": "b"}]),
    )
    without = load_data(config, CLASSIFICATION)
    assert without.out_of_scope == ()
    data = load_data(replace(config, out_of_scope=source(tmp_path / "o.jsonl", apart)), CLASSIFICATION)
    assert data.out_of_scope == (Example("weather"), Example("news"))
    assert data.dropped == {
        "out of scope: empty text": 1,
        "out of scope: duplicate": 1,
        "out of scope: also in train": 1,
    }
    assert data.fingerprint != without.fingerprint
    assert (data.train, data.test, data.labels) == (without.train, without.test, without.labels)
    for seed in range(4):  # its label is looked at in some, not in others
        partly = replace(config, out_of_scope=source(tmp_path / "o.jsonl", apart), labelled=20, split_seed=seed)
        assert load_data(partly, CLASSIFICATION).out_of_scope == data.out_of_scope
    with pytest.raises(UserError, match=r"every out-of-scope text of file .*a.jsonl is empty or stands in train"):
        load_data(replace(config, out_of_scope=config.train), CLASSIFICATION)


def test_a_folder_must_say_which_of_its_files_is_out_of_scope(tmp_path):
    rows = [{"text": f"text {i}", "label": "ab"[i % 2]} for i in range(40)]
    for name, part in (("train", rows[:30]), ("validation", rows[30:35]), ("test", rows[35:])):
        source(tmp_path / f"{name}.jsonl", part)
    folder = Source(path=str(tmp_path))
    config = DataConfig(train=folder, out_of_scope=folder)
    with pytest.raises(UserError, match=r"has no split 'out_of_scope' .*name it with data.splits.out_of_scope"):
        load_data(config, CLASSIFICATION)
    source(tmp_path / "oos_test.jsonl", [{"text": "weather", "label": "oos"}])
    assert load_data(config, CLASSIFICATION).out_of_scope == (Example("weather"),)
    source(tmp_path / "other.jsonl", [{"text": "news"}])
    named = replace(config, splits={"out_of_scope": "other"})
    assert load_data(named, CLASSIFICATION).out_of_scope == (Example("news"),)


# Fingerprints


@pytest.mark.parametrize(
    ("task", "config", "rows", "changed"),
    [
        (MULTI, DataConfig(), emotions(), {"label": ["joy", "anger"]}),
        (REGRESSION, PAIRS, scored(), {"score": 0.001}),
        (ANSWERING, SQUAD, [question(i, "Paris") for i in range(40)], {"answers": question(0, "Varda")["answers"]}),
        (ANSWERING, SQUAD, [question(i, "a") for i in range(40)], {"answers": {"text": ["a"], "answer_start": [12]}}),
    ],
)
def test_fingerprint_follows_every_kind_of_label(tmp_path, task, config, rows, changed):
    def fingerprint(name: str, content: list[dict[str, Any]]) -> str:
        return load_data(replace(config, train=source(tmp_path / name, content)), task).fingerprint

    first = fingerprint("a.jsonl", rows)
    assert fingerprint("b.csv", rows) == first
    assert fingerprint("c.jsonl", [{**rows[0], **changed}, *rows[1:]]) != first


def test_fingerprint_follows_the_scores_of_test_pairs(tmp_path):
    config = embedding(tmp_path, [{"text": "a"}, {"text": "b"}])
    first = load_data(config, EMBEDDING).fingerprint
    rows = scored(8, 200)
    other = source(tmp_path / "other.jsonl", [*rows[:-1], {**rows[-1], "score": 0.0}])
    assert load_data(replace(config, test=source(tmp_path / "same.jsonl", rows)), EMBEDDING).fingerprint == first
    assert load_data(replace(config, test=other), EMBEDDING).fingerprint != first


def test_a_list_as_python_prints_it_is_no_list_of_words() -> None:
    def fail(what: str) -> UserError:
        return UserError(what)

    with pytest.raises(UserError, match="not JSON"):
        tags_of("['B-ORG', 'O']", "tags", fail)
    assert tags_of('["B-ORG", "O"]', "tags", fail) == ("B-ORG", "O")
    assert tags_of("[ X ]", "tags", fail) == ("[", "X", "]")
