"""Feed-forward units: how much each matters, and a model without those that matter least."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from little_world import word_pieces
from torch import Tensor, nn
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from distill import tasks
from distill.errors import UserError
from distill.models import EncoderConfig, EncoderForSequenceClassification
from distill.models.narrowing import feed_forwards, keep_units
from distill.text import Example, Reading
from distill.training.importance import loss_on_labels, unit_importance
from distill.training.problem import Rows

LABELS = ("a", "b", "c")
TEXTS = ["a gorgeous witty film", "the cast is dull", "a film", "the film is a film", "", "dull dull cast"]
READING = Reading(word_pieces(TEXTS), 16)
TASK = tasks.build("text-classification", LABELS)
ROWS = Rows.read(TASK, READING, [Example(text, None, LABELS[i % 3]) for i, text in enumerate(TEXTS)])
LAYERS, UNITS = 2, 24
SIZES: dict[str, Any] = {
    "vocab_size": READING.vocabulary_size,
    "num_hidden_layers": LAYERS,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": UNITS,
    "num_labels": 3,
}


def bert() -> Any:
    return BertForSequenceClassification(BertConfig(**SIZES))


def electra() -> Any:
    return ElectraForSequenceClassification(ElectraConfig(**SIZES, embedding_size=8))


def roberta() -> Any:
    return RobertaForSequenceClassification(RobertaConfig(**SIZES, pad_token_id=0))


def distilbert() -> Any:
    sizes: Any = {"n_layers": LAYERS, "dim": 16, "n_heads": 2, "hidden_dim": UNITS, "num_labels": 3}
    return DistilBertForSequenceClassification(DistilBertConfig(vocab_size=READING.vocabulary_size, **sizes))


def in_repo() -> Any:
    return EncoderForSequenceClassification(EncoderConfig(**SIZES))


def gated() -> Any:
    return EncoderForSequenceClassification(EncoderConfig(**SIZES, activation="swiglu", norm="post"))


KINDS = [bert, electra, roberta, distilbert, in_repo, gated]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def teacher(request: pytest.FixtureRequest) -> Any:
    return _shaken(request.param())


def _shaken(model: Any) -> Any:
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=random))
    return model.eval()


def _logits(model: Any) -> Tensor:
    (batch,) = ROWS.batches(np.arange(len(TEXTS)), [np.arange(len(TEXTS))], np.random.default_rng(0), None)
    with torch.no_grad():
        logits: Tensor = model(batch.inputs["input_ids"], attention_mask=batch.inputs["attention_mask"]).logits
    return logits


def _scaled(part: nn.Linear, scale_F: Tensor) -> Any:
    return part.register_forward_pre_hook(lambda _module, given: (given[0] * scale_F,))


def test_importance_is_how_the_loss_changes_with_a_unit(teacher: Any) -> None:
    """Against the gradient by a factor at each unit, text by text."""
    found = unit_importance(teacher, ROWS)
    loss_of = loss_on_labels(teacher, ROWS)
    scales = [torch.ones(UNITS, requires_grad=True) for _ in range(LAYERS)]
    hooks = [_scaled(part.out, scale_F) for part, scale_F in zip(feed_forwards(teacher), scales, strict=True)]
    expected = np.zeros((LAYERS, UNITS))
    for text in range(len(TEXTS)):
        gradients = torch.autograd.grad(loss_of(np.array([text])), scales)
        expected += np.stack([gradient.abs().numpy() for gradient in gradients])
    for hook in hooks:
        hook.remove()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)
    assert (found > 0).any(1).all()
    assert all(parameter.grad is None for parameter in teacher.parameters())


@pytest.mark.parametrize(("share", "count"), [(0.5, 12), (0.01, 1), (1.0, 24)])
def test_a_narrow_model_answers_as_its_teacher_with_the_other_units_at_zero(
    share: float, count: int, teacher: Any, tmp_path: Path
) -> None:
    importance = unit_importance(teacher, ROWS)
    narrow = copy.deepcopy(teacher)
    keep_units(narrow, importance, share)
    with torch.no_grad():
        for part, importance_F in zip(feed_forwards(teacher), importance, strict=True):
            part.out.weight[:, importance_F < np.sort(importance_F)[-count]] = 0
    torch.testing.assert_close(_logits(narrow), _logits(teacher), atol=1e-5, rtol=1e-5)
    narrow.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert type(again) is type(teacher)
    torch.testing.assert_close(_logits(again), _logits(narrow))
    sizes = [tuple(part.out.weight.shape) for part in feed_forwards(again)]
    assert sizes == [(16, count)] * LAYERS


def test_units_that_matter_stay_and_those_that_do_not_go() -> None:
    teacher = _shaken(bert())
    dead = torch.arange(0, UNITS, 2)
    with torch.no_grad():
        for part in feed_forwards(teacher):
            part.out.weight[:, dead] = 0
    before = _logits(teacher)
    keep_units(teacher, unit_importance(teacher, ROWS), 0.5)
    torch.testing.assert_close(_logits(teacher), before, atol=1e-5, rtol=1e-5)


def test_the_answer_without_labels_is_left_out() -> None:
    teacher = _shaken(bert())
    more = [Example(one.text, None, one.label) for one in ROWS.examples] + [Example("dull film")]
    torch.testing.assert_close(
        unit_importance(teacher, Rows.read(TASK, READING, more)), unit_importance(teacher, ROWS), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            lambda: ModernBertForSequenceClassification(
                ModernBertConfig(**SIZES, **{f"{role}_token_id": 0 for role in ("pad", "bos", "eos", "cls", "sep")})
            ),
            "units of ModernBertForSequenceClassification cannot be told",
        ),
        (
            lambda: GPT2ForSequenceClassification(
                GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=2, num_labels=3)
            ),
            "GPT2ForSequenceClassification has none of intermediate_size, hidden_dim",
        ),
        (
            lambda: BertForSequenceClassification(BertConfig(**{**SIZES, "intermediate_size": 16})),
            "cannot be told from other sizes",
        ),
    ],
    ids=["fused", "convolutions", "as wide as the states"],
)
def test_other_feed_forwards_are_refused_with_the_reason(model: Any, message: str) -> None:
    with pytest.raises(UserError, match=message + ".*set student.feed_forward_share=1"):
        feed_forwards(model())
