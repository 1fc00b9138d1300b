"""Terms on what happens inside student and teacher: hidden states, attention, relations of queries, keys and values.

Everything is a sum over the tokens that are no padding, and is divided once by their number: neither padding nor the
way a step is cut changes a value. Shape suffixes: R rows, L tokens, D and E sizes of student and teacher, H heads,
K size of a head.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.config import Points
from distill.errors import UserError
from distill.objectives.logits import NOWHERE
from distill.objectives.terms import Asked, Loss, Seen, Term

PARTS = ("queries", "keys", "values")
"""In the order of :attr:`Seen.qkv`."""


def pairs_of(
    asked: Sequence[tuple[int, int]], student: int, teacher: int, first: int, last: int
) -> list[tuple[int, int]]:
    """Which layer of the student is compared with which of the teacher, of ``student`` and ``teacher`` layers.

    0 is the embeddings, -1 the last layer. Where nothing is ``asked``, the student's layers from ``first`` to ``last``
    spread evenly: m of M is compared with m · N / M of N, rounded (TinyBERT's g(m); Jiao et al. 2020, section 3.1).
    Raises UserError for layers that are not there, and where none is left.
    """
    if not asked:
        asked = [(m, round(m * teacher / student)) for m in range(first, last + 1)]
        if not asked:
            raise UserError(
                f"objective.terms: a student of {student} layers has none to compare; give layers, such as [[1, 1]]"
            )
    found = []
    for pair in asked:
        own, other = (i + n + 1 if i < 0 else i for i, n in zip(pair, (student, teacher), strict=True))
        if not (min(first, 1) <= own <= student and min(first, 1) <= other <= teacher):
            raise UserError(
                f"objective.terms: layers has {list(pair)}, but the student has {student} layers and the teacher "
                f"{teacher}; the first of two numbers is the student's, from {min(first, 1)} to {student}, the second "
                f"the teacher's, to {teacher}"
            )
        found.append((own, other))
    return found


class OnTokens(Term):
    """A loss of what layers say of each token, the mean over pairs of layers."""

    def __init__(
        self, weight: float, loss: Loss, needs: str, pairs: Sequence[tuple[int, int]], schedule: Points = ()
    ) -> None:
        super().__init__(weight, loss, frozenset({needs}), schedule)
        self.pairs = pairs

    def mask(self, batch: Asked) -> Tensor:
        """[R, L], the tokens that are no padding."""
        return batch.inputs["attention_mask"].bool()


class OnStates(OnTokens):
    """Hidden states of layers. Where sizes differ, each pair has a learnt projection of the student's, which is trained
    and checkpointed with it and dropped at export (FitNets; Romero et al. 2015, section 2.2)."""

    def __init__(
        self,
        weight: float,
        loss: Loss,
        pairs: Sequence[tuple[int, int]],
        sizes: tuple[int, int] | None = None,
        schedule: Points = (),
    ) -> None:
        """``sizes`` D and E; None for a loss that compares any two."""
        super().__init__(weight, loss, "hidden", pairs, schedule)
        own = [nn.Identity() if sizes is None or sizes[0] == sizes[1] else nn.Linear(*sizes) for _ in pairs]
        self.projections = nn.ModuleList(own)

    def forward(self, student: Seen, teacher: Seen | None, batch: Asked) -> Tensor:
        """The sum over tokens, the mean over pairs."""
        assert teacher is not None
        mask = self.mask(batch)
        found = [
            self.loss(projection(student.hidden[own]), teacher.hidden[other], mask)[0]
            for projection, (own, other) in zip(self.projections, self.pairs, strict=True)
        ]
        return torch.stack(found).mean()


class OnFirstTokens(OnStates):
    """The hidden states of each row's first token, which the answer is read from in BERT's kin."""

    def mask(self, batch: Asked) -> Tensor:
        """[R, 1]"""
        return batch.inputs["attention_mask"][:, :1].bool()

    def forward(self, student: Seen, teacher: Seen | None, batch: Asked) -> Tensor:
        """The sum over rows, the mean over pairs."""
        assert teacher is not None
        own, other = (Seen(seen.units, tuple(x[:, :1] for x in seen.hidden)) for seen in (student, teacher))
        return super().forward(own, other, batch)


class OnAttention(OnTokens):
    """Queries, keys and values of layers."""

    def __init__(self, weight: float, loss: Loss, pairs: Sequence[tuple[int, int]], schedule: Points = ()) -> None:
        super().__init__(weight, loss, "qkv", pairs, schedule)

    def forward(self, student: Seen, teacher: Seen | None, batch: Asked) -> Tensor:
        """The sum over tokens, the mean over pairs."""
        assert teacher is not None
        mask = self.mask(batch)
        found = [self.loss(student.qkv[own - 1], teacher.qkv[other - 1], mask)[0] for own, other in self.pairs]
        return torch.stack(found).mean()


def normalised_error(student: Tensor, teacher: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Patience: ‖s / ‖s‖ - t / ‖t‖‖² of vectors (PKD; Sun et al. 2019, equation 7), from 0 to 4.

    ``student`` and ``teacher`` [R, L, D], ``mask`` [R, L] of bool. Returns the sum over what is unmasked, and its
    number. When to use it: classification by a student made of the teacher's layers, which reads its answer from the
    first token.
    """
    own, other = (functional.normalize(x.float(), dim=-1, eps=1e-6) for x in (student, teacher))
    return (own - other).square().sum(-1).masked_fill(~mask, 0.0).sum(), mask.sum()


def cka_distance(student: Tensor, teacher: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """1 - CKA of a text's tokens: ‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖), X and Y centred, Frobenius norms (Kornblith et al. 2019,
    equation 4 with linear kernels).

    ``student`` [R, L, D] and ``teacher`` [R, L, E] of any sizes, without a projection: neither a rotation nor a scale
    changes it. ``mask`` [R, L] of bool. Within each row, so that a step may be cut anywhere; each token counts
    what its row is. Of a row of one token nothing is said: 0. When to use it: a student much narrower than its teacher,
    on texts that are not short; over few tokens all representations look alike.
    """
    there = mask.unsqueeze(-1).float()
    count = there.sum(1, keepdim=True)
    own, other = (x.float().masked_fill(~mask.unsqueeze(-1), 0.0) for x in (student, teacher))
    own, other = ((x - x.sum(1, keepdim=True) / count.clamp(min=1.0)) * there for x in (own, other))
    own_gram, other_gram = own @ own.transpose(1, 2), other @ other.transpose(1, 2)  # ‖YᵀX‖² = <XXᵀ, YYᵀ>
    both = (own_gram * other_gram).sum((1, 2))
    norms = (own_gram.square().sum((1, 2)) * other_gram.square().sum((1, 2)) + 1e-24).sqrt()
    several = count[:, 0, 0] > 1
    distance = (1.0 - both / norms).masked_fill(~several, 0.0)
    return (distance * count[:, 0, 0]).sum(), mask.sum()


def score_error(student: Tensor, teacher: Tensor, mask: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """Squared distance of attention scores before the softmax, q·k / √K, mean over heads and the tokens looked at
    (TinyBERT; Jiao et al. 2020, equation 7).

    ``student`` [3, R, L, D] and ``teacher`` [3, R, L, E], queries, keys and values, cut into as many ``heads`` both;
    ``mask`` [R, L] of bool. Returns the sum over the tokens that look, and their number. Of what a model adds to its
    scores or turns before them (relative or rotary positions) nothing is compared. When to use it: a student with its
    teacher's number of heads, beside :class:`OnStates`.
    """
    own, other = (_products(qkv[0], qkv[1], heads) for qkv in (student, teacher))
    keys = mask[:, None, None, :]
    error = (own - other).square().masked_fill(~keys, 0.0).sum(-1).mean(1) / mask.sum(-1, keepdim=True).clamp(min=1)
    return error.masked_fill(~mask, 0.0).sum(), mask.sum()


def weight_divergence(student: Tensor, teacher: Tensor, mask: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """KL(teacher's attention weights ‖ student's), mean over heads (MiniLM; Wang et al. 2020, section 3.1).

    Shapes, result and what is left out as for :func:`score_error`, in nats. When to use it: in the last layer, beside
    the values' relations.
    """
    return _divergence(_products(student[0], student[1], heads), _products(teacher[0], teacher[1], heads), mask)


def relation_divergence(
    student: Tensor, teacher: Tensor, mask: Tensor, heads: int, of: Sequence[str] = PARTS
) -> tuple[Tensor, Tensor]:
    """KL(softmax(TTᵀ / √K) ‖ softmax(SSᵀ / √K)) of queries with queries, keys with keys, values with values, mean over
    ``heads`` and these (MiniLMv2; Wang et al. 2021, section 3.1; of the values alone MiniLM's section 3.2).

    Shapes and result as for :func:`score_error`; all heads of a layer laid side by side are cut into ``heads`` parts,
    the same number for both, whatever their own: D and E must be multiples of it. When to use it: a student of another
    width, in pretraining and on texts of the task; one layer of the teacher's is enough.
    """
    found = []
    for part in (PARTS.index(name) for name in of):
        own, other = (_products(qkv[part], qkv[part], heads) for qkv in (student, teacher))
        found.append(_divergence(own, other, mask)[0])
    return torch.stack(found).mean(), mask.sum()


def _products(x_RLD: Tensor, y_RLD: Tensor, heads: int) -> Tensor:
    """[R, H, L, L], of each token with each, divided by the root of a head's size."""
    x_RHLK, y_RHLK = (x.float().view(*x.shape[:2], heads, -1).transpose(1, 2) for x in (x_RLD, y_RLD))
    return (x_RHLK / math.sqrt(x_RHLK.shape[-1])) @ y_RHLK.transpose(-1, -2)


def _divergence(own_RHLL: Tensor, other_RHLL: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Over the tokens looked at that are no padding."""
    padding = ~mask[:, None, None, :]
    own, other = (x.masked_fill(padding, NOWHERE).log_softmax(-1) for x in (own_RHLL, other_RHLL))
    found = (other.exp() * (other - own)).masked_fill(padding, 0.0).sum(-1).mean(1)
    return found.masked_fill(~mask, 0.0).sum(), mask.sum()
