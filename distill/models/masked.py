"""Masked language models: what a checkpoint was pretrained as, and what it says of masked tokens.

Shape suffixes: R rows, L length, D hidden size, M chosen tokens, V vocabulary, W whole words in it, K kept words.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModelForMaskedLM

from distill.config import PretrainedTeacher
from distill.errors import UserError
from distill.models.answers import model_inputs
from distill.models.checkpoints import Checkpoint
from distill.models.longest import longest_input
from distill.models.teachers import new_in_training, unused
from distill.progress import track
from distill.runtime.forward import batches_by_tokens
from distill.text import Encoded, Example, Reading, in_parts, pad
from distill.text.whole_words import whole_words

TOKENS = 4096
"""Padded tokens of a batch of masked texts."""


def load_masked_lm(config: PretrainedTeacher, seed: int) -> tuple[Any, bool]:
    """A checkpoint as a masked language model, and whether it has a trained head for that.

    A head that is missing starts from random weights, which the seed fixes. Raises UserError where there is no such
    model of this kind.
    """
    checkpoint = Checkpoint.of(config.source, config.trust_remote_code)
    trained = has_head(checkpoint)
    torch.manual_seed(seed)
    model = checkpoint.weights(AutoModelForMaskedLM, unused if trained else new_in_training)
    model.config.reads_token_types = "token_type_ids" in checkpoint.tokenizer().inputs
    return model, trained


def has_head(checkpoint: Checkpoint) -> bool:
    """Whether it says that it was trained to find masked tokens."""
    return any(str(a).endswith("ForMaskedLM") for a in checkpoint.config().architectures or ())


def longest_masked(config: PretrainedTeacher) -> int:
    """Tokens of the longest text that a checkpoint reads as a masked language model. Raises UserError as
    :func:`load_masked_lm` does."""
    model, _ = load_masked_lm(config, 0)
    return longest_input(model, len(model.get_input_embeddings().weight))


def check_masked_lm(config: PretrainedTeacher, mask: str | None) -> None:
    """Raises UserError, before anything is trained, where a checkpoint cannot say which words are likely in a text."""
    checkpoint = Checkpoint.of(config.source, config.trust_remote_code)
    trained = has_head(checkpoint)
    if trained and mask is not None:
        return
    heads = ", ".join(checkpoint.config().architectures or ["no stated architecture"])
    lacks = "its tokenizer has no mask token" if trained else f"it has no head for that (it is {heads})"
    raise UserError(
        f"augment.steps has 'masked_lm', which asks {checkpoint} for likely words in the place of masked ones, but "
        f"{lacks}; choose augment=words, which reads word embeddings alone, or give a masked language model as it was "
        "pretrained, such as google-bert/bert-base-uncased"
    )


def answers_at(model: Any, inputs: dict[str, Tensor], chosen_RL: Tensor) -> tuple[Tensor, Tensor]:
    """(logits [1, M, V] at the M chosen tokens, last hidden states [R, L, D]) of a model with a head over a vocabulary.

    A hook on the encoder inside hands only the chosen tokens to the head: over a vocabulary of 30,000, logits at every
    token would cost more than the layers do.
    """
    hidden: list[Tensor] = []

    def narrow(module: nn.Module, arguments: Any, output: Any) -> Any:
        hidden.append(output.last_hidden_state)
        output.last_hidden_state = output.last_hidden_state[chosen_RL].unsqueeze(0)
        return output

    hook = model.base_model.register_forward_hook(narrow)
    try:
        logits = model(**model_inputs(model, inputs)).logits
    finally:
        hook.remove()
    return logits, hidden[0]


@torch.inference_mode()
def likely_words(
    model: Any,
    reading: Reading,
    blanks: Sequence[tuple[str, str, str]],
    count: int,
    autocast: Callable[[], AbstractContextManager[Any]],
    what: str,
) -> list[tuple[str, ...]]:
    """For each blank, (what stands before it, the word that stood there, what stands behind it), the ``count`` words
    that a masked language model finds likeliest in the place of its mask token, the likeliest first.

    Of the vocabulary's whole words of letters; the word that stood there, in any case, is none of them. Empty where the
    maximum length leaves the place out. ``model`` is in evaluation mode and runs where its weights are.
    """
    mask = reading.special_tokens["mask_token"]
    mask_id, words = reading.tokenizer.token_to_id(mask), whole_words(reading.tokenizer, model.config.vocab_size)
    names, ids_W = list(words.values()), torch.tensor(list(words), dtype=torch.long, device=model.device)
    same: dict[str, list[int]] = {}
    for column, name in enumerate(names):
        same.setdefault(name.casefold(), []).append(column)
    found: list[tuple[str, ...]] = []
    for part in in_parts(blanks):
        encoded = reading.encode([Example(f"{before}{mask}{behind}") for before, _, behind in part])
        seen = [np.flatnonzero(one.input_ids == mask_id) for one in encoded]
        nth = [before.count(mask) for before, _, _ in part]  # the texts may have masks already
        asked = [i for i in range(len(part)) if nth[i] < len(seen[i])]
        of_part: list[tuple[str, ...]] = [()] * len(part)
        batches = batches_by_tokens([1] * len(asked), [len(encoded[i].input_ids) for i in asked], TOKENS)
        for batch in track(batches, f"{what}, from {len(found) + 1:,} of {len(blanks):,} words"):
            rows = [asked[i] for i in batch]
            with autocast():
                logits_MV = logits_of_places(
                    model, [encoded[i] for i in rows], [int(seen[i][nth[i]]) for i in rows], reading.pad_id
                )
            scores_MW = logits_MV.float()[:, ids_W]
            for score_W, i in zip(scores_MW, rows, strict=True):
                score_W[same.get(part[i][1].casefold(), [])] = -torch.inf
            best = scores_MW.topk(min(count, len(names)), dim=-1)
            for i, values_K, columns_K in zip(rows, best.values.tolist(), best.indices.tolist(), strict=True):
                kept = zip(values_K, columns_K, strict=True)
                of_part[i] = tuple(names[column] for value, column in kept if value > -np.inf)
        found += of_part
    return found


def logits_of_places(model: Any, rows: Sequence[Encoded], places: Sequence[int], pad_id: int) -> Tensor:
    """[R, V], at one place of each row."""
    inputs = {name: torch.from_numpy(array).to(model.device) for name, array in pad(rows, pad_id).items()}
    chosen_RL = torch.zeros_like(inputs["input_ids"], dtype=torch.bool)
    chosen_RL[torch.arange(len(places)), torch.tensor(places)] = True
    return answers_at(model, inputs, chosen_RL)[0][0]
