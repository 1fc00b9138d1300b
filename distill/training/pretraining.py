"""DistilBERT's method: masked language modelling with the teacher computed beside the student.

Masks are drawn anew in each epoch, so the teacher's answers cannot be stored beforehand. Both models answer at the
masked tokens alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from distill.config import PretrainingConfig, TrainConfig
from distill.errors import UserError
from distill.models.loading import mask_token_of
from distill.objectives import (
    Objective,
    OnHidden,
    OnLabels,
    OnTeacher,
    Term,
    cosine_distance,
    cross_entropy,
    kl_divergence,
)
from distill.text import Encoded, Example, Reading, pad
from distill.training.batching import Batch, each_tensor
from distill.training.devices import Machine
from distill.training.gathers import Positions
from distill.training.masking import mask_tokens
from distill.training.planning import Index
from distill.training.problem import Problem
from distill.training.signal import Beside, Signal, look

POINTS = 10
"""Points of the loss curve."""


@dataclass(frozen=True)
class MaskedScore:
    """How well masked tokens of held-out texts are found."""

    accuracy: float
    cross_entropy: float
    """Nats a masked token."""
    tokens: int
    """Masked tokens that were asked for."""


class Corpus:
    """Encoded texts that masked batches are drawn from."""

    def __init__(self, texts: Sequence[Example], encoder: Reading, masked: float) -> None:
        self.encoded: list[Encoded] = [e for e in encoder.encode(texts) if len(e.input_ids) > 0]
        self.pad_id, self.masked, self.vocabulary = encoder.pad_id, masked, encoder.vocabulary_size
        mask = mask_token_of(encoder.tokenizer, encoder.special_tokens)
        mask_id = encoder.tokenizer.token_to_id(mask or "")
        if mask_id is None:
            raise UserError("the tokenizer has no mask token; pretraining needs one")
        self.mask_id = mask_id
        special = encoder.tokenizer.encode("", "", add_special_tokens=True).ids
        self.special = np.unique([*special, self.pad_id, self.mask_id])
        self.lengths = [len(e.input_ids) for e in self.encoded]
        """Tokens of each text."""

    def sizes(self, rows: Index) -> tuple[list[int], list[int]]:
        """One window a text, and its tokens."""
        return [1] * len(rows), [self.lengths[i] for i in rows]

    def batches(
        self, rows: Index, parts: Sequence[Index], random: np.random.Generator, signal: Signal | None
    ) -> list[Batch]:
        """Masks drawn for all rows, then cut into parts."""
        inputs, asked, original = self.masked_rows(rows, random)
        made = []
        for part in parts:
            width = max(self.lengths[i] for i in rows[part])
            own = {name: tensor[part, :width] for name, tensor in inputs.items()}
            chosen = asked[part, :width]
            labels = original[part, :width][chosen].unsqueeze(0)
            made.append(Batch(own, Positions(chosen), torch.ones_like(labels, dtype=torch.bool), labels))
        return made

    def masked_rows(
        self, rows: Sequence[int] | Index, random: np.random.Generator
    ) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """(inputs [B, L] with masks in place, which tokens are asked for [B, L], the originals [B, L])"""
        inputs = pad([self.encoded[i] for i in rows], self.pad_id)
        original = inputs["input_ids"]
        maskable = (inputs["attention_mask"] == 1) & ~np.isin(original, self.special)
        masked = mask_tokens(original, maskable, self.masked, self.mask_id, self.vocabulary, random)
        tensors = {name: torch.from_numpy(array) for name, array in {**inputs, "input_ids": masked.input_ids}.items()}
        return tensors, torch.from_numpy(masked.asked), torch.from_numpy(original)


def masked_problem(
    student: nn.Module,
    teacher: nn.Module | None,
    corpus: Corpus,
    settings: PretrainingConfig,
    seed: int,
    machine: Machine,
) -> Problem:
    """Masked tokens: cross-entropy, KL to the teacher, and the cosine of the last hidden states.

    Without a teacher, cross-entropy alone, for the epochs and at the rate that a teacher learns its head with. The
    weights of the last step are kept, as DistilBERT keeps them.
    """
    epochs, rate, what = settings.epochs, settings.learning_rate, "pretraining of the student"
    key = "student.pretraining.learning_rate"
    terms: list[Term] = [OnLabels(settings.mlm, cross_entropy)]
    signal = None
    if teacher is None:
        epochs, rate = settings.teacher_epochs, settings.teacher_learning_rate
        terms, what = [OnLabels(1.0, cross_entropy)], "the teacher learns to find masked tokens"
        key = "student.pretraining.teacher_learning_rate"
    else:
        terms.append(OnTeacher(settings.kl, partial(kl_divergence, temperature=settings.temperature)))
        terms.append(OnHidden(settings.cosine, cosine_distance))
        signal = Beside(teacher, frozenset({"units", "hidden"}), machine.autocast)
    per_epoch = math.ceil(len(corpus.encoded) / settings.batch_size)
    steps = max(1, round(per_epoch * epochs))
    budget = TrainConfig(steps=steps, batch_size=settings.batch_size, evaluations=POINTS)
    return Problem(student, Objective(terms), signal, corpus, None, budget, rate, seed, what, key, clip_key=None)


@torch.no_grad()
def masked_score(model: nn.Module, corpus: Corpus, machine: Machine, batch_size: int = 32) -> MaskedScore:
    """Accuracy and cross-entropy at masked tokens; the same masks at every call."""
    device = machine.place
    model.to(device).eval()
    right = tokens = 0
    nats = 0.0
    random = np.random.default_rng(0)
    for start in range(0, len(corpus.encoded), batch_size):
        rows = np.arange(start, min(start + batch_size, len(corpus.encoded)))
        (batch,) = corpus.batches(rows, [np.arange(len(rows))], random, None)
        if not batch.labels.numel():
            continue
        batch = each_tensor(batch, lambda tensor: tensor.to(device))
        logits, gold = look(model, batch, frozenset({"units"})).units[0], batch.labels[0]
        right += int((logits.argmax(-1) == gold).sum())
        nats += float(nn.functional.cross_entropy(logits, gold, reduction="sum"))
        tokens += len(gold)
    return MaskedScore(right / max(1, tokens), nats / max(1, tokens), tokens)
