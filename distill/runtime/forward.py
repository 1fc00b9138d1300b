"""The one forward loop: from texts to what a model says of each, for torch models and ONNX graphs alike."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from distill.progress import track
from distill.tasks.task import Logits, Task
from distill.text import Encoded, Example, Reading, TokenStore, pad, rows_of
from distill.text.encoding import Ids

Forward = Callable[[dict[str, Ids]], Logits]
"""From a padded batch, as :func:`distill.text.pad` makes it, each array [R, L], to the logits of its R rows, as
:meth:`Task.units` takes them."""

ALONE = 1
"""A budget of tokens that leaves each example alone in its batch."""


@dataclass(frozen=True)
class Response:
    """What a model says of one example."""

    row: int
    """Where the example stands among those that were asked about."""
    units: Logits
    """[U, C]"""


def respond(
    forward: Forward,
    reading: Reading,
    task: Task,
    examples: Sequence[Example] | Sequence[Encoded],
    tokens: int,
    what: str = "",
) -> Iterator[Response]:
    """What ``forward`` says of each example, as it is computed: from short to long, not in the order given.

    ``examples`` are texts, or what ``task`` made of them with ``reading``, such as a :class:`TokenStore`. Examples of
    similar length share a batch of at most ``tokens`` padded tokens, windows counted; an example that is larger runs
    alone. With ``what``, progress is shown under this name.
    """
    if examples and isinstance(examples[0], Example):
        encoded: Sequence[Encoded] = task.encode(reading, cast("Sequence[Example]", examples))
    else:
        encoded = cast("Sequence[Encoded]", examples)
    batches = batches_by_tokens(*_sizes(encoded), tokens)
    for rows in track(batches, what) if what else batches:
        batch = [encoded[row] for row in rows]
        logits = forward(pad(rows_of(batch), reading.pad_id))
        for row, units in zip(rows, task.units(logits, batch), strict=True):
            yield Response(row, units)


def in_order(responses: Iterable[Response]) -> list[Logits]:
    """The units of all examples, in the order in which they were given to :func:`respond`."""
    found = {response.row: response.units for response in responses}
    return [found[row] for row in range(len(found))]


def batches_by_tokens(windows: Sequence[int], longest: Sequence[int], tokens: int) -> list[list[int]]:
    """Examples sorted by length and cut into batches whose rows, all padded to the longest, are ``tokens`` at most.

    ``windows`` are the rows of each example, ``longest`` the tokens of its longest row. No batch is empty: an example
    above the budget has one of its own.
    """
    batches: list[list[int]] = []
    rows = 0
    for example in np.argsort(longest, kind="stable").tolist():
        rows += windows[example]
        if not batches or rows * longest[example] > tokens:
            batches.append([])
            rows = windows[example]
        batches[-1].append(example)
    return batches


def _sizes(encoded: Sequence[Encoded]) -> tuple[list[int], list[int]]:
    """Windows of each example, and tokens of the longest."""
    if isinstance(encoded, TokenStore):
        return encoded.windows.tolist(), encoded.longest.tolist()
    return [e.windows for e in encoded], [max(len(row.input_ids) for row in rows_of([e])) for e in encoded]
