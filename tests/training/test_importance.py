"""Parts of a model: how much each matters, and a model without those that matter least."""

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
    MPNetConfig,
    MPNetForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from distill import tasks
from distill.config import AttentionTerm, LayersStudent, ObjectiveConfig, RelationsTerm
from distill.errors import UserError
from distill.models import EncoderConfig, EncoderForSequenceClassification
from distill.models.narrowing import feed_forwards, keep_units
from distill.models.students import layers_of
from distill.models.width import attentions, check_narrowed, keep_width
from distill.text import Example, Reading
from distill.training.importance import Importance, importance_of, loss_on_labels
from distill.training.inside import check_inside
from distill.training.problem import Rows

LABELS = ("a", "b", "c")
TEXTS = ["a gorgeous witty film", "the cast is dull", "a film", "the film is a film", "", "dull dull cast"]
READING = Reading(word_pieces(TEXTS), 16)
TASK = tasks.build("text-classification", LABELS)
ROWS = Rows.read(TASK, READING, [Example(text, None, LABELS[i % 3]) for i, text in enumerate(TEXTS)])
LAYERS, UNITS, HEADS = 2, 24, 4
SIZES: dict[str, Any] = {
    "vocab_size": READING.vocabulary_size,
    "num_hidden_layers": LAYERS,
    "hidden_size": 16,
    "num_attention_heads": HEADS,
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
    sizes: Any = {"n_layers": LAYERS, "dim": 16, "n_heads": HEADS, "hidden_dim": UNITS, "num_labels": 3}
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


def unit_importance(model: Any, rows: Rows) -> Any:
    return importance_of(model, rows, width=False).units_KF


def _scaled(part: nn.Linear, scale_F: Tensor) -> Any:
    return part.register_forward_pre_hook(lambda _module, given: (given[0] * scale_F,))


def _by_gradients(teacher: Any, scales: list[Tensor], hooks: list[Any]) -> Any:
    """[len(scales), …]: what each factor changes in the loss of a text, its absolute value, over all texts."""
    loss_of = loss_on_labels(teacher, ROWS)
    gradients = [torch.autograd.grad(loss_of(np.array([text]))[0], scales) for text in range(len(TEXTS))]
    for hook in hooks:
        hook.remove()
    return np.sum([[one.abs().numpy() for one in of_text] for of_text in gradients], axis=0)


def test_importance_is_how_the_loss_changes_with_a_unit(teacher: Any) -> None:
    """Against the gradient by a factor at each unit, text by text."""
    found = unit_importance(teacher, ROWS)
    scales = [torch.ones(UNITS, requires_grad=True) for _ in range(LAYERS)]
    hooks = [_scaled(part.out, scale_F) for part, scale_F in zip(feed_forwards(teacher), scales, strict=True)]
    np.testing.assert_allclose(found, _by_gradients(teacher, scales, hooks), rtol=1e-3, atol=1e-6)
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
    with pytest.raises(UserError, match=message + ".*give feed_forward_share=1"):
        feed_forwards(model())


def _only(part: nn.Linear, scale_H: Tensor) -> Any:
    def scaled(_module: Any, given: tuple[Tensor]) -> tuple[Tensor]:
        return ((given[0].unflatten(-1, (len(scale_H), -1)) * scale_H[:, None]).flatten(-2),)

    return part.register_forward_pre_hook(scaled)


def test_importance_of_heads_is_how_the_loss_changes_with_a_mask_over_them(teacher: Any) -> None:
    """Against the gradient by a factor at each head, text by text (Michel, Levy and Neubig 2019)."""
    found = importance_of(teacher, ROWS, units=False).heads_KH
    masks = [torch.ones(HEADS, requires_grad=True) for _ in range(LAYERS)]
    hooks = [_only(part.out, mask_H) for part, mask_H in zip(attentions(teacher), masks, strict=True)]
    np.testing.assert_allclose(found, _by_gradients(teacher, masks, hooks), rtol=1e-3, atol=1e-6)
    assert (found > 0).all()


def test_importance_of_states_is_how_the_loss_changes_with_them(teacher: Any) -> None:
    """Against the gradient by a factor at each number of the states, layer by layer and text by text."""
    found = importance_of(teacher, ROWS, units=False).states_D
    layers = layers_of(teacher)
    scales = [torch.ones(SIZES["hidden_size"], requires_grad=True) for _ in range(LAYERS + 1)]
    hooks = [_state_scaled(layers[0], scales[0], into=True)]
    hooks += [_state_scaled(layer, scale_D) for layer, scale_D in zip(layers, scales[1:], strict=True)]
    expected = _by_gradients(teacher, scales, hooks).sum(0)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    assert (found > 0).all()


def _state_scaled(layer: nn.Module, scale_D: Tensor, into: bool = False) -> Any:
    if into:
        return layer.register_forward_pre_hook(lambda _module, given: (given[0] * scale_D, *given[1:]))

    def scaled(_module: Any, _given: Any, output: Any) -> Any:
        return (output[0] * scale_D, *output[1:]) if isinstance(output, tuple) else output * scale_D

    return layer.register_forward_hook(scaled)


def test_what_was_found_is_kept(tmp_path: Path) -> None:
    found = importance_of(bert(), ROWS)
    found.save(tmp_path / "importance.npz")
    again = Importance.load(tmp_path / "importance.npz")
    for name in ("units_KF", "heads_KH", "states_D"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))


def test_half_the_width_of_bert_is_cut_out_of_its_weights() -> None:
    """Each kind of weight, by hand: heads of four numbers, each layer keeps others, and eight of 16 states."""
    teacher = _shaken(bert())
    heads_KH, states_D = np.array([[1, 2, 3, 0], [3, 0, 1, 2]], np.float32), np.zeros(16, np.float32)
    states = [0, 3, 4, 7, 8, 9, 14, 15]
    states_D[states] = np.arange(1, 9)
    found, old = keep_width(teacher, heads_KH, states_D, 0.5).state_dict(), teacher.state_dict()
    of_heads = ([4, 5, 6, 7, 8, 9, 10, 11], [0, 1, 2, 3, 12, 13, 14, 15])

    for name in ("word", "position", "token_type"):
        key = f"bert.embeddings.{name}_embeddings.weight"
        torch.testing.assert_close(found[key], old[key][:, states])
    torch.testing.assert_close(found["bert.embeddings.LayerNorm.bias"], old["bert.embeddings.LayerNorm.bias"][states])
    for layer, heads in enumerate(of_heads):
        key = f"bert.encoder.layer.{layer}."
        for name in ("query", "key", "value"):
            linear = f"{key}attention.self.{name}."
            torch.testing.assert_close(found[linear + "weight"], old[linear + "weight"][heads][:, states])
            torch.testing.assert_close(found[linear + "bias"], old[linear + "bias"][heads])
        linear = f"{key}attention.output.dense."
        torch.testing.assert_close(found[linear + "weight"], old[linear + "weight"][states][:, heads])
        torch.testing.assert_close(found[linear + "bias"], old[linear + "bias"][states])
        torch.testing.assert_close(
            found[f"{key}intermediate.dense.weight"], old[f"{key}intermediate.dense.weight"][:, states]
        )
        torch.testing.assert_close(found[f"{key}output.dense.weight"], old[f"{key}output.dense.weight"][states])
    torch.testing.assert_close(found["classifier.weight"], old["classifier.weight"][:, states])
    torch.testing.assert_close(found["classifier.bias"], old["classifier.bias"])


@pytest.mark.parametrize(("share", "heads"), [(0.5, 2), (0.01, 1), (1.0, 4)])
def test_a_thin_model_is_one_of_its_class(share: float, heads: int, teacher: Any, tmp_path: Path) -> None:
    found = importance_of(teacher, ROWS)
    before = _logits(teacher)
    check_narrowed(LayersStudent("layers", width_share=share, feed_forward_share=0.5), teacher)
    thin = keep_width(teacher, found.heads_KH, found.states_D, share).eval()
    torch.testing.assert_close(_logits(teacher), before)
    if share == 1:
        torch.testing.assert_close(_logits(thin), before)
    assert thin.num_parameters() < teacher.num_parameters() or share == 1
    thin.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert type(again) is type(teacher)
    torch.testing.assert_close(_logits(again), _logits(thin))
    sizes = [tuple(linear.weight.shape) for part in attentions(again) for linear in (*part.into, part.out)]
    assert sizes == [(4 * heads, 4 * heads)] * 4 * LAYERS


def test_of_pairs_read_apart_each_state_of_both_is_cut_alike() -> None:
    teacher = EncoderForSequenceClassification(EncoderConfig(**SIZES, pairs="apart", pair_opening=1))
    states_D = np.arange(16, dtype=np.float32)
    thin = keep_width(teacher, np.ones((LAYERS, HEADS), np.float32), states_D, 0.25)
    kept = [place * 16 + state for place in range(4) for state in range(12, 16)]
    torch.testing.assert_close(thin.classifier.weight, teacher.classifier.weight[:, kept])


def test_sizes_that_follow_from_the_heads_are_refused_with_the_reason() -> None:
    sizes = {**SIZES, "vocab_size": 50}
    model = MPNetForSequenceClassification(MPNetConfig(**sizes))
    with pytest.raises(UserError, match=r"relative_attention_bias.* of \[32, 4\] numbers.*give width_share=1"):
        check_narrowed(LayersStudent("layers", width_share=0.5), model)
    model = GPT2ForSequenceClassification(GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=2, num_labels=3))
    with pytest.raises(UserError, match=r"heads of GPT2ForSequenceClassification cannot be told.*width_share=1"):
        check_narrowed(LayersStudent("layers", width_share=0.5), model)


def test_as_many_units_may_be_left_as_states_had_numbers() -> None:
    """A quarter of the units that BERT's kind has is its hidden size."""
    teacher = BertForSequenceClassification(BertConfig(**{**SIZES, "intermediate_size": 64})).eval()
    student = LayersStudent("layers", width_share=0.5, feed_forward_share=0.25)
    check_narrowed(student, teacher)
    found = importance_of(teacher, ROWS)
    thin = keep_width(teacher, found.heads_KH, found.states_D, student.width_share)
    keep_units(thin, found.units_KF, student.feed_forward_share)
    assert [tuple(part.out.weight.shape) for part in feed_forwards(thin)] == [(8, 16)] * LAYERS


def test_units_that_cannot_be_told_from_the_narrower_states_are_refused_beforehand() -> None:
    teacher = BertForSequenceClassification(BertConfig(**{**SIZES, "intermediate_size": 8}))
    check_narrowed(LayersStudent("layers", feed_forward_share=0.5), teacher)
    with pytest.raises(UserError, match="cannot be told from other sizes"):
        check_narrowed(LayersStudent("layers", width_share=0.5, feed_forward_share=0.5), teacher)


def test_heads_of_a_thin_student_are_compared_as_many_as_it_keeps() -> None:
    """Before the teacher is trained: heads one by one where it has as many, not where it has fewer."""
    objective = ObjectiveConfig((AttentionTerm("attention"),))
    check_inside(objective, LayersStudent("layers", feed_forward_share=0.5), bert(), TASK)
    with pytest.raises(UserError, match="the student has 2 and the teacher 4"):
        check_inside(objective, LayersStudent("layers", width_share=0.5), bert(), TASK)
    relations = ObjectiveConfig((RelationsTerm("relations", heads=3),))
    with pytest.raises(UserError, match="the student's 8 dimensions are no multiple"):
        check_inside(relations, LayersStudent("layers", width_share=0.5), bert(), TASK)
