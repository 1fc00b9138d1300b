"""Text to ids with the ``tokenizers`` library: pairs, truncation, windows and words."""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Encoding, Tokenizer

from distill.errors import UserError
from distill.text.encoding import EMPTY, PAD_TOKENS, Encoded, Ids
from distill.text.example import Example
from distill.text.vocabulary import texts_of

DECODER_START = "decoder_start_token"
"""The role of the token that a decoder starts with, where that is none of those around a text."""

TOKENIZER_FILE = "tokenizer.json"
SETTINGS_FILE = "reading.json"
BETWEEN_TEXTS = "<|endoftext|>"
"""What stands between texts in the corpora that models of GPT's kind learn from; those that chat end a turn with
another."""
END_TOKENS = ("</s>", "[SEP]")
"""What the token behind a text is usually called elsewhere."""

FAILS = "the tokenizer fails on a text"
MOST_UNKNOWN = 0.2
"""A tokenizer that does not know a larger share of the pieces of its texts is not for these texts."""
LOOKED_AT = 1000
"""Texts that are looked at for pieces that it does not know."""

Piece = tuple[int, int, int]


@contextmanager
def as_user_error(what: str) -> Iterator[None]:
    """What the tokenizers library raises, as a UserError: bare Exceptions, and panics of Rust, which are not even
    that."""
    try:
        yield
    except (UserError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        raise UserError(f"{what}: {error}") from error


class Reading:
    """What a model reads with: a tokenizer, its special tokens and a maximum length.

    The same object serves training, export and inference; teacher and student each have one.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        max_length: int,
        pad_id: int | None = None,
        special_tokens: Mapping[str, str] | None = None,
    ) -> None:
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
        self._turn = threading.Lock()
        self.special_count = special
        """Special tokens that stand around a pair."""
        self.special_tokens = dict(special_tokens or {})
        """Role, such as ``cls_token``, to token; empty where the tokenizer states none."""
        self.max_length = max_length
        """In tokens, special tokens counted."""
        if pad_id is None and "pad_token" in self.special_tokens:
            pad_id = self.tokenizer.token_to_id(self.special_tokens["pad_token"])
        if pad_id is None:
            known = [self.tokenizer.token_to_id(token) for token in PAD_TOKENS]
            found = next((token_id for token_id in known if token_id is not None), 0)
            pad_id = int(padding["pad_id"]) if padding else found
        self.pad_id = pad_id

    @classmethod
    def from_file(
        cls,
        path: Path,
        max_length: int,
        pad_id: int | None = None,
        special_tokens: Mapping[str, str] | None = None,
    ) -> "Reading":
        """Reads a ``tokenizer.json``."""
        with as_user_error(f"{path} is not a tokenizer that the tokenizers library reads"):
            return cls(Tokenizer.from_file(str(path)), max_length, pad_id, special_tokens)

    @classmethod
    def load(cls, folder: Path) -> "Reading":
        """Reads what :meth:`save` wrote. Raises UserError where a file of it is missing or damaged."""
        path = folder / SETTINGS_FILE
        try:
            settings = json.loads(path.read_text(encoding="utf-8"))
            values = int(settings["max_length"]), int(settings["pad_id"]), dict(settings["special_tokens"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} does not say how texts are read ({error!r}); make {folder} again") from error
        return cls.from_file(folder / TOKENIZER_FILE, *values)

    def save(self, folder: Path) -> None:
        """Writes ``tokenizer.json`` and ``reading.json`` into a folder, which is made where there is none."""
        folder.mkdir(parents=True, exist_ok=True)
        self.save_tokenizer(folder / TOKENIZER_FILE)
        (folder / SETTINGS_FILE).write_text(json.dumps(self._settings, indent=1) + "\n", encoding="utf-8")

    def save_tokenizer(self, path: Path) -> None:
        """Writes ``tokenizer.json`` alone, without padding, truncating at the maximum length."""
        self.tokenizer.save(str(path))

    @property
    def _settings(self) -> dict[str, Any]:
        """What a ``tokenizer.json`` does not say."""
        return {"max_length": self.max_length, "pad_id": self.pad_id, "special_tokens": self.special_tokens}

    @cached_property
    def identity(self) -> str:
        """A digest (hexadecimal) of all that decides how a text is read: equal for readings that are equal."""
        said = json.dumps([json.loads(self.tokenizer.to_str()), self._settings], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()

    @property
    def vocabulary_size(self) -> int:
        """Number of ids, added tokens included: one more than the largest id."""
        return max(self.tokenizer.get_vocab(with_added_tokens=True).values()) + 1

    def pair_opening(self) -> int | None:
        """How many special tokens, such as ``[CLS]``, stand before the first text of a pair and not before the second.

        None where token types do not tell the texts apart: 0 up to the end of the first, 1 from the second on.
        """
        whole = Tokenizer.from_str(self.tokenizer.to_str())
        whole.no_truncation()
        pair = whole.encode("a", "a")
        types, sequences = pair.type_ids, pair.sequence_ids
        if types != sorted(types) or set(types) != {0, 1} or not {0, 1} <= set(sequences):
            return None
        first, second = sequences.index(0), sequences.index(1)
        if types[first] == 1 or types[second] == 0:
            return None
        return max(0, first - (second - types.index(1)))

    def encode(self, examples: Sequence[Example], stride: int | None = None) -> list[Encoded]:
        """Ids of each example. Empty texts are encoded as the special tokens alone (at least one id, the padding's).

        A text longer than the maximum is cut; with a ``stride`` it is read in windows that share that many tokens. Of a
        pair that is the second text, and the first one takes half of the room at most.
        """
        words = bool(examples) and isinstance(examples[0].text, tuple)
        encodings: list[Encoding] = []
        if stride is not None and any(e.pair is not None for e in examples):
            paired = iter(self._encode_pairs([e for e in examples if e.pair is not None], stride))
            singles: list[Any] = [e.text for e in examples if e.pair is None]
            single = iter(self._encode(singles, stride) if singles else [])
            encodings = [next(single if e.pair is None else paired) for e in examples]
        else:
            inputs: list[Any] = [
                list(e.text) if isinstance(e.text, tuple) else (e.text if e.pair is None else (e.text, e.pair))
                for e in examples
            ]
            encodings = self._encode(inputs, stride, words)
        encoded = []
        for example, encoding in zip(examples, encodings, strict=True):
            rows = [encoding, *encoding.overflowing] if stride is not None else [encoding]
            found = [_pieces(row.word_ids) for row in rows] if words else []
            cut = stride is None and bool(encoding.overflowing)
            encoded.append(self._joined(rows, found, len(example.text) if words else 0, cut))
        return encoded

    @property
    def boundary(self) -> int:
        """The id that stands before and behind a whole text in language modelling. Raises UserError where the tokenizer
        has no token for it."""
        stated = (self.special_tokens.get(role, "") for role in ("eos_token", "sep_token", "bos_token"))
        for token in (BETWEEN_TEXTS, *stated, *END_TOKENS):
            found = self.tokenizer.token_to_id(token)
            if found is not None:
                return int(found)
        raise UserError(
            "the tokenizer names no end-of-text token, which language modelling needs; state eos_token in its "
            "tokenizer_config.json"
        )

    def encode_whole(self, examples: Sequence[Example], shared: int = 1) -> list[Encoded]:
        """Ids of whole texts between two :attr:`boundary` tokens, without other special tokens. A text longer than the
        maximum is read in windows; neighbours share so many tokens, at least the one that predicts the next."""
        if not 1 <= shared < self.max_length:
            raise UserError(
                f"windows of {self.max_length} tokens cannot share {shared}; give data.stride from 1 to "
                f"{self.max_length - 1}"
            )
        encoded = []
        for one in self._whole([str(e.text) for e in examples]):
            ids = np.array([self.boundary, *one.ids, self.boundary], dtype=np.int64)
            starts = range(0, max(1, len(ids) - shared), self.max_length - shared)
            rows = [ids[start : start + self.max_length] for start in starts]
            made = [Encoded(row, np.zeros_like(row), EMPTY, False) for row in rows]
            encoded.append(replace(made[0], more=tuple(made[1:])))
        return encoded

    def encode_targets(self, texts: Sequence[str]) -> list[Ids]:
        """Ids of texts that are to be written, from the token that the decoder starts with to the end; what is longer
        than the maximum lacks the tokens before the end."""
        with self._cut_at(self.max_length):
            found = [one.ids for one in self.tokenizer.encode_batch(list(texts))]
        start = self.tokenizer.token_to_id(self.special_tokens.get(DECODER_START, ""))
        whole = [ids if start is None or ids[:1] == [start] else [start, *ids] for ids in found]
        most = self.max_length - 1
        return [np.array([*ids[:most], *ids[most:][-1:]], dtype=np.int64) for ids in whole]

    def prompt(self, text: str) -> Ids:
        """Ids [L] of the beginning of a text, to be written on: :attr:`boundary` and its tokens, however many."""
        (whole,) = self._whole([text])
        return np.array([self.boundary, *whole.ids], dtype=np.int64)

    def _whole(self, texts: list[str]) -> list[Encoding]:
        """Without special tokens, and not cut."""
        with self._cut_at(None):
            found: list[Encoding] = self.tokenizer.encode_batch(texts, add_special_tokens=False)
        return found

    @contextmanager
    def _cut_at(self, length: int | None, stride: int = 0, strategy: str = "longest_first") -> Iterator[None]:
        """Within it texts are cut at so many tokens; None: not at all. One thread at a time, as all share a tokenizer
        that keeps this as a setting."""
        with self._turn, as_user_error(FAILS):
            if length is None:
                self.tokenizer.no_truncation()
            else:
                self.tokenizer.enable_truncation(length, stride=stride, strategy=strategy)
            try:
                yield
            finally:
                self.tokenizer.enable_truncation(self.max_length)

    def encode_passages(
        self, examples: Sequence[Example], words: Sequence[Sequence[tuple[int, int]]], stride: int
    ) -> list[Encoded]:
        """Pairs, the second text in windows; ``words`` are the characters [start, end) of each word of it."""
        encoded = []
        for own, encoding in zip(words, self._encode_pairs(examples, stride), strict=True):
            rows = [encoding, *encoding.overflowing]
            found = [_pieces(_words_at(row, own)) for row in rows]
            encoded.append(self._joined(rows, found, len(own), False))
        return encoded

    def _encode(
        self, inputs: list[Any], stride: int | None, words: bool = False, strategy: str = "longest_first"
    ) -> list[Encoding]:
        room = self.max_length - self.special_count
        if stride is not None and stride >= room:
            raise UserError(f"windows of {self.max_length} tokens cannot share {stride}; give data.stride below {room}")
        with self._cut_at(self.max_length, stride or 0, strategy):
            encodings: list[Encoding] = self.tokenizer.encode_batch(inputs, is_pretokenized=words)
        return encodings

    def _encode_pairs(self, examples: Sequence[Example], stride: int) -> list[Encoding]:
        """With the first text cut to half of the room, so that some is left for windows of the second."""
        half = (self.max_length - self.special_count) // 2
        if stride >= half:
            raise UserError(
                f"windows of {self.max_length} tokens, of which a first text may take half, cannot share {stride}; "
                f"give data.stride below {half}"
            )
        firsts = [str(e.text) for e in examples]
        with self._cut_at(half):
            shortened = self.tokenizer.encode_batch(firsts, add_special_tokens=False)
        inputs = [
            (first[: encoding.offsets[-1][1]] if encoding.overflowing else first, e.pair or "")
            for first, encoding, e in zip(firsts, shortened, examples, strict=True)
        ]
        return self._encode(inputs, stride, strategy="only_second")

    def _joined(self, rows: Sequence[Encoding], found: Sequence[dict[int, Piece]], words: int, cut: bool) -> Encoded:
        """The windows of one example, and where each of its ``words`` stands."""
        fit = max((max(pieces, default=-1) for pieces in found), default=-1) + 1 if cut else words
        where = np.full((3, fit), -1, dtype=np.int64)
        where[0] = 0
        for word in range(fit if found else 0):
            first = min((i for i, pieces in enumerate(found) if word in pieces), default=0)
            opening = None if word not in found[first] else _piece_at(rows[first], found[first][word][0])
            rank = [
                (
                    _piece_at(row, pieces[word][0]) == opening,  # the word's first piece
                    pieces[word][2],
                    min(pieces[word][0], len(row.ids) - 1 - pieces[word][1]),
                )
                if word in pieces
                else (False, 0, 0)
                for pieces, row in zip(found, rows, strict=True)
            ]
            best = max(range(len(rows)), key=lambda i: rank[i])
            if word in found[best]:
                where[:, word] = best, *found[best][word][:2]
        made = [
            Encoded(
                np.asarray(row.ids or [self.pad_id], dtype=np.int64),
                np.asarray(row.type_ids or [0], dtype=np.int64),
                EMPTY,
                cut,
            )
            for row in rows
        ]
        return replace(made[0], word_rows=where[0], word_starts=where[1], word_ends=where[2], more=tuple(made[1:]))


def check_known(reading: Reading, examples: Sequence[Example], whose: str) -> None:
    """Raises UserError where many pieces of the texts are unknown to the tokenizer, or texts have no piece at all."""
    settings = json.loads(reading.tokenizer.to_str())["model"]
    unknown = reading.tokenizer.token_to_id(settings.get("unk_token") or reading.special_tokens.get("unk_token") or "")
    if settings.get("unk_id") is not None:
        unknown = settings["unk_id"]
    texts = [text for text in texts_of(examples[:: max(1, len(examples) // LOOKED_AT)]) if text.strip()]
    if not texts:
        return
    ids = [encoding.ids for encoding in reading.tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
    lost = sum(sum(piece == unknown for piece in own) if own else 1 for own in ids)
    share = lost / sum(max(1, len(own)) for own in ids)
    if share > MOST_UNKNOWN:
        raise UserError(
            f"the tokenizer of {whose} does not know {share:.0%} of the pieces of the texts: it is not the one that "
            "the model was trained with, or the texts are in another language or script; check its files and the texts"
        )


def with_leading_blanks(tokenizer: Tokenizer) -> Tokenizer:
    """For lists of words: a byte-level tokenizer that reads each word as it stands in a sentence, behind a blank."""
    settings = json.loads(tokenizer.to_str())
    pre = settings.get("pre_tokenizer") or {}
    for part in (pre, *pre.get("pretokenizers", ()), settings.get("post_processor") or {}):
        if "add_prefix_space" in part:
            part["add_prefix_space"] = True
    return Tokenizer.from_str(json.dumps(settings))


def _pieces(word_ids: Sequence[int | None]) -> dict[int, Piece]:
    """For each word of a window: positions of its first and last piece, and the number of its pieces."""
    found: dict[int, Piece] = {}
    for position, word in enumerate(word_ids):
        if word is not None:
            first, _, count = found.get(word, (position, position, 0))
            found[word] = first, position, count + 1
    return found


def _piece_at(row: Encoding, place: int) -> tuple[int, tuple[int, int]]:
    """Its id and its characters: a blank that a tokenizer puts before a word has those of the piece behind it."""
    return row.ids[place], row.offsets[place]


def _words_at(encoding: Encoding, words: Sequence[tuple[int, int]]) -> list[int | None]:
    """For each token, the first word of the second text that shares a character with it; None where there is none."""
    starts = np.array([start for start, _ in words], dtype=np.int64)
    ends = np.array([end for _, end in words], dtype=np.int64)
    found: list[int | None] = []
    for sequence, (start, end) in zip(encoding.sequence_ids, encoding.offsets, strict=True):
        inside = sequence == 1 and end > start
        word = int(np.searchsorted(ends, start, side="right")) if inside else len(words)  # the first that ends later
        found.append(word if word < len(words) and starts[word] < end else None)
    return found
