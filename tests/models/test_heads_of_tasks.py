"""Each task's model has the head and the configuration by which its checkpoint is known again."""

from typing import Any

import pytest
from transformers import BertConfig, PretrainedConfig

from distill import tasks
from distill.models.loading import auto_class, label_settings
from distill.models.teachers import has_head_for

HEADS = {
    "text-classification": ("BertForSequenceClassification", "single_label_classification", 2),
    "multi-label-classification": ("BertForSequenceClassification", "multi_label_classification", 2),
    "regression": ("BertForSequenceClassification", "regression", 1),
    "token-classification": ("BertForTokenClassification", None, 2),
    "question-answering": ("BertForQuestionAnswering", None, 2),
    "sentence-embedding": ("BertModel", None, 2),
}
SMALL = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8, "vocab_size": 9}


def known_as(**settings: Any) -> list[str]:
    return [name for name, task in tasks.TASKS.items() if has_head_for(PretrainedConfig(**settings), task)]


@pytest.mark.parametrize("name", HEADS)
def test_a_model_of_the_task_is_known_again_by_its_configuration(name: str) -> None:
    task = tasks.build(name, ("no", "yes") if tasks.find(name).labelled else ())
    architecture, problem, outputs = HEADS[name]
    model = auto_class(task).from_config(BertConfig(**SMALL, **label_settings(task)))
    assert type(model).__name__ == architecture
    assert (model.config.problem_type, model.config.num_labels) == (problem, outputs)
    if task.labels:
        assert model.config.id2label == {0: "no", 1: "yes"}
        assert model.config.label2id == {"no": 0, "yes": 1}
    settings = {k: v for k, v in model.config.to_dict().items() if k in ("id2label", "problem_type")}
    assert known_as(architectures=[architecture], **settings) == [name]


def test_a_checkpoint_that_states_no_problem_is_told_by_its_outputs() -> None:
    whole = ["BertForSequenceClassification"]
    assert known_as(architectures=whole, num_labels=3) == ["text-classification"]
    assert known_as(architectures=whole, num_labels=1) == ["regression"]
    assert known_as(architectures=["BertForMaskedLM"]) == []
    assert known_as() == []
