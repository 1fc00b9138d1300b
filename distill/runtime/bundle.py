"""Loading a bundle and asking it questions."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from distill import tasks
from distill.errors import UserError, shown
from distill.runtime.beam_search import Finish
from distill.runtime.decoder import beginnings
from distill.runtime.forward import ALONE, batches_by_tokens, in_order, respond
from distill.runtime.generation import generate, stream
from distill.runtime.graphs import Graphs
from distill.runtime.manifest import TOKENIZER, Generation, Manifest, verify
from distill.runtime.processor import check_processor
from distill.runtime.sampling import GenerationSettings
from distill.runtime.tokenizer_check import PROBE, check_tokenizer
from distill.tasks import Answer
from distill.tasks.task import Logits
from distill.tasks.text_to_text import units_of
from distill.text import Encoded, Example, Reading, Target, pad
from distill.text.encoding import EMPTY, Ids
from distill.text.reading import DECODER_START, as_user_error

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
"""What a graph may be fed."""


class Bundle:
    """A compact model with its tokenizer and task.

    >>> bundle = load("exports/quickstart")
    >>> bundle(["a gorgeous, witty, seductive movie"])[0].label
    'fresh'
    """

    def __init__(self, directory: Path, manifest: Manifest, variant: str, threads: int | None = None) -> None:
        check_processor(manifest, variant)
        verify(directory, manifest, manifest.files(variant))
        self.directory = directory
        self.manifest = manifest
        self.variant = variant
        self.task = tasks.from_section(manifest.task)
        tokenizer = directory / TOKENIZER
        with as_user_error(f"{tokenizer} is refused"):
            check_tokenizer(tokenizer)
        self.reading = self._read_with(Reading.from_file(tokenizer, manifest.max_length, manifest.pad_id))
        files = {role: directory / file for role, file in manifest.graphs[variant].items()}
        self.model = files[manifest.role]
        """The graph that answers."""
        self.graphs = Graphs(files, threads)
        self._check()

    def __call__(self, questions: Any, tokens: int = ALONE) -> list[Answer]:
        """Answers, one a question, in the same order.

        A question is what the task says it is: a text; a tuple, such as a pair of texts or the words of a sentence; or
        an object (a dict), such as ``{"text": …, "text_pair": …}``. One of these alone is one question. Anything else
        that can be iterated over, such as a list, holds questions; among these a list is read as a tuple, for JSON has
        no tuples. An empty text is a valid one. `distill predict` takes the same questions.

        One text is run at a time: an int8 graph scales its activations over the batch, so that an answer depends a
        little on the texts beside it. Batches of more ``tokens``, such as 4096, use many cores better.

        Raises UserError where a question is none of these, and where the graph or the tokenizer fails on one.
        """
        if isinstance(questions, str | bytes | tuple | dict) or not isinstance(questions, Iterable):
            questions = [questions]
        return self._answers([self.example(question) for question in questions], tokens)

    def example(self, question: Any) -> Example:
        """A question as the task reads it. Raises UserError where it is none."""
        example = self.task.question(question)
        words = example.text if isinstance(example.text, tuple) else (example.text,)
        try:
            "".join((*words, example.pair or "")).encode()
        except UnicodeEncodeError as error:
            raise UserError(f"{shown(question)} is not UTF-8: it holds half of a character") from error
        self._check_pairs([example])
        return example

    def logits(self, examples: Sequence[Example], tokens: int = ALONE) -> list[Logits]:
        """What the task keeps of each example, [U, C]: logits of the text, of each word of a tagged sentence …"""
        self._check_pairs(examples)
        return in_order(respond(self._forward, self.reading, self.task, examples, tokens))

    def _check_pairs(self, examples: Sequence[Example]) -> None:
        """Raises UserError for a text without its second where an answer is about two, and for one with a second where
        it is about one. Questions with their passages, and vectors, whose pairs are compared, are neither."""
        paired = self.manifest.paired
        if paired and any(example.pair is None for example in examples):
            sample = json.dumps(self.task.sample(paired=True))
            raise UserError(
                f"the model answers about pairs of texts, and here is a first without a second; give both, such as "
                f"{sample}, or the column of second texts (--pair-column)"
            )
        pair = next((example for example in examples if example.pair is not None), None)
        if paired is False and not self.task.pair_holds and pair is not None:
            raise UserError(
                f"the model answers about single texts, and here is a pair, {shown((pair.text, pair.pair))}; give one "
                "text, or several as a list of them, not as a tuple (`distill predict`: one a line); a table without "
                "a column of second texts (--pair-column)"
            )

    def _answers(self, examples: Sequence[Example], tokens: int) -> list[Answer]:
        return self.task.answers(self.logits(examples, tokens), examples)

    def _read_with(self, reading: Reading) -> Reading:
        """What texts are read with; ``reading`` knows no roles of special tokens."""
        return reading

    def _forward(self, arrays: dict[str, Ids]) -> Logits:
        """What the graph makes of a batch. Raises UserError where that is not what the task reads."""
        rows, length = arrays.get("target_ids", arrays["input_ids"]).shape
        try:
            logits = self.graphs.forward(self.task)(arrays)
        except Exception as error:  # onnxruntime raises classes of its own that derive from Exception alone
            raise UserError(f"{self.model} fails on {rows} x {length} ids: {error}") from error
        wanted = [rows, length] if self.task.words or self.task.writes else [rows]
        width = "any" if self.task.kind == "vector" else self.task.width
        shape = list(getattr(logits, "shape", ()))
        if shape[:-1] != wanted or width not in ("any", shape[-1]):
            raise UserError(
                f"{self.model} gives an array of {shape} for {rows} x {length} ids; {self.task.name} reads one of "
                f"{[*wanted, width]}"
            )
        if not np.issubdtype(logits.dtype, np.floating) or not np.isfinite(logits).all():
            raise UserError(f"{self.model} gives values that are no finite numbers; export the bundle again")
        return logits

    def _check(self) -> None:
        """Whether manifest, tokenizer and graph fit each other: raises UserError before the first question."""
        inputs, outputs = (set(of_role[self.manifest.role]) for of_role in (self.graphs.inputs, self.graphs.outputs))
        inputs -= set(self.graphs.shortlisted)
        if inputs != set(self.manifest.inputs) or not inputs <= set(self._known_inputs()):
            raise UserError(
                f"{self.model} takes {shown(sorted(inputs))}, bundle.json says {shown(self.manifest.inputs)}; a graph "
                f"takes some of {', '.join(self._known_inputs())}"
            )
        if missing := {*self.task.read, *self.manifest.outputs} - outputs:
            raise UserError(f"{self.model} does not give {shown(sorted(missing))}, only {shown(sorted(outputs))}")
        self.reading.encode([Example(PROBE)])
        self._ask(self.example(self.task.sample(paired=bool(self.manifest.paired))))
        ids = np.array([self.reading.vocabulary_size - 1, self.manifest.pad_id])[: self.manifest.max_length]
        target = ids if "encoder" in self.graphs.sessions else EMPTY
        self._forward(pad([Encoded(ids, np.zeros_like(ids), EMPTY, False, target_ids=target)], self.manifest.pad_id))

    def _known_inputs(self) -> tuple[str, ...]:
        return INPUTS

    def _ask(self, example: Example) -> None:
        """Asks for all that the bundle can answer."""
        self._answers([example], ALONE)


@dataclass(frozen=True)
class Written:
    """What a model wrote behind one prompt."""

    text: str
    tokens: int
    """How many it wrote, the end-of-text token included."""
    finish: Finish

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    def as_line(self) -> str:
        """The text, its lines behind one another."""
        return " ".join(self.text.splitlines())


class WritingBundle(Bundle):
    """A bundle of a model that writes: behind a prompt, or from a source.

    >>> bundle = load("exports/tinystories")
    >>> bundle("Once upon a time")[0].text
    ' there was a little girl'
    """

    def generate(
        self, prompts: str | Sequence[str], settings: GenerationSettings | None = None, tokens: int = ALONE
    ) -> list[Written]:
        """What the model writes behind each prompt, or from each source, in the same order.

        Without ``settings`` as :attr:`settings` says: the most likely tokens. Where they name no end-of-text tokens and
        no longest text, the bundle's hold. Prompts are written behind one by one, or as many together as ``tokens``
        hold; what is sampled depends on the place of a prompt among all.

        Raises UserError where a prompt fills the model, and where graph or tokenizer fails.
        """
        asked = [prompts] if isinstance(prompts, str) else prompts
        return self._written([self._begun(prompt) for prompt in asked], settings or self.settings, tokens)

    def stream(self, prompt: str, settings: GenerationSettings | None = None) -> Iterator[str]:
        """What :meth:`generate` writes behind one prompt, in pieces as they come."""
        begun = self._begun(prompt)
        with self._failing():
            pieces = stream(self.graphs, begun, self._filled(settings or self.settings), self.reading.tokenizer)
            yield from pieces if self.task.own_label else stripped(pieces)

    def logits(self, examples: Sequence[Example], tokens: int = ALONE) -> list[Logits]:
        """What the task keeps of each example, [U, C]: of each token, or, where it is measured by what is written, the
        bytes of that."""
        if self.task.predicts_tokens:
            return super().logits(examples, tokens)
        written = self.generate([str(example.text) for example in examples], tokens=tokens)
        return [units_of(one.text) for one in written]

    def _begun(self, prompt: str) -> Ids:
        """What is read before the model writes."""
        example = self.example(prompt)
        if "encoder" in self.graphs.sessions:
            return self.reading.encode([example])[0].input_ids
        return self.reading.prompt(str(example.text))

    def _written(self, begun: Sequence[Ids], settings: GenerationSettings, tokens: int) -> list[Written]:
        found: dict[int, Written] = {}
        settings, tokenizer = self._filled(settings), self.reading.tokenizer
        beginnings(self.graphs, begun, settings)  # refuses, before anything is written, with the number of the prompt
        for rows in batches_by_tokens([1] * len(begun), list(map(len, begun)), tokens):
            with self._failing():
                for one in generate(self.graphs, [begun[row] for row in rows], settings, tokenizer, rows):
                    text = one.text if self.task.own_label else one.text.strip()
                    found[one.row] = Written(text, len(one.ids), one.finish)
        return [found[row] for row in range(len(begun))]

    def _answers(self, examples: Sequence[Example], tokens: int) -> list[Answer]:
        return list(self.generate([str(example.text) for example in examples], tokens=tokens))

    @cached_property
    def settings(self) -> GenerationSettings:
        """How it writes where nothing else is said; others may be put in their place. A recurrent network holds a text
        of any length."""
        holds = self.manifest.max_length if self.graphs.cache_grows else None
        said = self._said
        return GenerationSettings(said.max_new_tokens, holds, tuple(said.end_ids), said.begin_id, said.beams)

    def _filled(self, given: GenerationSettings) -> GenerationSettings:
        """With the bundle's own end of a text, and longest text, where ``given`` has none."""
        return replace(
            given,
            end_ids=given.end_ids or self.settings.end_ids,
            start_id=self.settings.start_id if given.start_id is None else given.start_id,
            max_length=self.settings.max_length if given.max_length is None else given.max_length,
        )

    @property
    def _said(self) -> Generation:
        """What ``bundle.json`` says of writing."""
        assert self.manifest.generation is not None
        return self.manifest.generation

    def _read_with(self, reading: Reading) -> Reading:
        token = reading.tokenizer.id_to_token(self._said.begin_id)
        if token is None or reading.tokenizer.token_to_id(token) != self._said.begin_id:
            raise UserError(
                f"bundle.json of {self.directory} begins a text with the token {self._said.begin_id}, which the "
                "tokenizer does not know; export the bundle again"
            )
        role = "eos_token" if self.task.own_label else DECODER_START
        return Reading(reading.tokenizer, reading.max_length, reading.pad_id, {role: token})

    def _failing(self) -> AbstractContextManager[None]:
        """What onnxruntime and the tokenizer raise, as a UserError."""
        return as_user_error(f"{self.model} fails to write")

    def _check(self) -> None:
        with as_user_error(f"{self.model} is refused"):
            self.graphs.check_cache()
            self.graphs.check_logits(self.reading.vocabulary_size)
        super()._check()

    def _ask(self, example: Example) -> None:
        predicting = self.task.next_token
        target = Example(str(example.text), label=None if predicting.own_label else Target(str(example.text)))
        in_order(respond(self._forward, self.reading, predicting, [target], ALONE))
        begun = self._begun(str(example.text))[: max(1, self.manifest.max_length - 2)]
        self._written([begun], GenerationSettings(2), ALONE)

    def _known_inputs(self) -> tuple[str, ...]:
        made = self.graphs.outputs.get("encoder", ())
        return (*INPUTS[:2], *self.graphs.past, *made, *(("encoder_attention_mask",) if made else ()))


def stripped(pieces: Iterable[str]) -> Iterator[str]:
    """A text in pieces, without blanks before and behind it."""
    kept, begun = "", False
    for piece in pieces:
        text = kept + piece if begun else piece.lstrip()
        begun = begun or bool(text)
        kept = text[len(text.rstrip()) :]
        if shown_now := text.rstrip():
            yield shown_now
