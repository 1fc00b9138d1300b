"""Layers, heads and units that matter least are left out of a trained model."""

import copy
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_encoders import FAMILIES, ROWS, TASK, bert, logits_of, loss_of, reloaded
from torch.utils.flop_counter import FlopCounterMode
from transformers import MPNetConfig, MPNetForSequenceClassification

from distill import tasks
from distill.compression.pruning import layers_kept
from distill.compression.steps import Evidence, take
from distill.config import PruneStep
from distill.errors import UserError
from distill.models import parameter_count, student_from_layers
from distill.models.narrowing import feed_forwards
from distill.models.students import layers_of
from distill.models.width import attentions
from distill.training.importance import importance_of
from distill.training.problem import Rows
from distill.training.signal import Stored, look
from distill.training.soft_labels import SoftLabelStore

SEEN = Evidence(ROWS)


@pytest.fixture(params=FAMILIES, ids=lambda kind: kind.__name__)
def model(request: pytest.FixtureRequest) -> Any:
    return request.param()


def test_layers_go_one_after_another_where_the_loss_is_least(model: Any) -> None:
    """Against the loss by hand of every model with a layer less."""
    by_hand, kept = list(range(3)), []
    while len(by_hand) > 1:
        smaller = list(itertools.combinations(by_hand, len(by_hand) - 1))
        losses = [loss_of(student_from_layers(model, list(one)).eval()) for one in smaller]
        by_hand = list(smaller[losses.index(min(losses))])
        kept.append(by_hand)
    assert [layers_kept(model, count, SEEN) for count in (2, 1)] == kept


def test_units_are_left_out_as_if_they_were_zero(model: Any, tmp_path: Path) -> None:
    full, matters = copy.deepcopy(model), importance_of(model, ROWS, width=False).units_KF
    pruned, what = take(PruneStep("prune", feed_forward_share=0.25), model, SEEN)
    with torch.no_grad():
        for part, importance_F in zip(feed_forwards(full), matters, strict=True):
            part.out.weight[:, torch.from_numpy(importance_F.argsort()[:48].copy())] = 0
    torch.testing.assert_close(logits_of(pruned), logits_of(full), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(logits_of(reloaded(pruned, tmp_path)), logits_of(pruned))
    assert what == "16 of 64 feed-forward units a layer"


def counted(key: str, model: Any) -> int:
    """The parameters, or what torch counts as products of matrices for a second token, two operations each."""
    if key == "parameters":
        return parameter_count(model)
    counts = []
    for tokens in (1, 2):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(input_ids=torch.ones(1, tokens, dtype=torch.long))
        counts.append(counter.get_flop_counts()["Global"][torch.ops.aten.addmm])
    project = getattr(model.base_model, "embeddings_project", None)  # of ELECTRA, before the layers
    return (counts[1] - counts[0]) // 2 - (0 if project is None else project.weight.numel())


@pytest.mark.parametrize("key", ["parameters", "multiplications"])
def test_a_share_is_reached_with_heads_and_units_alike(key: str, model: Any, tmp_path: Path) -> None:
    """Against the pairs of heads and units, whose counts lie on a line over the units."""
    kind, share = type(model), 0.6
    most, fitting = share * counted(key, model), {}
    for heads in range(1, 5):
        ends = []
        for units in (1, 64):
            step = PruneStep("prune", width_share=heads / 4, feed_forward_share=units / 64)
            ends.append(counted(key, take(step, copy.deepcopy(model), None)[0]))
        counts = np.linspace(*ends, 64)
        fitting[heads] = {int(units) + 1: int(counts[units]) for units in np.flatnonzero(counts <= most + 1e-6)}
    heads = min((h for h in fitting if fitting[h]), key=lambda h: abs(h / 4 - max(fitting[h]) / 64))
    pruned, _ = take(PruneStep("prune", **{key: share}), model, SEEN)
    assert counted(key, pruned) == max(fitting[heads].values()) <= most
    assert pruned.config.num_attention_heads == heads
    again = reloaded(pruned, tmp_path)
    assert type(again) is kind
    torch.testing.assert_close(logits_of(again), logits_of(pruned))


def test_a_share_is_one_of_the_model_that_was_given(model: Any) -> None:
    """Two of three layers have two thirds of the multiplications: nothing is cut for 0.7, something for 0.6."""
    whole = counted("multiplications", model)
    step = PruneStep("prune", layers=2, multiplications=0.7)
    loose, what = take(step, copy.deepcopy(model), SEEN)
    assert counted("multiplications", loose) == 2 * whole // 3
    assert what.startswith("2 of 3 layers (")
    assert ";" not in what
    tight, _ = take(replace(step, multiplications=0.6), model, SEEN)
    assert 0.5 * whole < counted("multiplications", tight) <= 0.6 * whole


def test_layers_heads_and_units_go_together(model: Any) -> None:
    step = PruneStep("prune", layers=2, width_share=0.5, feed_forward_share=0.5)
    pruned, what = take(step, model, SEEN)
    assert len(layers_of(pruned)) == 2
    assert {tuple(part.out.weight.shape) for part in attentions(pruned)} == {(24, 24)}
    assert {tuple(part.out.weight.shape) for part in feed_forwards(pruned)} == {(24, 32)}
    assert what.endswith("; 2 of 4 heads a layer; 32 of 64 feed-forward units a layer")
    assert what.startswith("2 of 3 layers (")


def test_what_a_teacher_says_stands_in_for_labels(tmp_path: Path) -> None:
    """A teacher whose likeliest answer is the label of each text tells the same of every unit."""
    model, unlabelled = bert(), [type(one)(one.text) for one in ROWS.examples]
    unsure = [np.eye(3, dtype=np.float32)[[i % 3]] for i in range(len(unlabelled))]
    SoftLabelStore.write(tmp_path, unlabelled, unsure)
    rows = Rows(TASK, ROWS.reading, unlabelled, ROWS.encoded)
    signal = Stored(SoftLabelStore(tmp_path), unlabelled)
    found, expected = importance_of(model, rows, signal=signal), importance_of(model, ROWS)
    for name in ("units_KF", "heads_KH", "states_D"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-5)


@pytest.mark.parametrize("name", ["text-classification", "multi-label-classification", "regression"])
def test_parts_of_a_teacher_matter_to_its_own_answers(name: str, tmp_path: Path) -> None:
    """Against its own soft labels it loses nothing, and gradients are 0."""
    task = tasks.build(name, () if name == "regression" else ("a", "b", "c"))
    texts = [type(one)(one.text) for one in ROWS.examples]
    model = bert(1 if name == "regression" else 3)
    rows = Rows.read(task, ROWS.reading, texts)
    (batch,) = rows.batches(np.arange(len(texts)), [np.arange(len(texts))], np.random.default_rng(0), None)
    with torch.no_grad():
        said = look(model, batch, frozenset()).units
    SoftLabelStore.write(tmp_path, texts, list(said.numpy()))
    found = importance_of(model, rows, signal=Stored(SoftLabelStore(tmp_path), texts))
    for part in (found.units_KF, found.heads_KH, found.states_D):
        assert len(np.unique(part)) == part.size
        assert part.max() > 1e-4


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (PruneStep("prune", layers=3), "layers is 3, but the model has 3; give fewer"),
        (PruneStep("prune", parameters=0.01), r"parameters is 0.01, .* but with one head and one feed-forward unit"),
        (PruneStep("prune", multiplications=0.01), r"multiplications is 0.01, .* leave out layers$"),
    ],
)
@pytest.mark.parametrize("seen", [SEEN, None], ids=["with texts", "beforehand"])
def test_what_cannot_be_reached_is_refused(step: PruneStep, message: str, seen: Evidence | None) -> None:
    with pytest.raises(UserError, match=message):
        take(step, bert(), seen)


def test_a_class_that_cannot_be_narrowed_is_refused_beforehand() -> None:
    config = MPNetConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=32
    )
    with pytest.raises(UserError, match=r"relative_attention_bias.* give width_share=1"):
        take(PruneStep("prune", parameters=0.5), MPNetForSequenceClassification(config), None)


def test_without_texts_a_model_of_the_same_sizes_is_left(model: Any) -> None:
    step = PruneStep("prune", layers=2, parameters=0.6)
    tried, real = (take(step, copy.deepcopy(model), seen)[0] for seen in (None, SEEN))
    assert [tuple(p.shape) for p in tried.parameters()] == [tuple(p.shape) for p in real.parameters()]
