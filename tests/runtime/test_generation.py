"""Writing with a model of a few lines of numpy, which tells whether it was fed what it should be."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models

from distill.errors import UserError
from distill.runtime import Generated, GenerationSettings, Graphs, generate, stream
from distill.runtime.beam_search import largest

SIZE = 12
TABLE = np.random.default_rng(0).normal(scale=3.0, size=(SIZE, SIZE)).astype(np.float32)
TABLE[:, 0] = -9  # a token that adds nothing to the sum would be written for ever


class CountingGraphs:
    """A decoder whose logits stand in the row of ``table`` that the sum of all tokens read names.

    Its cache is the tokens read, so that a row that reads another's cache, or its padding, writes something else. With
    ``encodes``, the source's sum is added, by way of what the encoder gives.
    """

    def __init__(self, table: NDArray[np.float32] = TABLE, encodes: bool = False) -> None:
        self.table = table
        self.runs: list[tuple[int, ...]] = []
        self.inputs = {"decoder": ("input_ids", "attention_mask", "past.0.key")}
        self.outputs = {"decoder": ("present.0.key", "logits")}
        self.shortlisted = ()
        if encodes:
            self.inputs["encoder"] = ("input_ids", "attention_mask")
            self.outputs["encoder"] = ("cross.0.key",)

    def empty_cache(self, rows: int) -> dict[str, NDArray[Any]]:
        return {"past.0.key": np.zeros((rows, 1, 0, 1), np.float32)}

    def run(self, role: str, arrays: Mapping[str, NDArray[Any]], read: Sequence[str] = ()) -> list[NDArray[Any]]:
        if role == "encoder":
            return [(arrays["input_ids"] * arrays["attention_mask"]).sum(1)]
        self.runs.append(arrays["input_ids"].shape)
        past = arrays["past.0.key"]
        kept = np.concatenate([past, arrays["input_ids"][:, None, :, None].astype(np.float32)], axis=2)
        sums = (kept[:, 0, :, 0] * arrays["attention_mask"]).cumsum(1)[:, past.shape[2] :]
        if "encoder" in self.inputs:
            sums = sums + arrays["cross.0.key"][:, None]
        logits = self.table[sums.astype(int) % SIZE]
        logits[arrays["attention_mask"][:, past.shape[2] :] == 0] = np.nan  # what stands at padding says nothing
        return [kept, logits]


def written(
    prompts: Sequence[Sequence[int]],
    graphs: CountingGraphs | None = None,
    tokenizer: Tokenizer | None = None,
    **how: Any,
) -> list[Generated]:
    arrays = [np.array(prompt, dtype=np.int64) for prompt in prompts]
    graphs = graphs or CountingGraphs()
    found = generate(cast(Graphs, graphs), arrays, GenerationSettings(**how), tokenizer)
    return sorted(found, key=lambda generated: generated.row)


def greedily(prompt: Sequence[int], count: int) -> tuple[int, ...]:
    ids: list[int] = []
    for _ in range(count):
        ids.append(int(TABLE[(sum(prompt) + sum(ids)) % SIZE].argmax()))
    return tuple(ids)


PROMPTS = [[4], [3, 4, 5, 2], [7, 8]]


def test_greedy_reads_the_prompt_at_once_and_then_token_by_token() -> None:
    graphs = CountingGraphs()
    assert [g.ids for g in written(PROMPTS, graphs, max_new_tokens=5)] == [greedily(p, 5) for p in PROMPTS]
    assert graphs.runs == [(3, 4), (3, 1), (3, 1), (3, 1), (3, 1)]


def test_a_text_ends_with_the_first_end_token_and_then_costs_nothing() -> None:
    ends = greedily(PROMPTS[1], 1)
    graphs = CountingGraphs()
    found = written(PROMPTS, graphs, max_new_tokens=6, end_ids=ends)
    assert (found[1].ids, found[1].finish) == (ends, "end")
    assert graphs.runs[:2] == [(3, 4), (2, 1)]
    for prompt, generated in zip(PROMPTS, found, strict=True):
        whole = greedily(prompt, 6)
        assert generated.ids == (whole[: whole.index(ends[0]) + 1] if ends[0] in whole else whole)


@pytest.mark.parametrize("how", [{"temperature": 1.0, "seed": 3}, {"beams": 3}, {"repetition_penalty": 1.5}])
def test_an_answer_does_not_depend_on_the_prompts_beside_it(how: dict[str, Any]) -> None:
    how |= {"max_new_tokens": 6, "end_ids": (2, 9)}
    together = written([PROMPTS[1], *PROMPTS, [5] * 9], **how)
    assert together[0] == written([PROMPTS[1]], **how)[0]


def test_an_encoder_decoder_starts_with_its_start_token_and_reads_the_source_once() -> None:
    graphs = CountingGraphs(encodes=True)
    for how in ({}, {"beams": 1, "length_penalty": 2.0}):
        found = written(PROMPTS, graphs, start_id=8, max_new_tokens=4, **how)
        assert [g.ids for g in found] == [greedily([8, *prompt], 4) for prompt in PROMPTS]


def every_text(prompt: Sequence[int], length: int, ends: Sequence[int]) -> dict[tuple[int, ...], float]:
    """All texts of ``length`` tokens, or that end before, and their log probability."""
    log_p = TABLE - np.log(np.exp(TABLE).sum(axis=1, keepdims=True))
    texts: dict[tuple[int, ...], float] = {}
    for whole in itertools.product(range(SIZE), repeat=length):
        cut = next((i + 1 for i, token in enumerate(whole) if token in ends), length)
        ids = whole[:cut]
        texts[ids] = sum(float(log_p[(sum(prompt) + sum(ids[:i])) % SIZE, token]) for i, token in enumerate(ids))
    return texts


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("encodes", [False, True])
def test_beams_enough_for_every_text_find_the_best(penalty: float, encodes: bool) -> None:
    ends = (2, 9)
    how = {"beams": SIZE**2, "max_new_tokens": 3, "length_penalty": penalty, "early_stopping": "never"}
    found = written(PROMPTS, CountingGraphs(encodes=encodes), end_ids=ends, start_id=8, **how)
    for prompt, generated in zip(PROMPTS, found, strict=True):
        texts = every_text([8, *prompt] if encodes else prompt, 3, ends)
        best = max(texts, key=lambda ids: texts[ids] / len(ids) ** penalty)
        assert generated.ids == best
        assert generated.finish == ("end" if best[-1] in ends else "length")


def test_when_beam_search_ends() -> None:
    table = np.full((SIZE, SIZE), -20, dtype=np.float32)
    table[4, [10, 11, 1]] = np.log([0.5, 0.4, 0.1])  # two texts end at once, and a third goes on
    table[5:, 1] = 0.0  # with certainty
    how = {"beams": 2, "end_ids": (10, 11), "max_new_tokens": 6}
    for early_stopping, ids in ((True, (10,)), (False, (10,)), ("never", (1,) * 6)):  # log(0.1) / 6 > log(0.5)
        assert written([[4]], CountingGraphs(table), early_stopping=early_stopping, **how)[0].ids == ids


def test_sampling_repeats_with_its_seed() -> None:
    how = {"temperature": 1.5, "max_new_tokens": 20}
    one, again, other = (written(PROMPTS, seed=seed, **how) for seed in (1, 1, 2))
    assert one == again
    assert one != other
    assert len({generated.ids for generated in written([[1]] * 5, **how)}) > 1  # a prompt twice is written on twice


def letters() -> Tokenizer:
    """Token i is the i-th letter."""
    tokenizer = Tokenizer(models.WordLevel({letter: i for i, letter in enumerate("abcdefghijkl")}, "a"))
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def letters_of(ids: Sequence[int]) -> str:
    return "".join("abcdefghijkl"[i] for i in ids)


@pytest.mark.parametrize("beams", [1, 2])
def test_a_stop_string_ends_the_text_before_it(beams: int) -> None:
    how = {"max_new_tokens": 8, "beams": beams}
    (whole,) = written([[3, 4]], tokenizer=letters(), **how)
    text = letters_of(whole.ids)
    assert whole.text == text
    for first, last in ((0, 1), (2, 4), (5, 8)):
        stop = text[first:last]
        (found,) = written([[3, 4]], tokenizer=letters(), stop=("zzz", stop), early_stopping="never", **how)
        if beams == 1:
            assert found.text == text[: text.index(stop)]
            assert found.ids == whole.ids[: text.index(stop) + len(stop)]
        assert stop not in found.text
        assert found.finish == ("stop" if stop in letters_of(found.ids) else "length")


def test_a_stream_is_the_text_in_pieces() -> None:
    graphs = cast(Graphs, CountingGraphs())
    prompt = np.array([3, 4])
    for how in ({}, {"temperature": 1.0}, {"stop": ("cd",)}, {"end_ids": greedily([3, 4], 3)[-1:]}, {"beams": 3}):
        settings = GenerationSettings(max_new_tokens=9, **how)
        (whole,) = generate(graphs, [prompt], settings, letters())
        pieces = list(stream(graphs, prompt, settings, letters()))
        assert "".join(pieces) == whole.text
        if not how:
            assert pieces == list(whole.text)


def test_a_stream_gives_a_token_before_the_next_is_computed() -> None:
    graphs = CountingGraphs()
    pieces = stream(cast(Graphs, graphs), np.array([3, 4]), GenerationSettings(max_new_tokens=9), letters())
    next(pieces)
    assert len(graphs.runs) == 1


def test_an_empty_prompt_starts_with_the_start_token() -> None:
    assert written([[], [8]], start_id=8, max_new_tokens=4)[0].ids == greedily([8], 4)
    with pytest.raises(UserError, match="prompt 2 is empty; give a text, or start_id"):
        written([[1], []])
    with pytest.raises(UserError, match="prompt 1 is empty; an encoder needs one token"):
        written([[]], CountingGraphs(encodes=True), start_id=8)


def test_an_encoder_decoder_needs_a_start_token() -> None:
    with pytest.raises(UserError, match="give start_id"):
        written([[1]], CountingGraphs(encodes=True))


@pytest.mark.parametrize("beams", [1, 2])
def test_a_text_ends_where_the_model_is_full(beams: int) -> None:
    found = written([[1, 2, 3], [1]], max_length=4, beams=beams)
    assert [(len(g.ids), g.finish) for g in found] == [(1, "length"), (3, "length")]
    with pytest.raises(UserError, match="prompt 2 has 4 tokens, but the model holds 4; shorten it to 3, and one"):
        written([[1], [1, 2, 3, 4]], max_length=4, beams=beams)
    source = CountingGraphs(encodes=True)
    assert len(written([[1, 2, 3, 4]], source, max_length=4, start_id=8, beams=beams)[0].ids) == 3
    with pytest.raises(UserError, match="prompt 1 has 5 tokens, but the model holds 4; shorten it to 4"):
        written([[1, 2, 3, 4, 5]], source, max_length=4, start_id=8, beams=beams)


@pytest.mark.parametrize("beams", [1, 2])
def test_the_first_token_may_be_the_last(beams: int) -> None:
    ends = greedily([1], 1)
    (found,) = written([[1]], tokenizer=letters(), max_new_tokens=5, end_ids=ends, beams=beams, length_penalty=-5.0)
    assert (found.ids, found.text, found.finish) == (ends, "", "end")


@pytest.mark.parametrize("broken", [np.nan, np.inf])
@pytest.mark.parametrize("beams", [1, 2])
def test_a_model_that_gives_nan_is_an_error(broken: float, beams: int) -> None:
    table = TABLE.copy()
    table[7, 3] = broken
    with pytest.raises(UserError, match="no finite logits for prompt 2;"):
        written([[1], [7]], CountingGraphs(table), beams=beams, max_new_tokens=3)


def test_stop_strings_need_a_tokenizer() -> None:
    with pytest.raises(UserError, match="give a tokenizer"):
        written([[1]], stop=("a",))


def test_no_prompts_are_no_texts() -> None:
    assert written([]) == written([], beams=2) == []


@pytest.mark.parametrize(("size", "count"), [(3, 4), (12, 4), (64, 4), (511, 8), (1000, 8), (64004, 8)])
@pytest.mark.parametrize("kinds", [2, 40, 10**9])
def test_the_largest_are_those_that_sorting_finds(size: int, count: int, kinds: int) -> None:
    values = np.random.default_rng(size).integers(-kinds, kinds, size).astype(np.float32)
    values[::3] = -np.inf
    for last in (values[-1], np.float32(2 * kinds)):  # the last values stand in no whole column
        values[-1] = last
        places = largest(values, count)
        found = places[np.argsort(-values[places], kind="stable")][:count]
        np.testing.assert_array_equal(found, np.argsort(-values, kind="stable")[:count])
    if size > 1000 and kinds > size:
        assert len(places) < 0.1 * size
