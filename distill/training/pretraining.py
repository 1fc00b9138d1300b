"""DistilBERT's method: masked language modelling with the teacher computed beside the student.

Masks are drawn anew in each epoch, so the teacher's answers cannot be stored beforehand. Both models answer at the
masked tokens alone: over a vocabulary of 30,000, logits at every token would cost more than the layers do.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from distill.config import PretrainingConfig, TrainConfig
from distill.data.batches import plan_epoch
from distill.data.masking import mask_tokens
from distill.errors import UserError
from distill.objectives import cosine_distance, cross_entropy, kl_divergence
from distill.progress import track
from distill.text import Encoded, Example, Reading, pad
from distill.training.loop import model_inputs, parameter_groups


@dataclass(frozen=True)
class MaskedScore:
    """How well masked tokens of held-out texts are found."""

    accuracy: float
    cross_entropy: float
    """Nats a masked token."""
    tokens: int
    """Masked tokens that were asked for."""


def answers_at_masked(model: Any, inputs: dict[str, Tensor], asked_BL: Tensor) -> tuple[Tensor, Tensor]:
    """(logits [1, M, V] at the M masked tokens, last hidden states [B, L, D]) of a masked language model.

    A hook on the encoder inside hands only the rows asked for to the head.
    """
    hidden: list[Tensor] = []

    def narrow(module: nn.Module, arguments: Any, output: Any) -> Any:
        hidden.append(output.last_hidden_state)
        output.last_hidden_state = output.last_hidden_state[asked_BL].unsqueeze(0)
        return output

    hook = model.base_model.register_forward_hook(narrow)
    try:
        logits = model(**model_inputs(model, inputs)).logits
    finally:
        hook.remove()
    return logits, hidden[0]


class Corpus:
    """Encoded texts that masked batches are drawn from."""

    def __init__(self, texts: Sequence[Example], encoder: Reading, masked: float) -> None:
        self.encoded: list[Encoded] = [e for e in encoder.encode(texts) if len(e.input_ids) > 0]
        self.pad_id, self.masked, self.vocabulary = encoder.pad_id, masked, encoder.vocabulary_size
        tokens = [encoder.tokenizer.token_to_id(name) for name in MASK_TOKENS]
        found = [token for token in tokens if token is not None]
        if not found:
            raise UserError(f"the tokenizer has no mask token ({', '.join(MASK_TOKENS)}); pretraining needs one")
        self.mask_id = found[0]
        special = encoder.tokenizer.encode("", "", add_special_tokens=True).ids
        self.special = np.unique([*special, self.pad_id, self.mask_id])

    @property
    def lengths(self) -> list[int]:
        """Tokens of each text."""
        return [len(e.input_ids) for e in self.encoded]

    def batch(self, rows: Sequence[int], random: np.random.Generator) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """(inputs [B, L] with masks in place, which tokens are asked for [B, L], the originals [B, L])"""
        inputs = pad([self.encoded[i] for i in rows], self.pad_id)
        original = inputs["input_ids"]
        maskable = (inputs["attention_mask"] == 1) & ~np.isin(original, self.special)
        masked = mask_tokens(original, maskable, self.masked, self.mask_id, self.vocabulary, random)
        tensors = {name: torch.from_numpy(array) for name, array in {**inputs, "input_ids": masked.input_ids}.items()}
        return tensors, torch.from_numpy(masked.asked), torch.from_numpy(original)


MASK_TOKENS = ("[MASK]", "<mask>")


def pretrain(
    student: nn.Module,
    teacher: nn.Module | None,
    corpus: Corpus,
    settings: PretrainingConfig,
    seed: int,
    accelerator: Accelerator,
    what: str,
) -> None:
    """Trains ``student`` in place on masked tokens: KL to the teacher, cross-entropy, and the cosine of hidden states.

    Without a teacher, cross-entropy alone, for the epochs and at the rate that a teacher learns its head with. The
    weights of the last step are kept, as DistilBERT keeps them. Raises UserError where the loss is not finite.
    """
    torch.manual_seed(seed)
    student.to(accelerator.device).train()
    if teacher is not None:
        teacher.to(accelerator.device).eval().requires_grad_(False)
    epochs, rate = settings.epochs, settings.learning_rate
    if teacher is None:
        epochs, rate = settings.teacher_epochs, settings.teacher_learning_rate
    per_epoch = math.ceil(len(corpus.encoded) / settings.batch_size)
    steps = max(1, round(per_epoch * epochs))
    usual = TrainConfig()
    optimizer = torch.optim.AdamW(parameter_groups(student, usual.weight_decay), lr=rate)
    warmup = max(1, round(steps * usual.warmup))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, max(0.0, (steps - step) / max(1, steps - warmup)))
    )
    plan: list[Any] = []
    for step in track(range(steps), what):
        if step % per_epoch == 0:
            plan = plan_epoch(corpus.lengths, settings.batch_size, seed, step // per_epoch)
        inputs, asked, original = corpus.batch(plan[step % per_epoch], np.random.default_rng([seed, step]))
        inputs = {name: tensor.to(accelerator.device) for name, tensor in inputs.items()}
        asked, original = asked.to(accelerator.device), original.to(accelerator.device)
        if not asked.any():
            continue
        with accelerator.autocast():
            logits, hidden = answers_at_masked(student, inputs, asked)
        everywhere = torch.ones(1, logits.shape[1], dtype=torch.bool, device=logits.device)
        loss, count = cross_entropy(logits, original[asked].unsqueeze(0), everywhere)
        total = loss / count * (settings.mlm if teacher is not None else 1.0)
        if teacher is not None:
            with torch.no_grad(), accelerator.autocast():
                answers, teacher_hidden = answers_at_masked(teacher, inputs, asked)
            loss, count = kl_divergence(logits, answers, everywhere, settings.temperature)
            total = total + settings.kl * loss / count
            loss, count = cosine_distance(hidden, teacher_hidden, inputs["attention_mask"].bool())
            total = total + settings.cosine * loss / count
        if not torch.isfinite(total):
            raise UserError(f"{what}: the loss is {total.item()} at step {step + 1}; lower its learning rate")
        accelerator.backward(total)
        nn.utils.clip_grad_norm_(student.parameters(), usual.clip)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
    student.eval()


@torch.no_grad()
def masked_score(model: nn.Module, corpus: Corpus, accelerator: Accelerator, batch_size: int = 32) -> MaskedScore:
    """Accuracy and cross-entropy at masked tokens; the same masks at every call."""
    model.to(accelerator.device).eval()
    right = tokens = 0
    nats = 0.0
    random = np.random.default_rng(0)
    for start in range(0, len(corpus.encoded), batch_size):
        rows = range(start, min(start + batch_size, len(corpus.encoded)))
        inputs, asked, original = corpus.batch(rows, random)
        if not asked.any():
            continue
        inputs = {name: tensor.to(accelerator.device) for name, tensor in inputs.items()}
        logits, _ = answers_at_masked(model, inputs, asked.to(accelerator.device))
        gold = original[asked].to(logits.device)
        right += int((logits[0].argmax(-1) == gold).sum())
        nats += float(nn.functional.cross_entropy(logits[0].float(), gold, reduction="sum"))
        tokens += len(gold)
    return MaskedScore(right / max(1, tokens), nats / max(1, tokens), tokens)
