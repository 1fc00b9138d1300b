"""What a static student starts from: a vector and a weight for each piece of its vocabulary, as model2vec makes them
(Tulkens and van Dongen 2024).

Shape suffixes: V vocabulary, N pieces, L length, H size of the teacher's states, D size of a vector.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from distill.config import StaticArchitecture
from distill.models.answers import model_inputs
from distill.models.loading import LoadedModel, auto_class, label_settings, special_tokens_of
from distill.models.static import StaticConfig
from distill.models.students import pair_settings
from distill.models.word_embeddings import teacher_ids
from distill.tasks import Task
from distill.text import Encoded, Reading, rows_of

SMOOTHING = 1e-3
"""``a`` of Arora, Liang and Ma (2017)."""
BATCH = 256
"""Pieces that the teacher reads at once."""

Array = NDArray[np.float32]


@dataclass(frozen=True)
class TokenVectors:
    """By the ids of a static student's tokenizer."""

    vectors_VD: Array
    """NaN where a piece is to start from random numbers."""
    weights_V: Array
    """Of each vector in the mean of a text."""

    def save(self, folder: Path) -> None:
        """Writes two ``.npy`` files."""
        np.save(folder / "vectors.npy", self.vectors_VD)
        np.save(folder / "weights.npy", self.weights_V)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what :meth:`save` wrote."""
        return cls(*(np.load(folder / f"{name}.npy", allow_pickle=False) for name in ("vectors", "weights")))


def build_static(
    architecture: StaticArchitecture, start: TokenVectors, reading: Reading, task: Task, seed: int, paired: bool
) -> LoadedModel:
    """A static student with these vectors and weights; the seed fixes what starts from random numbers."""
    torch.manual_seed(seed)
    settings: Any = StaticConfig(
        vocab_size=reading.vocabulary_size,
        embedding_size=start.vectors_VD.shape[1],
        hidden_size=architecture.hidden_size,
        dropout=architecture.dropout,
        pad_token_id=reading.pad_id,
        **pair_settings(architecture, reading, paired),
        **label_settings(task),
    )
    model = auto_class(task).from_config(settings)
    with torch.no_grad():
        weight, vectors_VD = model.embeddings.weight, torch.from_numpy(start.vectors_VD)
        weight.copy_(torch.where(vectors_VD.isnan(), weight, vectors_VD))
        model.token_weights.copy_(torch.from_numpy(start.weights_V))
    return LoadedModel(model, reading.tokenizer, reading.special_tokens or special_tokens_of(reading.tokenizer))


def vectors_of_teacher(
    teacher: LoadedModel, start: Literal["layers", "embeddings"], size: int, reading: Reading
) -> Array:
    """[V, D], what the teacher says of each piece that ``reading`` and its own tokenizer share: each alone in its last
    layer, or its word embedding, as :func:`principal_components`."""
    ids_V = teacher_ids(teacher, reading.tokenizer, reading.special_tokens)
    shared_V = ids_V >= 0
    if start == "layers":
        found_NH = states_alone(teacher, ids_V[shared_V])
    else:
        found_NH = teacher.model.get_input_embeddings().weight.detach().cpu().numpy()[ids_V[shared_V]]
    reduced_ND = principal_components(found_NH, size)
    vectors_VD = np.full((len(ids_V), reduced_ND.shape[1]), np.nan, dtype=np.float32)
    vectors_VD[shared_V] = reduced_ND
    return vectors_VD


@torch.inference_mode()
def states_alone(teacher: LoadedModel, ids_N: NDArray[np.int64]) -> Array:
    """[N, H], the last hidden state of each of the teacher's pieces as the only one of a text, special tokens around
    it."""
    encoding = teacher.tokenizer.encode("a")
    own = [place for place, sequence in enumerate(encoding.sequence_ids) if sequence is not None] or [len(encoding.ids)]
    before, after = encoding.ids[: own[0]], encoding.ids[own[-1] + 1 :]
    # The bare model, without a head that may look for padding; an in-repo encoder stands bare in no class of its own.
    base: Any = teacher.model.base_model
    model: Any = base if isinstance(base, PreTrainedModel) else teacher.model
    states = []
    for start in range(0, len(ids_N), BATCH):
        rows = [[*before, int(i), *after] for i in ids_N[start : start + BATCH]]
        ids_NL = torch.tensor(rows, device=teacher.model.device)
        inputs = {"input_ids": ids_NL, "attention_mask": torch.ones_like(ids_NL)}
        inputs["token_type_ids"] = torch.zeros_like(ids_NL)
        output = model(**model_inputs(model, inputs), output_hidden_states=True)
        last = getattr(output, "last_hidden_state", None)
        last_NLH = output.hidden_states[-1] if last is None else last
        states.append(last_NLH[: len(rows), len(before)].float().cpu().numpy())  # behind them second texts, of none
    return np.concatenate(states)


def principal_components(x_NH: Array, size: int) -> Array:
    """[N, D], the rows less their mean, turned to their ``size`` principal components, and all scaled alike so that the
    mean square of a number is 1: what a step of training moves a vector by is then much or little for every teacher.

    D is less than ``size`` where H or N is.
    """
    centred_NH = x_NH.astype(np.float64) - x_NH.mean(0, dtype=np.float64)
    _, axes_HH = np.linalg.eigh(centred_NH.T @ centred_NH)
    kept_ND: NDArray[np.float64] = centred_NH @ axes_HH[:, ::-1][:, : min(size, len(x_NH))]
    scaled_ND: Array = (kept_ND / max(float(np.sqrt(np.square(kept_ND).mean())), 1e-12)).astype(np.float32)
    return scaled_ND


def frequency_weights(encoded: Iterable[Encoded], size: int) -> Array:
    """[V], smooth inverse frequency: ``a / (a + p)``, where ``p`` is a piece's share of all tokens of the texts (Arora,
    Liang and Ma 2017, equation 3). What stands in every text, as special tokens do, weighs next to nothing."""
    counts_V = np.zeros(size)
    for example in encoded:
        for row in rows_of([example]):
            counts_V += np.bincount(row.input_ids, minlength=size)
    weights_V: Array = (SMOOTHING / (SMOOTHING + counts_V / max(counts_V.sum(), 1))).astype(np.float32)
    return weights_V
