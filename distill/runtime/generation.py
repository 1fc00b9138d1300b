"""Text that a model writes: token by token, or by beam search; numpy and the graphs alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from tokenizers import Tokenizer

from distill.errors import UserError
from distill.runtime.beam_search import BeamSearch, Finish
from distill.runtime.decoder import Decoder, room
from distill.runtime.graphs import Graphs
from distill.runtime.sampling import GenerationSettings, next_token
from distill.tasks import Task
from distill.text import Reading, TextStream
from distill.text.encoding import Ids


@dataclass(frozen=True)
class Generated:
    """What a model wrote behind one prompt."""

    row: int
    """Of the prompt among those given."""
    ids: tuple[int, ...]
    """Its tokens, the end-of-text token or those of a stop string included."""
    text: str
    """What they say, without these; empty where no tokenizer was given."""
    finish: Finish


BEAMS = 4
"""Width of the beam search that a text is written from another with (Vaswani et al. 2017, section 6.1)."""


def writing(task: Task, reading: Reading) -> GenerationSettings:
    """How the task's models write where nothing else is said: behind a prompt token by token, from a source by beam
    search."""
    if task.own_label:
        return GenerationSettings(128, reading.max_length, (reading.boundary,), reading.boundary)
    target = reading.encode_targets([""])[0]
    length = reading.max_length
    return GenerationSettings(length - 1, length, (int(target[-1]),), int(target[0]), BEAMS)


def generate(
    graphs: Graphs,
    prompts: Sequence[Ids],
    settings: GenerationSettings,
    tokenizer: Tokenizer | None = None,
    rows: Sequence[int] | None = None,
) -> Iterator[Generated]:
    """What the model writes behind each prompt, one batch together, each as it ends.

    ``prompts`` are ids [L] of any length, of which an encoder-decoder's are the sources; ``rows`` are their numbers,
    where they are some of many: each number has random numbers of its own. An answer does not depend on the prompts
    beside it, but for an int8 graph, which scales its activations over the batch, and for a shortlist, which is that of
    the batch. Greedy and beam search write what transformers' ``generate`` writes.

    Raises UserError where a prompt is empty or fills the model, where stop strings are asked for without a
    ``tokenizer``, and where the model gives NaN.
    """
    if settings.stop and tokenizer is None:
        raise UserError("stop strings are looked for in text; give a tokenizer")
    if not len(prompts):
        return
    decoder = Decoder(graphs, prompts, settings)
    begun = list(zip(range(len(prompts)) if rows is None else rows, decoder.beginnings, strict=True))
    if settings.beams > 1:
        searches = [BeamSearch(*one, settings, tokenizer, decoder.tokens) for one in begun]
        yield from _search(decoder, searches, settings, tokenizer)
        return
    texts = [_Text(*one, settings, tokenizer) for one in begun]
    for text, _ in _write(decoder, texts, settings):
        if text.finish is not None:
            yield text.generated()


def stream(graphs: Graphs, prompt: Ids, settings: GenerationSettings, tokenizer: Tokenizer) -> Iterator[str]:
    """The text behind one prompt, in pieces as they are written; by beam search in one piece, at the end."""
    if settings.beams > 1:
        yield from (generated.text for generated in generate(graphs, [prompt], settings, tokenizer))
        return
    decoder = Decoder(graphs, [prompt], settings)
    text = _Text(0, decoder.beginnings[0], settings, tokenizer)
    yield from (piece for _, piece in _write(decoder, [text], settings) if piece)


@dataclass
class _Text:
    """A text while it is written."""

    row: int
    beginning: Ids
    settings: GenerationSettings
    tokenizer: Tokenizer | None
    ids: list[int] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    finish: Finish | None = None

    def __post_init__(self) -> None:
        self.generator = np.random.default_rng([self.settings.seed, self.row])
        self.seen = self.beginning.tolist()
        self.stream = None if self.tokenizer is None else TextStream(self.tokenizer, self.seen, self.settings.stop)

    def add(self, token: int) -> str:
        """One token more; gives the text that can be shown with it."""
        self.ids.append(token)
        self.seen.append(token)
        piece = ""
        if token in self.settings.end_ids:
            self.finish = "end"
        elif self.stream is not None:
            piece = self.stream.add(token)
            self.finish = "stop" if self.stream.stopped else None
        if self.finish is None and len(self.ids) >= room(self.beginning, self.settings):
            self.finish = "length"
        if self.finish is not None and self.stream is not None:
            piece += self.stream.end()
        self.pieces.append(piece)
        return piece

    def generated(self) -> Generated:
        assert self.finish is not None
        return Generated(self.row, tuple(self.ids), "".join(self.pieces), self.finish)


def _write(decoder: Decoder, texts: list[_Text], settings: GenerationSettings) -> Iterator[tuple[_Text, str]]:
    """Adds to ``texts`` until all have ended; gives each token's text as it comes, with the text it belongs to."""
    logits = decoder.begin()
    while texts:
        for logits_V, text in zip(logits, texts, strict=True):
            yield text, text.add(next_token(logits_V, text.seen, settings, text.generator, decoder.tokens))
        rows = [row for row, text in enumerate(texts) if text.finish is None]
        texts = [texts[row] for row in rows]
        if texts:
            decoder.select(rows)
            logits = decoder.write([text.ids[-1] for text in texts])


def _search(
    decoder: Decoder, searches: list[BeamSearch], settings: GenerationSettings, tokenizer: Tokenizer | None
) -> Iterator[Generated]:
    """Beam search for all prompts together; the rows of the decoder are the beams of the first, of the second …"""
    logits = decoder.begin().repeat(settings.beams, axis=0)
    decoder.select(np.arange(len(searches)).repeat(settings.beams).tolist())
    while searches:
        rows: list[int] = []
        for place, search in enumerate(searches):
            first = place * settings.beams
            parents = search.advance(logits[first : first + settings.beams])
            if search.done:
                best = search.best
                assert best.finish is not None
                text = "" if tokenizer is None else _text_of(best.ids, search.beginning, settings, tokenizer)
                yield Generated(search.row, best.ids, text, best.finish)
            else:
                rows += [first + parent for parent in parents]
        searches = [search for search in searches if not search.done]
        if searches:
            decoder.select(rows)
            logits = decoder.write([hypothesis.ids[-1] for search in searches for hypothesis in search.running])


def _text_of(ids: Sequence[int], beginning: Ids, settings: GenerationSettings, tokenizer: Tokenizer) -> str:
    found = TextStream(tokenizer, beginning.tolist(), settings.stop)
    return "".join([found.add(token) for token in ids if token not in settings.end_ids] + [found.end()])
