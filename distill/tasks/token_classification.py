"""One tag for each word of a sentence."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.errors import UserError, shown
from distill.metrics import Metric, entity_f1, token_accuracy
from distill.metrics.tokens import entities
from distill.tasks.cells import cut_at_blanks, tags_of
from distill.tasks.task import NO_LABEL, Answer, Logits, Task, softmax
from distill.text import Encoded, Example, Label


@dataclass(frozen=True)
class Tagging:
    """The words of a sentence with their tags; the probability of a word without a prediction is None."""

    words: list[str]
    tags: list[str]
    probabilities: list[float | None]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    def as_line(self) -> str:
        """``word/tag`` for each word."""
        return " ".join(f"{word}/{tag}" for word, tag in zip(self.words, self.tags, strict=True))


CODE = """\
words = "the words of a sentence".split()
encoding = tokenizer.encode(words, is_pretokenized=True)
(logits,) = run(encoding, "logits")
for position, word in enumerate(encoding.word_ids):
    if word is not None and word not in encoding.word_ids[:position]:  # the first piece answers for its word
        print(words[word], bundle["task"]["labels"][logits[position].argmax()])
"""
"""Of the model card."""


class TokenClassification(Task):
    """Tags such as parts of speech or entities in BIO; the first piece of a word speaks for it, one unit a word.

    A word that truncation cut off, or that the tokenizer writes with no piece, gets the outside tag ``O`` (or the first
    tag where there is no ``O``).
    """

    name = "token-classification"
    words = True
    tagged = True
    head = "TokenClassification"
    hub_tag = "token-classification"
    agreement_is = "same tag as the teacher, word by word"
    floor_is = "TF-IDF and logistic regression"
    label_of = staticmethod(tags_of)

    @staticmethod
    def misfit(example: Example, text: str, label: str) -> str:
        """Other than one tag a word."""
        tags: Any = example.label
        if len(tags) == len(example.text):
            return ""
        return f"{len(example.text)} words in '{text}', but {len(tags)} tags in '{label}'; give one tag a word"

    def _metrics(self) -> tuple[Metric, ...]:
        if not any(label.startswith(("B-", "I-")) for label in self.labels):
            return (token_accuracy,)
        try:
            entities(self.labels)
        except ValueError as error:
            raise UserError(f"{error}; rename the tags with data.label_map") from error
        return (entity_f1, token_accuracy)

    @property
    def outside(self) -> str:
        """The tag of a word without a prediction."""
        return "O" if "O" in self.index else self.labels[0]

    def question(self, value: Any) -> Example:
        """A sentence (cut at blanks, as the data is), a list of words, or an object with either as ``words``,
        ``tokens`` (as data sets mostly call them) or ``text``."""
        if isinstance(value, dict):
            value = next((value[key] for key in ("words", "tokens", "text") if key in value), value)
        if isinstance(value, str):
            return Example(tuple(cut_at_blanks(value)))
        if isinstance(value, (list, tuple)) and all(isinstance(w, str) for w in value):
            return Example(tuple(value))
        raise UserError(f'expected a sentence, a list of words or {{"words": [...]}}, got {shown(value)}')

    def units(self, logits: Logits, encoded: Sequence[Encoded]) -> list[Logits]:
        """[R, L, C] to one [W, C] an example, at the first piece of each word; NaN where a word has no piece."""
        cut, row = [], 0
        for e in encoded:
            unit = logits[row + e.word_rows, np.maximum(e.word_starts, 0)].astype(np.float32)
            unit[e.word_starts < 0] = np.nan
            cut.append(unit)
            row += e.windows
        return cut

    def targets(self, example: Example, count: int | None = None) -> NDArray[np.int64]:
        """[W]"""
        size = len(example.text) if count is None else count
        if example.label is None:
            return np.full(size, NO_LABEL, dtype=np.int64)
        tags: Any = example.label
        return np.array([self.index[tag] for tag in tags[:size]], dtype=np.int64)

    def predictions(self, units: Sequence[Logits], examples: Sequence[Example]) -> list[list[str]]:
        """The tags of each sentence."""
        tagged = []
        for unit, example in zip(units, examples, strict=True):
            tags = [self.outside] * len(example.text)
            for i, row in enumerate(unit):
                if not np.isnan(row[0]):
                    tags[i] = self.labels[int(row.argmax())]
            tagged.append(tags)
        return tagged

    def gold(self, examples: Sequence[Example]) -> list[list[str]]:
        """The tags of each sentence."""
        labels: list[Any] = [e.label or () for e in examples]
        return [list(tags) for tags in labels]

    def answers(self, units: Sequence[Logits], examples: Sequence[Example]) -> list[Answer]:
        """One :class:`Tagging` a sentence."""
        answers: list[Answer] = []
        for unit, example, tags in zip(units, examples, self.predictions(units, examples), strict=True):
            best = softmax(unit).max(axis=-1) if len(unit) else np.zeros(0)
            known: list[float | None] = [None if np.isnan(p) else float(p) for p in best]
            answers.append(Tagging(list(example.text), tags, known + [None] * (len(tags) - len(known))))
        return answers

    def constant(self, gold: Sequence[list[str]]) -> list[list[str]]:
        """The most frequent tag at each word."""
        counts = Counter(tag for tags in gold for tag in tags)
        most = counts.most_common(1)[0][0] if counts else self.outside
        return [[most] * len(tags) for tags in gold]

    def counts(self, predictions: Sequence[list[str]], gold: Sequence[list[str]]) -> tuple[int, int]:
        """Words."""
        pairs = [(p, g) for ps, gs in zip(predictions, gold, strict=True) for p, g in zip(ps, gs, strict=True)]
        return sum(p == g for p, g in pairs), len(pairs)

    def labels_of(self, predictions: Sequence[list[str]]) -> list[Label]:
        """Tags of each sentence."""
        return [tuple(tags) for tags in predictions]

    def sample(self, paired: bool) -> str:
        """A sentence."""
        return "the words of a sentence"

    def plain_code(self, paired: bool) -> str:
        """Each word with its tag."""
        return CODE
