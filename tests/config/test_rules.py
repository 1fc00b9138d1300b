"""What the values of a recipe must keep: what does not is refused, with its key and the mend."""

from typing import Any

import pytest
from small_recipe import small_recipe

from distill.config import build_config
from distill.errors import UserError


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": []}, "seeds is empty"),
        ({"seeds": [1, 1]}, r"seeds is \[1, 1\]; give each once"),
        ({"arms": ["linear", "hard", "hard"]}, "give each once"),
        ({"arms": ["linear"]}, "arms has no student"),
        ({"train": {"steps": 0}}, r"train\.steps is 0"),
        ({"train": {"batch_size": 0}}, r"train\.batch_size is 0"),
        ({"train": {"tokens": 0}}, r"train\.tokens is 0"),
        ({"train": {"learning_rates": []}}, r"train\.learning_rates is empty"),
        ({"train": {"learning_rates": [5]}}, r"train\.learning_rates has 5\.0"),
        ({"train": {"learning_rates": [-1e-3]}}, r"train\.learning_rates has -0\.001"),
        ({"train": {"learning_rates": ["nan"]}}, r"train\.learning_rates\[0\] is nan"),
        ({"train": {"warmup": 1}}, r"train\.warmup is 1"),
        ({"train": {"clip": 0}}, r"train\.clip is 0"),
        ({"train": {"ema": 1}}, r"train\.ema is 1\.0; it is a decay between 0 and 1, such as 0\.999, or null"),
        (
            {"teacher": {"name": "transformer", "folds": 0}},
            r"teacher\.folds is 0; give 1 for none, or a number of folds",
        ),
        (
            {"student": {"name": "transformer", "architecture": {"initializer_range": 0}}},
            r"student\.architecture\.initializer_range is 0",
        ),
        (
            {"student": {"name": "layers", "feed_forward_share": 0}},
            r"student\.feed_forward_share is 0\.0; it is a share of the units, above 0 and up to 1",
        ),
        ({"student": {"name": "layers", "feed_forward_share": 1.5}}, r"student\.feed_forward_share is 1\.5"),
        (
            {"student": {"name": "layers", "width_share": 0}},
            r"student\.width_share is 0\.0; it is a share of the heads, above 0 and up to 1",
        ),
        (
            {"student": {"name": "layers", "pretraining": {"max_length": 2}}},
            r"student\.pretraining\.max_length is 2; give at least 3 tokens",
        ),
        (
            {"student": {"name": "layers", "pretraining": {"limit": -3}}},
            r"student\.pretraining\.limit is -3; give a number of texts, at least 1, or null for all",
        ),
        ({"student": {"name": "layers", "pretraining": {"limit": 0}}}, r"student\.pretraining\.limit is 0"),
        (
            {
                "student": {"name": "layers", "feed_forward_share": 0.5, "start": "checkpoint"},
                "arms": ["linear", "hard", "pretrained"],
            },
            r"student\.feed_forward_share is 0\.5, which is chosen by the task, but arms has 'pretrained'",
        ),
        (
            {"student": {"name": "static", "architecture": {"hidden_size": 0}}},
            r"student\.architecture\.hidden_size is 0; give at least 1",
        ),
        (
            {"teacher": {"name": "pretrained", "source": {"path": "x"}, "train": {"steps": -1}}},
            r"teacher\.train\.steps is -1",
        ),
        ({"data": {"validation_share": 1}}, r"data\.validation_share is 1"),
        ({"data": {"test_share": -0.1}}, r"data\.test_share is -0\.1"),
        ({"data": {"max_length": 2}}, r"data\.max_length is 2"),
        ({"export": {"variants": ["int8"]}}, r"export\.variants lacks fp32"),
        ({"cascade": {"max_drop": 0}}, r"cascade\.max_drop is 0; give points above 0, such as 0\.5, to 100"),
        ({"cascade": {"max_drop": 101}}, r"cascade\.max_drop is 101; give points"),
        ({"export": {"max_drop": -1}}, r"export\.max_drop is -1; give points, 0 or more"),
        ({"export": {"max_drop": float("nan")}}, r"export\.max_drop is nan"),
        ({"max_teacher_drop": -0.5}, r"max_teacher_drop is -0\.5; give points, 0 or more, or null"),
        ({"max_teacher_drop": float("nan")}, r"max_teacher_drop is nan"),
        ({"cascade": {"drop": 1}}, r"unknown key 'cascade\.drop'"),
        ({"export": {"shortlist": -1}}, r"export\.shortlist is -1; give 0 for none"),
        ({"export": {"shortlist": 9, "variants": ["fp32"]}}, r"export\.variants has no quantized variant"),
        ({"export": {"variants": ["fp32", "int9"]}}, r"export\.variants has 'int9'; did you mean 'int8'\?"),
        ({"objective": {"terms": []}}, r"objective\.terms is empty"),
        ({"threads": 0}, "threads is 0"),
        ({"measure": {"threads": 0}}, r"measure\.threads is 0"),
        (
            {
                "data": {"train": {"path": "x"}, "pair": "b", "recombined": 9},
                "teacher": {"name": "probabilities", "source": {"path": "x"}},
            },
            "pairs that no file of probabilities knows",
        ),
        (
            {"arms": ["linear", "hard", "pretrained"], "student": {"name": "layers", "start": "teacher"}},
            "layers that know the task already; set student.start=checkpoint",
        ),
        ({"name": ""}, "name is ''"),
        ({"name": "a/b"}, "it names a folder"),
        ({"name": ".."}, "it names a folder"),
    ],
)
def test_values_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_config(small_recipe(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"train": {"evaluations": 0}},
        {"train": {"evaluations": -2}},
        {"train": {"clip": "nan"}},
        {"train": {"weight_decay": -1}},
        {"train": {"evaluations": -1}},
        {"objective": {"terms": [{"name": "kl", "temperature": 0}]}},
        {"objective": {"terms": [{"name": "kl", "temperature": -2}]}},
        {"objective": {"terms": [{"name": "kl", "weight": "nan"}]}},
        {"objective": {"states_gb": -1}},
        {"objective": {"states_gb": ".inf"}},
        {"objective": {"terms": [{"name": "hard", "smoothing": 1}]}},
        {"objective": {"terms": [{"name": "hard", "smoothing": -0.1}]}},
        {"objective": {"terms": [{"name": "skewed_kl", "skew": 1}]}},
        {"objective": {"terms": [{"name": "dkd", "beta": -1}]}},
        {"objective": {"terms": [{"name": "relations", "of": []}]}},
        {"objective": {"terms": [{"name": "relations", "heads": 0}]}},
        {"objective": {"terms": [{"name": "hidden", "layers": [[1, 2, 3]]}]}},
        {"objective": {"terms": [{"name": "hidden", "layers": [1]}]}},
        {"objective": {"terms": [{"name": "kl", "schedule": [[0.5, 1], [0.2, 0]]}]}},
        {"objective": {"terms": [{"name": "kl", "schedule": [[1.5, 1]]}]}},
        {"objective": {"terms": [{"name": "kl", "schedule": [[0.5, -1]]}]}},
        {"objective": {"terms": [{"name": "mse", "growth": [[-0.1, 1]]}]}},
        {"student": {"name": "recurrent", "architecture": {"hidden_size": 0}}},
        {"student": {"name": "recurrent", "architecture": {"dropout": 1.5}}},
        {"student": {"name": "transformer", "architecture": {"layers": 0}}},
        {"student": {"name": "transformer", "architecture": {"embedding_size": -1}}},
        {"student": {"name": "layers", "count": -2}},
        {"seeds": [-1]},
        {"tokenizer": {"name": "trained", "vocabulary_size": 0}},
        {"measure": {"seconds": 0}},
    ],
    ids=str,
)
def test_more_values_that_cannot_be_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        build_config(small_recipe(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"train": {"steps": 2.5}},
        {"data": {"train": {"path": "x"}, "labelled": 0}},
        {"data": {"train": {"path": "x"}, "labelled": -5}},
        {"data": {"train": {"path": "x"}, "transfer_limit": -1}},
        {"data": {"train": {"path": "x"}, "stream": {"path": "y", "limit": 0}}},
        {"data": {"train": {"path": "x"}, "pair": "b", "recombined": -1}},
        {"objective": {"terms": [{"name": "hard", "weight": "inf"}]}},
    ],
    ids=str,
)
def test_counts_below_1_and_infinite_settings_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        build_config(small_recipe(**changes))
