"""The part of a passage that answers a question."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.errors import UserError, shown
from distill.metrics import Metric, span_exact_match, span_f1
from distill.tasks.cells import spans_of
from distill.tasks.task import NO_LABEL, Answer, Logits, Task, softmax
from distill.text import Encoded, Example, Reading

WORD = re.compile(r"\w+|[^\w\s]")
"""The units of a passage: runs of letters and digits, and single marks."""
LONGEST = 30
"""Words of an answer, as in BERT's own code for SQuAD."""


@dataclass(frozen=True)
class SpanAnswer:
    """The answer as it stands in the passage; empty where the passage has no word."""

    answer: str
    start: int
    """The character where it starts."""
    probability: float
    """Of its first word as start times that of its last word as end."""

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    def as_line(self) -> str:
        """Answer and probability."""
        return f"{self.answer or '(no answer)'}\t{self.probability:.4f}"


def passage_words(passage: str) -> list[tuple[int, int]]:
    """First character of each word, and the one after its last."""
    return [match.span() for match in WORD.finditer(passage)]


CODE = """\
import re

question, passage = "a question", "the passage to find the answer in"
encoding = tokenizer.encode(question, passage)
start_logits, end_logits = run(encoding, "start_logits", "end_logits")

pieces = {}  # of each word of the passage: its tokens
words = [match.span() for match in re.finditer(r"\\w+|[^\\w\\s]", passage)]
for token, (start, end) in enumerate(encoding.offsets):
    if encoding.sequence_ids[token] == 1:
        for word in [word for word in words if word[1] > start and word[0] < end][:1]:
            pieces.setdefault(word, []).append(token)
seen = list(pieces)
_, first, last = max(  # the first piece of a word answers for a start, the last one for an end
    (start_logits[pieces[first][0]] + end_logits[pieces[last][-1]], first, last)
    for i, first in enumerate(seen)
    for last in seen[i : i + 30]
)
print(passage[first[0] : last[1]])
"""
"""Of the model card."""


class QuestionAnswering(Task):
    """Extractive: where in the passage the answer starts and ends. An example's units are the words of its passage.

    A model answers at each token; the first piece of a word speaks for a start there, the last one for an end. A unit's
    two numbers are the logits of start and end, so that a teacher and a student that cut words differently are
    compared word by word. A passage that is longer than the maximum is read in windows, and all of its words compete
    in one softmax (Clark and Gardner 2018, "shared normalization").
    """

    name = "question-answering"
    kind = "span"
    no_floor = "a linear model finds no spans"
    outputs = ("start_logits", "end_logits")
    read = ("start_logits", "end_logits")
    words = True
    labelled = False
    empty_label = "no answer"
    pair_holds = "passages"
    head = "QuestionAnswering"
    hub_tag = "question-answering"
    agreement_is = "same answer text as the teacher"
    long_texts = "passages"
    label_of = staticmethod(spans_of)

    @staticmethod
    def misfit(example: Example, text: str, label: str) -> str:
        """An answer that does not stand in the passage where it is said to."""
        spans: Any = example.label
        for span in spans:
            found = (example.pair or "")[span.start : span.start + len(span.text)]
            if found != span.text:
                return (
                    f"column '{label}' says that {span.text[:40]!r} starts at character {span.start} of the passage, "
                    f"where {found[:40]!r} stands; mend answer_start, which counts characters from 0"
                )
        return ""

    @property
    def width(self) -> int:
        """2: start and end"""
        return 2

    def _metrics(self) -> tuple[Metric, ...]:
        return (span_f1, span_exact_match)

    def question(self, value: Any) -> Example:
        """A pair of question and passage, or an object with ``question`` and ``context``."""
        if isinstance(value, dict):
            value = (value.get("question", value.get("text")), value.get("context", value.get("text_pair")))
        if isinstance(value, (tuple, list)) and len(value) == 2 and all(isinstance(v, str) for v in value):
            return Example(value[0], value[1])
        raise UserError(
            f'expected {{"question": …, "context": …}} or a pair of question and passage, got {shown(value)}'
        )

    def encode(self, reading: Reading, examples: Sequence[Example]) -> list[Encoded]:
        """Question and passage; words as :func:`passage_words` cuts them.

        The passage is always read in windows, which share a quarter of the maximum where nothing else is said.
        """
        stride = self.shared_tokens(reading.max_length)
        return reading.encode_passages(examples, [passage_words(e.pair or "") for e in examples], stride)

    def shared_tokens(self, max_length: int) -> int:
        """A quarter of the maximum where nothing else is said."""
        return max_length // 4 if self.windows is None else self.windows.stride

    def units(self, logits: Logits, encoded: Sequence[Encoded]) -> list[Logits]:
        """[R, L, 2] to one [W, 2] an example; NaN where a word has no piece."""
        cut, row = [], 0
        for e in encoded:
            unit = np.stack(
                [
                    logits[row + e.word_rows, np.maximum(at, 0), column]
                    for column, at in enumerate((e.word_starts, e.word_ends))
                ],
                axis=1,
            ).astype(np.float32)
            unit[e.word_starts < 0] = np.nan
            cut.append(unit)
            row += e.windows
        return cut

    def targets(self, example: Example, count: int | None = None) -> NDArray[np.int64]:
        """[2], the words where the first accepted answer starts and ends."""
        words = passage_words(example.pair or "")
        size = len(words) if count is None else count
        if not example.label:
            return np.full(2, NO_LABEL, dtype=np.int64)
        accepted: Any = example.label
        first, last = accepted[0].start, accepted[0].start + len(accepted[0].text) - 1
        start = next((i for i, (_, end) in enumerate(words) if end > first), size)
        end = next((i for i in reversed(range(len(words))) if words[i][0] <= last), size)
        found = np.array([start, end], dtype=np.int64)
        return np.where(found < size, found, NO_LABEL)

    def predictions(self, units: Sequence[Logits], examples: Sequence[Example]) -> list[str]:
        """The text of each answer."""
        return [self._answer(u, e).answer for u, e in zip(units, examples, strict=True)]

    def gold(self, examples: Sequence[Example]) -> list[list[str]]:
        """The accepted answers of each question."""
        labels: list[Any] = [e.label or () for e in examples]
        return [[span.text for span in spans] for spans in labels]

    def answers(self, units: Sequence[Logits], examples: Sequence[Example]) -> list[Answer]:
        """One :class:`SpanAnswer` a question."""
        return [self._answer(u, e) for u, e in zip(units, examples, strict=True)]

    def _answer(self, unit: Logits, example: Example) -> SpanAnswer:
        """The best span of at most ``LONGEST`` words: the highest sum of start and end."""
        passage = example.pair or ""
        words = passage_words(passage)[: len(unit)]
        seen = ~np.isnan(unit[:, 0])
        if not seen.any():
            return SpanAnswer("", 0, 0.0)
        safe = np.where(seen[:, None], unit, -np.inf).astype(np.float64)
        best, start, end = -np.inf, 0, 0
        for offset in range(min(LONGEST, len(words))):
            sums = safe[: len(words) - offset, 0] + safe[offset:, 1]
            at = int(sums.argmax())
            if sums[at] > best:
                best, start, end = float(sums[at]), at, at + offset
        known = softmax(unit[seen], axis=0)
        rank = np.cumsum(seen) - 1
        probability = float(known[rank[start], 0] * known[rank[end], 1])
        return SpanAnswer(passage[words[start][0] : words[end][1]], words[start][0], probability)

    def constant(self, gold: Sequence[list[str]]) -> list[str]:
        """No answer: nothing fits all questions."""
        return [""] * len(gold)

    def sample(self, paired: bool) -> dict[str, str]:
        """A question and its passage."""
        return {"question": "a question", "context": "the passage to find the answer in"}

    def plain_code(self, paired: bool) -> str:
        """The answer."""
        return CODE
