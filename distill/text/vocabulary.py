"""A tokenizer's vocabulary, trimmed to what texts need.

In a small model the embedding matrix is most of the file, so a vocabulary of the 8,000 pieces that the texts use
instead of 30,522 is the largest saving there is.
"""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from distill.errors import UserError
from distill.text.example import Example

BYTE = re.compile("<0x[0-9A-F]{2}>")


@dataclass(frozen=True)
class TrimmedVocabulary:
    """A tokenizer with fewer pieces, and where each piece stood before."""

    tokenizer: Tokenizer
    kept: NDArray[np.int64]
    """[V'], the old id of each new id: rows of the old embedding matrix, in order"""


def texts_of(examples: Iterable[Example]) -> Iterable[str]:
    """The texts of examples and the second texts of pairs; the words of a sentence with blanks between them."""
    for example in examples:
        yield " ".join(example.text) if isinstance(example.text, tuple) else example.text
        if example.pair is not None:
            yield example.pair


def trim_vocabulary(
    tokenizer: Tokenizer, examples: Sequence[Example], min_count: int = 1, roles: Collection[str] = ()
) -> TrimmedVocabulary:
    """Keeps special tokens, those that have ``roles`` in the model (such as its padding), pieces that occur at least
    ``min_count`` times in the texts, and what is needed to still write every word (single characters; for BPE all base
    symbols and the merges that lead to a kept piece).

    With ``min_count=1`` the texts themselves are cut into the same pieces as before. Raises UserError for a kind of
    tokenizer that cannot be trimmed.
    """
    data: dict[str, Any] = json.loads(tokenizer.to_str())
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    counts = _counts(tokenizer, examples)
    used = {token for token, token_id in vocabulary.items() if counts[token_id] >= min_count}
    keep = _special(data).union(roles, _with_what_writes(data["model"], set(vocabulary), used))
    order = sorted((token_id, token) for token, token_id in vocabulary.items() if token in keep)
    new = {token: index for index, (_, token) in enumerate(order)}
    _cut(data["model"], new)
    for token in data["added_tokens"]:
        token["id"] = new[token["content"]]
    if data.get("post_processor"):
        _renumber(data["post_processor"], new)
    if data.get("padding"):
        data["padding"]["pad_id"] = new[data["padding"]["pad_token"]]
    return TrimmedVocabulary(Tokenizer.from_str(json.dumps(data)), np.array([i for i, _ in order], dtype=np.int64))


def _counts(tokenizer: Tokenizer, examples: Sequence[Example]) -> Counter[int]:
    """How often each piece occurs in the texts."""
    plain = Tokenizer.from_str(tokenizer.to_str())
    plain.no_padding()
    plain.no_truncation()
    counts: Counter[int] = Counter()
    texts = list(texts_of(examples))
    for start in range(0, len(texts), 1024):
        for encoding in plain.encode_batch_fast(texts[start : start + 1024], add_special_tokens=False):
            counts.update(encoding.ids)
    if examples and isinstance(examples[0].text, tuple):  # pieces of words given one by one can differ
        for encoding in plain.encode_batch_fast(
            [list(e.text) for e in examples], is_pretokenized=True, add_special_tokens=False
        ):
            counts.update(encoding.ids)
    return counts


def _special(data: dict[str, Any]) -> set[str]:
    """Added tokens, that of what is unknown, and those around texts."""
    model = data["model"]
    found = {token["content"] for token in data["added_tokens"]} | _named(data.get("post_processor"))
    if model.get("unk_token"):
        found.add(model["unk_token"])
    if model.get("unk_id") is not None:
        found.add(model["vocab"][model["unk_id"]][0])
    return found


def _with_what_writes(model: dict[str, Any], vocabulary: set[str], used: set[str]) -> set[str]:
    """The used pieces with those that every word can still be written of."""
    kind = model.get("type")
    if kind == "WordPiece":
        prefix = model["continuing_subword_prefix"]
        return used | {t for t in vocabulary if len(t.removeprefix(prefix)) == 1}
    if kind == "Unigram":
        return used | {t for t in vocabulary if len(t) == 1 or (model.get("byte_fallback") and BYTE.fullmatch(t))}
    if kind != "BPE":
        raise UserError(
            f"a {kind} tokenizer cannot be trimmed (WordPiece, BPE and Unigram can); set vocabulary.trim=false"
        )
    parts: dict[str, set[str]] = {}
    for left, right, piece in _merges(model):  # several merges can lead to one piece
        parts.setdefault(piece, set()).update((left, right))
    found, waiting = set(used), list(used)
    while waiting:  # the pieces that a kept piece is merged from
        for part in parts.get(waiting.pop(), set()) - found:
            found.add(part)
            waiting.append(part)
    return found | {t for t in vocabulary if t not in parts}


def _cut(model: dict[str, Any], new: dict[str, int]) -> None:
    """Leaves a tokenizer's model the pieces of ``new``, with their ids, in place."""
    if model["type"] == "Unigram":
        pieces = [(piece, score) for piece, score in model["vocab"] if piece in new]
        if [piece for piece, _ in pieces] != list(new)[: len(pieces)]:
            raise UserError("this Unigram tokenizer has added tokens between its pieces; set vocabulary.trim=false")
        if model.get("unk_id") is not None:
            model["unk_id"] = new[model["vocab"][model["unk_id"]][0]]
        model["vocab"] = pieces
        return
    if model["type"] == "BPE":
        model["merges"] = [[left, right] for left, right, piece in _merges(model) if {left, right, piece} <= new.keys()]
    model["vocab"] = {token: new[token] for token in model["vocab"] if token in new}


def _merges(model: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Both sides of each merge of BPE, and the piece that it makes."""
    prefix = model.get("continuing_subword_prefix") or ""
    pairs = (merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"])
    return [(left, right, left + right.removeprefix(prefix)) for left, right in pairs]


def _named(processor: dict[str, Any] | None) -> set[str]:
    """The special tokens that a post-processor puts around texts."""
    if processor is None:
        return set()
    inner = set().union(*map(_named, processor.get("processors", ())))
    if processor["type"] == "TemplateProcessing":
        inner |= {t for token in processor["special_tokens"].values() for t in token["tokens"]}
    return inner | {processor[key][0] for key in ("sep", "cls") if key in processor}


def _renumber(processor: dict[str, Any], new: dict[str, int]) -> None:
    """Puts new ids into a post-processor, in place."""
    kind = processor["type"]
    if kind == "Sequence":
        for inner in processor["processors"]:
            _renumber(inner, new)
    elif kind == "TemplateProcessing":
        for token in processor["special_tokens"].values():
            token["ids"] = [new[t] for t in token["tokens"]]
    elif kind in ("RobertaProcessing", "BertProcessing"):
        for key in ("sep", "cls"):
            processor[key] = [processor[key][0], new[processor[key][0]]]
    elif kind != "ByteLevel":
        raise UserError(f"a tokenizer with a {kind} post-processor cannot be trimmed; set vocabulary.trim=false")
