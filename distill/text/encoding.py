"""Text to ids with the ``tokenizers`` library: pairs, truncation, words and padding."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from distill.errors import UserError
from distill.text.example import Example

PAD_TOKENS = ("[PAD]", "<pad>", "<|pad|>", "<|padding|>")

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Encoded:
    """The ids of one example, not padded. L is their number, W the number of words that fit."""

    input_ids: Ids
    """[L]"""
    token_type_ids: Ids
    """[L], 1 on the second text of a pair where the tokenizer says so"""
    word_starts: Ids
    """[W], the position of the first piece of each word; empty unless the example is made of words. A word that
    truncation cut off has none, and a word without any piece has -1."""
    truncated: bool
    """True where the text was longer than the maximum."""


class Encoder:
    """A tokenizer with a maximum length. The same object serves training, export and inference."""

    def __init__(self, tokenizer: Tokenizer, max_length: int, pad_id: int | None = None) -> None:
        # A copy: padding and truncation of the caller's tokenizer stay as they are.
        self.tokenizer = Tokenizer.from_str(tokenizer.to_str())
        padding = self.tokenizer.padding
        self.tokenizer.no_padding()  # a downloaded tokenizer.json may pad everything to 128
        special = self.tokenizer.num_special_tokens_to_add(True)
        if max_length <= special:
            raise UserError(
                f"max_length is {max_length}, but {special} special tokens alone take as much; set at "
                f"least {special + 1}"
            )
        self.tokenizer.enable_truncation(max_length)
        self.max_length = max_length
        if pad_id is None:
            known = [self.tokenizer.token_to_id(token) for token in PAD_TOKENS]
            found = next((token_id for token_id in known if token_id is not None), 0)
            pad_id = int(padding["pad_id"]) if padding else found
        self.pad_id = pad_id

    @classmethod
    def from_file(cls, path: Path, max_length: int, pad_id: int | None = None) -> "Encoder":
        """Reads a ``tokenizer.json``."""
        try:
            return cls(Tokenizer.from_file(str(path)), max_length, pad_id)
        except UserError:
            raise
        except Exception as error:  # tokenizers raises bare Exception
            raise UserError(f"{path} is not a tokenizer that the tokenizers library reads: {error}") from error

    @property
    def vocabulary_size(self) -> int:
        """Number of ids, added tokens included: one more than the largest id."""
        return max(self.tokenizer.get_vocab(with_added_tokens=True).values()) + 1

    def save(self, path: Path) -> None:
        """Writes ``tokenizer.json``, without padding, truncating at the maximum length."""
        self.tokenizer.save(str(path))

    def encode(self, examples: Sequence[Example]) -> list[Encoded]:
        """Ids of each example. Empty texts are encoded as the special tokens alone (at least one id, the padding's)."""
        words = bool(examples) and isinstance(examples[0].text, tuple)
        inputs = [
            list(e.text) if isinstance(e.text, tuple) else (e.text if e.pair is None else (e.text, e.pair))
            for e in examples
        ]
        encodings = self.tokenizer.encode_batch(inputs, is_pretokenized=words)
        encoded = []
        for example, encoding in zip(examples, encodings, strict=True):
            starts: list[int] = []
            if words:
                first: dict[int, int] = {}
                for position, word in enumerate(encoding.word_ids):
                    if word is not None:
                        first.setdefault(word, position)
                fit = max(first, default=-1) + 1 if encoding.overflowing else len(example.text)
                starts = [first.get(word, -1) for word in range(fit)]
            ids, types = encoding.ids or [self.pad_id], encoding.type_ids or [0]
            encoded.append(
                Encoded(
                    np.asarray(ids, dtype=np.int64),
                    np.asarray(types, dtype=np.int64),
                    np.asarray(starts, dtype=np.int64),
                    bool(encoding.overflowing),
                )
            )
        return encoded


def pad(batch: Sequence[Encoded], pad_id: int, length: int | None = None) -> dict[str, Ids]:
    """Pads on the right to the longest, or to ``length``.

    Returns ``input_ids``, ``attention_mask`` and ``token_type_ids``, each [B, L] of int64.
    """
    width = length or max(len(e.input_ids) for e in batch)
    ids = np.full((len(batch), width), pad_id, dtype=np.int64)
    mask = np.zeros((len(batch), width), dtype=np.int64)
    types = np.zeros((len(batch), width), dtype=np.int64)
    for row, e in enumerate(batch):
        n = len(e.input_ids)
        ids[row, :n], mask[row, :n], types[row, :n] = e.input_ids, 1, e.token_type_ids
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
