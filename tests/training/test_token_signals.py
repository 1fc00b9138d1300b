"""What a student of a language model learns from: soft labels of tokens, and what it writes itself."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_writers import OWN, OWN_SEQ2SEQ, tiny_writer
from torch import Tensor

from distill.config import Architecture, JsdTerm, KlTerm, RecurrentArchitecture
from distill.models import build_recurrent, build_transformer
from distill.models.answers import TOP, answer, forward_of, most_likely, outcome
from distill.models.writing import sample
from distill.objectives import Objective, jensen_shannon_divergence, kl_divergence, reverse_kl_divergence
from distill.runtime import ALONE, in_order, respond
from distill.tasks import build
from distill.tasks import language_modelling as in_numpy
from distill.text import Example, Reading, train_tokenizer
from distill.training import SoftLabelStore, Stored
from distill.training.batching import Batch, make_batch
from distill.training.gathers import NextTokens
from distill.training.signal import OnPolicy, Tokens, look

TEXTS = [Example(t) for t in ("the cat sat on the mat and the dog sat on the log", "a dog", "", "a cat and a dog sat")]
TOKENIZER = train_tokenizer(TEXTS * 5, 320, "bpe")
TASK = build("language-modelling", ())
READING = Reading(TOKENIZER, 12)


def decoder(seed: int = 0) -> Any:
    sizes = Architecture(layers=1, hidden_size=16, heads=2, intermediate_size=32, dropout=0.0)
    return build_transformer(sizes, TOKENIZER, {}, TASK, 12, seed).model.eval()


def recurrent() -> Any:
    sizes = RecurrentArchitecture(embedding_size=16, hidden_size=16, dropout=0.0)
    return build_recurrent(sizes, TOKENIZER, {}, TASK, 12, 0).model.eval()


@torch.no_grad()
def peaked(model: Any) -> Any:
    """With distributions far from uniform."""
    model.get_input_embeddings().weight.mul_(20)
    return model


def test_outcome_is_that_of_numpy() -> None:
    logits, ids = torch.randn(2, 5, 9), torch.randint(9, (2, 5))
    expected = in_numpy.outcome(logits.numpy(), ids.numpy())
    np.testing.assert_allclose(outcome(logits, ids)[:, :-1].numpy(), expected[:, :-1], atol=1e-6)


@pytest.mark.parametrize("vocabulary", [TOP - 5, 200])
def test_soft_labels_hold_the_most_likely_tokens_and_the_rest(vocabulary: int) -> None:
    logits = 3 * torch.randn(1, 3, vocabulary)
    kept = most_likely(logits, torch.zeros(1, 3, dtype=torch.long))[0].double()
    k = min(TOP, vocabulary)
    assert kept.shape == (3, 2 * k + 1)
    assert kept[0].float().numpy().nbytes <= 300
    p = logits[0].double().softmax(-1)
    order = p.argsort(-1, descending=True)[:, :k]
    assert torch.equal(kept[:, :k].long(), order)
    torch.testing.assert_close(kept[:, k : 2 * k].exp(), p.gather(-1, order), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(kept[:, 2 * k].exp(), 1 - p.gather(-1, order).sum(-1), rtol=1e-3, atol=1e-5)


def test_what_is_left_is_spread_evenly_over_what_stands_nowhere() -> None:
    logits = 3 * torch.randn(1, 4, 200)
    again = Tokens(np.zeros(200, dtype=np.int64)).logits(most_likely(logits, torch.zeros(1, 4, dtype=torch.long))).exp()
    p = logits.softmax(-1)
    torch.testing.assert_close(again.sum(-1), torch.ones(1, 4))
    top = p.argsort(-1, descending=True)[..., :TOP]
    torch.testing.assert_close(again.gather(-1, top), p.gather(-1, top), rtol=1e-4, atol=1e-6)
    others = torch.ones_like(p).scatter(-1, top, 0.0).bool()
    for place in range(4):
        rest = again[0, place][others[0, place]]
        torch.testing.assert_close(rest, torch.full_like(rest, float(rest.mean())))


def test_what_is_left_is_spread_as_tokens_stand_in_the_texts() -> None:
    logits, counts = 3 * torch.randn(1, 4, 200), np.arange(200)[::-1].copy()
    again = Tokens(counts).logits(most_likely(logits, torch.zeros(1, 4, dtype=torch.long)))[0].exp().numpy()
    p = logits[0].softmax(-1).numpy()
    for place in range(4):
        top = np.argsort(-p[place])[:TOP]
        others = np.setdiff1d(np.arange(200), top)
        expected = (1 - p[place, top].sum()) * (counts[others] + 1) / (counts[others] + 1).sum()
        np.testing.assert_allclose(again[place, others], expected, rtol=1e-3)
        np.testing.assert_allclose(again[place, top], p[place, top], rtol=1e-4)


def test_a_trimmed_student_gets_the_probabilities_of_its_own_tokens() -> None:
    kept = np.array([0, 3, 5, 40, 41, 42])
    logits = torch.randn(1, 2, 200)
    logits[0, 0, 5], logits[0, 0, 100] = 9.0, 8.0  # the student does not know 100
    labels = most_likely(logits, torch.zeros(1, 2, dtype=torch.long))
    own = Tokens(np.array([0, 0, 5, 3, 0, 1]), kept).logits(labels).exp()
    assert own.shape == (1, 2, 6)
    torch.testing.assert_close(own.sum(-1), torch.ones(1, 2))
    p = logits.softmax(-1)
    assert float(own[0, 0, 2]) == pytest.approx(float(p[0, 0, 5]), rel=1e-4)


@pytest.mark.parametrize("model", [decoder(), recurrent()], ids=["decoder", "recurrent"])
def test_units_of_a_batch_are_those_of_each_text_alone(model: Any) -> None:
    encoded = TASK.encode(READING, TEXTS)
    alone = in_order(respond(forward_of(model, kept=outcome), READING, TASK, encoded, ALONE))
    together = in_order(respond(forward_of(model, kept=outcome), READING, TASK, encoded, 1000))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    batch = make_batch(encoded, TEXTS, TASK, READING.pad_id)
    units = look(model, batch, frozenset({"units"})).units
    labels = np.concatenate([unit[:, 2] for unit in alone])
    assert batch.labels[0].tolist() == labels.tolist()
    told = units.log_softmax(-1).gather(-1, batch.labels.unsqueeze(-1))[0, :, 0]
    np.testing.assert_allclose(told.detach().numpy(), np.concatenate([u[:, 0] for u in alone]), atol=1e-5)


@pytest.mark.parametrize("family", OWN)
def test_logits_of_padding_are_never_made(family: str) -> None:
    model = tiny_writer(family)
    ids, mask = torch.randint(3, 60, (3, 7)), torch.ones(3, 7, dtype=torch.long)
    mask[1, 4:] = 0
    inputs = {"input_ids": ids, "attention_mask": mask}
    if family in OWN_SEQ2SEQ:
        inputs["target_ids"] = ids.flip(1)
    chosen = mask.bool()
    batch = Batch(inputs, NextTokens(chosen), chosen[chosen].unsqueeze(0), ids[chosen].unsqueeze(0))
    expected = answer(model, inputs)[chosen].unsqueeze(0)
    made: list[Tensor] = []
    forward = model.forward
    model.forward = lambda **given: made.append((out := forward(**given)).logits) or out
    torch.testing.assert_close(look(model, batch, frozenset({"units"})).units, expected, atol=1e-4, rtol=1e-4)
    assert made[0].shape == (chosen.sum(), 60)


def soft_labels(model: Any, folder: Path) -> SoftLabelStore:
    encoded = TASK.encode(READING, TEXTS)
    units = in_order(respond(forward_of(model, kept=most_likely), READING, TASK, encoded, ALONE))
    SoftLabelStore.write(folder, TEXTS, units)
    return SoftLabelStore(folder)


@pytest.mark.parametrize(("top", "least"), [(32, 0.5), (1000, 1e-5)])
def test_a_student_equal_to_its_teacher_has_nothing_to_learn(
    top: int, least: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distill.models.answers.TOP", top)
    teacher = peaked(decoder())
    store = soft_labels(teacher, tmp_path / "store")
    signal = Stored(store, TEXTS, Tokens(np.zeros(teacher.config.vocab_size, dtype=np.int64)))
    encoded = TASK.encode(READING, TEXTS)
    soft = [signal[i] for i in range(len(TEXTS))]
    batch = make_batch(encoded, TEXTS, TASK, READING.pad_id, soft)
    objective = Objective.of([KlTerm("kl", temperature=1.0)], "token")
    counts = objective.counts(batch).tolist()
    with torch.no_grad():
        own = objective(look(teacher, batch, objective.needs), signal.of(batch), batch, counts)
        other = objective(look(decoder(1), batch, objective.needs), signal.of(batch), batch, counts)
    assert counts == [batch.labels.numel()]
    assert 0 <= float(own) < least  # of tokens that are not kept their sum alone is known
    assert float(other) > 1


def test_divergences_by_their_definitions() -> None:
    student, teacher = torch.randn(1, 3, 5), torch.randn(1, 3, 5)
    mask = torch.tensor([[True, True, False]])
    q, p = (x[0, :2].double().softmax(-1).numpy() for x in (student, teacher))

    def kl(one: Any, other: Any) -> float:
        return float((one * np.log(one / other)).sum())

    def value(found: tuple[Tensor, Tensor]) -> float:
        assert int(found[1]) == 2
        return float(found[0])

    assert value(reverse_kl_divergence(student, teacher, mask, 1.0)) == pytest.approx(kl(q, p), rel=1e-4)
    for beta in (0.1, 0.5, 0.9):
        m = beta * p + (1 - beta) * q
        expected = beta * kl(p, m) + (1 - beta) * kl(q, m)
        found = value(jensen_shannon_divergence(student, teacher, mask, 1.0, beta))
        assert found == pytest.approx(expected, rel=1e-4)
    forward, reverse = (value(f(student, teacher, mask, 1.0)) for f in (kl_divergence, reverse_kl_divergence))
    assert value(jensen_shannon_divergence(student, teacher, mask, 1.0, 1e-4)) / 1e-4 == pytest.approx(forward, 0.01)
    assert value(jensen_shannon_divergence(student, teacher, mask, 1.0, 1 - 1e-4)) / 1e-4 == pytest.approx(
        reverse, 0.01
    )


def test_divergences_of_a_token_that_cannot_come_are_finite() -> None:
    student = torch.tensor([[[0.0, 1.0, 2.0]]], requires_grad=True)
    teacher, mask = torch.tensor([[[-torch.inf, 0.0, 0.0]]]), torch.ones(1, 1, dtype=torch.bool)
    for loss in (
        reverse_kl_divergence(student, teacher, mask, 1.0),
        jensen_shannon_divergence(student, teacher, mask, 1.0, 0.5),
    ):
        (gradient,) = torch.autograd.grad(loss[0], student)
        assert torch.isfinite(loss[0])
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("model", [decoder(), recurrent()], ids=["decoder", "recurrent"])
def test_what_a_student_writes_is_drawn_from_its_distribution(model: Any) -> None:
    torch.manual_seed(0)
    model = peaked(model)
    ids = torch.full((4000, 1), 70)
    written = sample(model, ids, 2)
    expected = model(ids[:1]).logits[0, -1].softmax(-1).detach().numpy()
    found = np.bincount(written[:, 1].numpy(), minlength=len(expected)) / len(ids)
    assert expected.max() > 0.05
    assert np.abs(found - expected).max() < 0.03


def prepared(signal: OnPolicy, student: Any, texts: Sequence[Example]) -> tuple[Any, Any]:
    batch = make_batch(TASK.encode(READING, texts), texts, TASK, READING.pad_id)
    student.train()
    found = signal.prepared(batch, student)
    assert student.training
    return batch, found


def test_the_second_half_is_the_students() -> None:
    torch.manual_seed(0)
    texts = [TEXTS[0], TEXTS[3]]
    batch, found = prepared(OnPolicy(decoder(1), 1.0), decoder(), texts)
    before, after = batch.inputs["input_ids"], found.inputs["input_ids"]
    mask = batch.inputs["attention_mask"].bool()
    begin = int(mask.sum(1).min()) // 2
    assert before.shape == after.shape
    assert torch.equal(before[:, :begin], after[:, :begin])
    assert torch.equal(before[~mask], after[~mask])
    assert not torch.equal(before[:, begin:], after[:, begin:])
    assert torch.equal(found.unit_mask, batch.unit_mask)
    teacher = OnPolicy(decoder(1), 1.0).of(found).units
    torch.testing.assert_close(teacher, look(decoder(1), found, frozenset({"units"})).units)


def test_the_teacher_of_a_trimmed_student_is_asked_in_its_own_ids() -> None:
    teacher = decoder(1)
    kept = np.array([0, 3, *range(5, READING.vocabulary_size, 2)])
    texts = [TEXTS[0]]
    batch = make_batch(TASK.encode(READING, texts), texts, TASK, READING.pad_id)
    own = np.searchsorted(kept, batch.inputs["input_ids"].numpy()).clip(max=len(kept) - 1)
    students = replace(batch, inputs={**batch.inputs, "input_ids": torch.from_numpy(own)})
    theirs = replace(batch, inputs={**batch.inputs, "input_ids": torch.from_numpy(kept[own])})
    found = OnPolicy(teacher, 1.0, kept).of(students).units
    torch.testing.assert_close(found, look(teacher, theirs, frozenset({"units"})).units[..., kept])
    assert found.shape[-1] == len(kept)


def test_no_share_of_the_steps_leaves_the_texts_as_they_are() -> None:
    batch, found = prepared(OnPolicy(decoder(1), 0.0), decoder(), TEXTS)
    assert found is batch


def test_a_text_of_one_token_is_written_on() -> None:
    torch.manual_seed(0)
    _, found = prepared(OnPolicy(decoder(1), 1.0), decoder(), [Example("")])
    assert found.inputs["input_ids"].shape == (1, 2)


def test_the_objective_of_gkd_reads_no_label() -> None:
    from distill.config import HardTerm, ObjectiveConfig
    from distill.training import objective_of

    config = ObjectiveConfig((HardTerm("hard", 0.5), JsdTerm("jsd")))
    assert [term.reads_labels for term in objective_of("gkd", config, "token").parts] == [False]
    assert [term.reads_labels for term in objective_of("soft", config, "token").parts] == [True, False]


def test_without_the_labels_that_it_was_balanced_with_a_term_of_gkd_has_no_schedule() -> None:
    from distill.config import HardTerm, ObjectiveConfig
    from distill.training import objective_of

    first, second = ((0.5, 1.0), (0.5, 0.0)), ((0.5, 0.0), (0.5, 1.0))
    config = ObjectiveConfig((JsdTerm("jsd", schedule=first), HardTerm("hard", schedule=second)))
    assert [term.schedule for term in objective_of("gkd", config, "token").parts] == [()]
    assert [term.schedule for term in objective_of("soft", config, "token").parts] == [first, second]
    alone = ObjectiveConfig((JsdTerm("jsd", schedule=first),))
    assert [term.schedule for term in objective_of("gkd", alone, "token").parts] == [first]
