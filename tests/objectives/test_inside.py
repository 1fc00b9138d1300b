"""Terms on hidden states and attention, against a few lines of numpy, and what all of them must hold."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from distill.config import AttentionTerm, ClsTerm, HiddenTerm, RelationsTerm, Term
from distill.errors import UserError
from distill.objectives import Objective, Seen, Shape
from distill.objectives.inside import pairs_of
from distill.objectives.terms import at

OWN, OTHER = Shape(0, 2, 8, 2), Shape(0, 4, 12, 2)
TERMS: list[Term] = [
    HiddenTerm("hidden"),
    HiddenTerm("hidden", distance="cosine"),
    HiddenTerm("hidden", distance="cka"),
    ClsTerm("cls"),
    AttentionTerm("attention"),
    AttentionTerm("attention", compared="weights"),
    RelationsTerm("relations"),
    RelationsTerm("relations", of=("values",), heads=4),
]
names = [f"{t.name} {getattr(t, 'distance', getattr(t, 'compared', getattr(t, 'heads', '')))}" for t in TERMS]
each_term = pytest.mark.parametrize("term", TERMS, ids=names)
Array = NDArray[Any]


@dataclass(frozen=True)
class Asked:
    """What terms read of a batch."""

    inputs: dict[str, Tensor]
    unit_mask: Tensor
    labels: Tensor

    @classmethod
    def of(cls, mask: Tensor) -> "Asked":
        rows = len(mask)
        return cls({"attention_mask": mask.long()}, torch.ones(rows, 1, dtype=torch.bool), torch.zeros(rows, 1).long())


def seen(shape: Shape, rows: int, length: int, seed: int = 0) -> Seen:
    random = torch.Generator().manual_seed(seed)
    states = [torch.randn(rows, length, shape.hidden, generator=random) for _ in range(shape.layers + 1)]
    qkv = [torch.randn(3, rows, length, shape.hidden, generator=random) for _ in range(shape.layers)]
    return Seen(torch.randn(rows, 1, 3, generator=random), tuple(states), tuple(qkv))


def lengths_to_mask(lengths: list[int], width: int) -> Tensor:
    return torch.arange(width)[None] < torch.tensor(lengths)[:, None]


def mean_of(objective: Objective, student: Seen, teacher: Seen, mask: Tensor) -> Tensor:
    """As the loop has it."""
    batch = Asked.of(mask)
    return objective(student, teacher, batch, list(objective.counts(batch)))


def built(term: Term, own: Shape = OWN, other: Shape = OTHER) -> Objective:
    torch.manual_seed(0)
    return Objective.of([term], shapes=(own, other))


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def heads_of(x: Array, heads: int) -> Array:
    """[L, D] to [H, L, K]"""
    return x.reshape(len(x), heads, -1).transpose(1, 0, 2)


def kl(p: Array, q: Array) -> Array:
    return np.asarray((p * np.log(p / q)).sum(-1))


def row_by_row(term: Any, objective: Objective, student: Seen, teacher: Seen, lengths: list[int]) -> float:
    """The same value without padding, one text after another, in float64."""
    total = count = 0.0
    (part,) = objective.parts
    for row, n in enumerate(lengths):
        for i, (own, other) in enumerate(part.pairs):  # type: ignore[arg-type]
            match term:
                case HiddenTerm() | ClsTerm():
                    s = student.hidden[own][row, :n].double().numpy()
                    t = teacher.hidden[other][row, :n].double().numpy()
                    projection = part.projections[i]  # type: ignore[index]
                    if hasattr(projection, "weight"):
                        s = s @ projection.weight.detach().double().numpy().T + projection.bias.detach().numpy()
                    if isinstance(term, ClsTerm):
                        s, t = s[0] / np.linalg.norm(s[0]), t[0] / np.linalg.norm(t[0])
                        found, weight = ((s - t) ** 2).sum(), 1.0
                    elif term.distance == "mse":
                        found, weight = ((s - t) ** 2).mean(-1).sum(), n
                    elif term.distance == "cosine":
                        cos = (s * t).sum(-1) / np.linalg.norm(s, axis=-1) / np.linalg.norm(t, axis=-1)
                        found, weight = (1 - cos).sum(), n
                    else:
                        s, t = s - s.mean(0), t - t.mean(0)
                        cross = np.linalg.norm(t.T @ s) ** 2
                        cka = cross / (np.linalg.norm(s.T @ s) * np.linalg.norm(t.T @ t)) if n > 1 else 1.0
                        found, weight = n * (1 - cka), n
                case _:
                    heads = getattr(term, "heads", None) or 2
                    q, k, v = (x[row, :n].double().numpy() for x in student.qkv[own - 1])
                    tq, tk, tv = (x[row, :n].double().numpy() for x in teacher.qkv[other - 1])

                    def scores(a: Array, b: Array, heads: int = heads) -> Array:
                        a, b = heads_of(a, heads), heads_of(b, heads)
                        return a @ b.transpose(0, 2, 1) / np.sqrt(a.shape[-1])

                    if isinstance(term, AttentionTerm) and term.compared == "scores":
                        found = ((scores(q, k) - scores(tq, tk)) ** 2).mean((0, 2)).sum()
                    elif isinstance(term, AttentionTerm):
                        found = kl(softmax(scores(tq, tk)), softmax(scores(q, k))).mean(0).sum()
                    else:
                        sides = {"queries": (q, tq), "keys": (k, tk), "values": (v, tv)}
                        each = [
                            kl(softmax(scores(t, t)), softmax(scores(s, s))).mean(0).sum()
                            for s, t in (sides[name] for name in term.of)
                        ]
                        found = np.mean(each)
                    weight = n
            total += found / len(part.pairs)  # type: ignore[arg-type]
            count += weight / len(part.pairs)  # type: ignore[arg-type]
    return total / count


@each_term
def test_each_is_what_numpy_says(term: Term) -> None:
    lengths = [5, 1, 3]
    objective, student, teacher = built(term), seen(OWN, 3, 5), seen(OTHER, 3, 5, seed=1)
    value = mean_of(objective, student, teacher, lengths_to_mask(lengths, 5)).item()
    assert value == pytest.approx(row_by_row(term, objective, student, teacher, lengths), rel=1e-5, abs=1e-6)


@each_term
@settings(max_examples=10, deadline=None)
@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4), more=st.integers(0, 3), seed=st.integers(0, 99))
def test_padding_changes_nothing(term: Term, lengths: list[int], more: int, seed: int) -> None:
    objective, width = built(term), max(lengths)
    student, teacher = seen(OWN, len(lengths), width, seed), seen(OTHER, len(lengths), width, seed + 1)
    expected = mean_of(objective, student, teacher, lengths_to_mask(lengths, width))

    def padded(found: Seen) -> Seen:
        def wider(x: Tensor) -> Tensor:
            wide = torch.nn.functional.pad(x, (0, 0, 0, more), value=7.0)
            return wide.masked_fill(~lengths_to_mask(lengths, width + more)[..., None], 1e3)

        return Seen(found.units, tuple(map(wider, found.hidden)), tuple(map(wider, found.qkv)))

    found = mean_of(objective, padded(student), padded(teacher), lengths_to_mask(lengths, width + more))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def with_gradients(found: Seen) -> Seen:
    return Seen(
        found.units,
        tuple(x.detach().clone().requires_grad_() for x in found.hidden),
        tuple(x.detach().clone().requires_grad_() for x in found.qkv),
    )


def rows_of(found: Seen, rows: slice) -> Seen:
    return Seen(found.units[rows], tuple(x[rows] for x in found.hidden), tuple(x[:, rows] for x in found.qkv))


@each_term
def test_two_halves_have_the_gradient_of_the_whole(term: Term) -> None:
    objective, mask = built(term), lengths_to_mask([5, 2, 4, 1], 5)
    student, teacher = with_gradients(seen(OWN, 4, 5)), seen(OTHER, 4, 5, seed=1)
    leaves = [*student.hidden, *student.qkv]
    mean_of(objective, student, teacher, mask).backward()
    whole = [None if x.grad is None else x.grad.clone() for x in leaves]
    for x in leaves:
        x.grad = None
    totals = list(objective.counts(Asked.of(mask)))
    for rows in (slice(0, 2), slice(2, 4)):
        batch = Asked.of(mask[rows])
        objective(rows_of(student, rows), rows_of(teacher, rows), batch, totals).backward()
    assert any(g is not None and g.abs().sum() > 0 for g in whole)
    for x, expected in zip(leaves, whole, strict=True):
        torch.testing.assert_close(x.grad, expected, rtol=1e-4, atol=1e-6)


@each_term
def test_a_student_that_is_its_teacher_is_at_the_minimum(term: Term) -> None:
    mask = lengths_to_mask([5, 1, 3], 5)
    teacher = seen(OTHER, 3, 5)
    spread: Any = replace(term, layers=((1, 1), (4, 4)))  # type: ignore[call-arg]
    objective = built(spread, OTHER)
    student = with_gradients(teacher)
    value = mean_of(objective, student, teacher, mask)
    assert value.item() == pytest.approx(0, abs=1e-5)
    value.backward()
    for x in (*student.hidden, *student.qkv):
        assert x.grad is None or x.grad.abs().max() < 1e-4
    other = seen(OTHER, 3, 5, seed=3)
    assert mean_of(objective, other, teacher, mask).item() > 0.01


@each_term
@pytest.mark.parametrize("kind", ["bf16", "zeros", "large"])
def test_gradients_are_finite(term: Term, kind: str) -> None:
    objective, mask = built(term), lengths_to_mask([4, 1], 4)
    change = {"bf16": lambda x: x.bfloat16().float(), "zeros": lambda x: x * 0, "large": lambda x: x * 1e4}[kind]

    def changed(found: Seen) -> Seen:
        return Seen(found.units, tuple(map(change, found.hidden)), tuple(map(change, found.qkv)))

    student = with_gradients(changed(seen(OWN, 2, 4)))
    value = mean_of(objective, student, changed(seen(OTHER, 2, 4, seed=1)), mask)
    value.backward()
    assert torch.isfinite(value)
    for x in (*student.hidden, *student.qkv):
        assert x.grad is None or torch.isfinite(x.grad).all()


def test_layers_spread_evenly_over_the_teachers() -> None:
    assert pairs_of((), 4, 12, 0, 4) == [(0, 0), (1, 3), (2, 6), (3, 9), (4, 12)]  # TinyBERT's g(m) = 3m
    assert pairs_of((), 6, 12, 1, 5) == [(1, 2), (2, 4), (3, 6), (4, 8), (5, 10)]  # PKD-skip
    assert pairs_of([(-1, -1), (1, 2)], 2, 6, 1, 2) == [(2, 6), (1, 2)]


@pytest.mark.parametrize(
    ("term", "own", "message"),
    [
        (HiddenTerm("hidden", layers=((3, 1),)), OWN, r"layers has \[3, 1\], but the student has 2 layers and the"),
        (HiddenTerm("hidden", layers=((1, 5),)), OWN, r"the teacher 4; .* the second the teacher's, to 4"),
        (AttentionTerm("attention", layers=((0, 0),)), OWN, "from 1 to 2"),
        (ClsTerm("cls"), replace(OWN, layers=1), r"a student of 1 layers has none to compare; give layers"),
        (AttentionTerm("attention"), replace(OWN, heads=4), "the student has 4 and the teacher 2; .* 'relations'"),
        (RelationsTerm("relations", heads=3), OWN, "into 3 heads, but the student's 8 dimensions are no multiple"),
        (RelationsTerm("relations", heads=8), OWN, "into 8 heads, but the teacher's 12 dimensions"),
    ],
)
def test_what_does_not_fit_is_refused(term: Term, own: Shape, message: str) -> None:
    with pytest.raises(UserError, match=message):
        built(term, own)


def test_projections_are_trained_and_only_where_sizes_differ() -> None:
    assert [tuple(p.shape) for p in built(HiddenTerm("hidden")).parameters()] == 3 * [(12, 8), (12,)]
    assert not list(built(HiddenTerm("hidden", distance="cka")).parameters())
    assert not list(built(HiddenTerm("hidden"), OTHER).parameters())


def test_points_are_joined_by_straight_lines() -> None:
    assert [at((), x) for x in (0.0, 1.0)] == [1.0, 1.0]
    assert [at(((0.5, 1.0), (0.5, 0.0)), x) for x in (0.0, 0.49, 0.5, 1.0)] == [1.0, 1.0, 0.0, 0.0]
    assert [at(((0.0, 0.0), (0.8, 1.0)), x) for x in (0.0, 0.4, 0.8, 1.0)] == [0.0, 0.5, 1.0, 1.0]
    assert at(((0.2, 3.0),), 0.0) == 3.0


def test_a_schedule_weighs_a_term_by_the_steps_taken() -> None:
    objective = built(HiddenTerm("hidden", 2.0, schedule=((0.0, 0.0), (1.0, 1.0))))
    plain = built(HiddenTerm("hidden"))
    student, teacher, mask = seen(OWN, 2, 3), seen(OTHER, 2, 3, seed=1), lengths_to_mask([3, 2], 3)
    expected = mean_of(plain, student, teacher, mask)
    for progress, factor in ((0.0, 0.0), (0.25, 0.5), (1.0, 2.0)):
        objective.step_to(progress)
        torch.testing.assert_close(mean_of(objective, student, teacher, mask), factor * expected)
