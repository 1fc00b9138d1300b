"""Word embeddings of a teacher: those of each piece that a student has, too, and the same in fewer numbers.

Shape suffixes: V vocabulary of the student, D size of the teacher's embeddings, E of the student's, R their
rank.
"""

import json

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel
from torch import Tensor, nn
from transformers import PreTrainedModel

from distill.config import TransformerStudent
from distill.errors import UserError
from distill.models.loading import LoadedModel, special_tokens_of
from distill.models.transformer.blocks import Widening


def plain_embeddings(model: PreTrainedModel) -> nn.Embedding:
    """The word embeddings. Raises UserError where they are no plain table, as in I-BERT."""
    found = model.get_input_embeddings()
    if not isinstance(found, nn.Embedding):
        raise UserError(
            f"the word embeddings of {type(model).__name__} are no plain table ({type(found).__name__}), so that its "
            "vocabulary cannot be trimmed; set student.vocabulary.trim=false"
        )
    return found


def teacher_embeddings(teacher: LoadedModel | None, tokenizer: Tokenizer, special_tokens: dict[str, str]) -> Tensor:
    """[V, D], the teacher's word embedding of each piece of ``tokenizer``, NaN where the teacher has no such piece.

    Raises UserError where there is no teacher to take them from.
    """
    if teacher is None:
        raise UserError("student.embeddings=teacher takes word embeddings, but the teacher is no model; choose random")
    old: Tensor = teacher.model.get_input_embeddings().weight.detach()
    ids = torch.from_numpy(teacher_ids(teacher, tokenizer, special_tokens))
    return old[ids.clamp(min=0)].masked_fill(ids.unsqueeze(1) < 0, torch.nan)


@torch.no_grad()
def start_embeddings(model: PreTrainedModel, embeddings_VD: Tensor) -> None:
    """Word embeddings of an in-repo encoder from a wider table, by truncated singular value decomposition: the closest
    of that rank (Eckart and Young 1936). Rows of NaN keep their random weights.

    Where the encoder's own table is factorised and its hidden size D, the matrix that widens it is the other factor.
    """
    weight_VE, encoder = plain_embeddings(model).weight, model.get_submodule("encoder.embeddings")
    known_V = ~embeddings_VD.isnan().any(1)
    _, _, axes_RD = torch.linalg.svd(embeddings_VD[known_V].float(), full_matrices=False)
    axes_RD = axes_RD[: weight_VE.shape[1]]
    weight_VE[known_V, : len(axes_RD)] = embeddings_VD[known_V].float() @ axes_RD.T
    widen = encoder.get_submodule("widen")
    if isinstance(widen, Widening) and widen.out_features == embeddings_VD.shape[1]:
        widen.weight[:, : len(axes_RD)] = axes_RD.T


def check_embeddings(config: TransformerStudent, teacher: PreTrainedModel) -> None:
    """Raises UserError where the teacher's word embeddings are narrower than the student's, before it is trained."""
    size = config.architecture.embedding_size or config.architecture.hidden_size
    width = plain_embeddings(teacher).embedding_dim if config.embeddings == "teacher" else size
    if width < size:
        raise UserError(
            f"student.embeddings=teacher reduces word embeddings to {size} numbers, but those of this teacher have "
            f"{width}; set student.architecture.embedding_size={width}, or student.embeddings=random"
        )


def teacher_ids(teacher: LoadedModel, tokenizer: Tokenizer, special_tokens: dict[str, str]) -> NDArray[np.int64]:
    """[V], the teacher's id of each piece of ``tokenizer``, -1 where the teacher has no such piece."""
    theirs = ids_by_piece(teacher.tokenizer, teacher.special_tokens)
    own = ids_by_piece(tokenizer, special_tokens)
    ids = np.full(max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1, -1, dtype=np.int64)
    for piece, index in own.items():
        ids[index] = theirs.get(piece, -1)
    return ids


def ids_by_piece(tokenizer: Tokenizer, special_tokens: dict[str, str]) -> dict[str, int]:
    """The id of each piece, written alike for all kinds of tokenizers, with ``▁`` where a word begins; of special
    tokens by their roles."""
    settings = json.loads(tokenizer.to_str())
    bytewise = '"ByteLevel"' in json.dumps([settings["pre_tokenizer"], settings["decoder"]])
    inner = settings["model"].get("continuing_subword_prefix") if settings["model"]["type"] == "WordPiece" else None
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    roles = special_tokens or special_tokens_of(tokenizer)
    found = {role: vocabulary[token] for role, token in roles.items() if token in vocabulary}
    for piece in vocabulary.keys() - set(roles.values()):
        index = vocabulary[piece]
        if bytewise:
            text = ByteLevel().decode([piece])
            if "\ufffd" not in text:  # else a part of a character
                piece = f"▁{text[1:]}" if text.startswith(" ") else text
        elif inner is not None:
            piece = piece.removeprefix(inner) if piece.startswith(inner) else f"▁{piece}"
        found[piece] = index
    return found
