"""``python -m distill.measure.worker SPECIFICATION.json``: measures one ONNX file, prints one line of JSON.

It runs in a process of its own, so that memory is the model's and no other's, and imports neither torch nor
transformers, as a deployed model does not. Standard output is a :class:`~distill.results.Measurement`, or, where the
specification says ``memory_only``, a :class:`~distill.results.Figure`.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from distill.errors import UserError
from distill.measure.energy import EnergyMeter
from distill.measure.memory import file_size, peak_resident_set, resident_set
from distill.measure.specification import Specification
from distill.results import Figure, Measurement, from_json
from distill.runtime.decoder import Decoder
from distill.runtime.graphs import Graphs
from distill.runtime.processor import int8_flags
from distill.runtime.sampling import GenerationSettings
from distill.text import Encoded, pad

BATCH_SIZE = 32
FIXED_LENGTH = 128
WARM_UP_RUNS = 3

T = TypeVar("T")
Batch = dict[str, NDArray[np.int64]]
Run = Callable[[Batch], object]


def open_graph(specification: Specification) -> Graphs:
    """The model's file in a session. The options are the runtime's."""
    encoder = {"encoder": Path(specification.encoder)} if specification.encoder else {}
    files = {**encoder, specification.role: Path(specification.model)}
    graphs = Graphs(files, specification.threads, arena=not specification.memory_only)
    taken = set(graphs.inputs[specification.role]) - set(graphs.shortlisted)
    if taken != set(specification.inputs):
        raise UserError(
            f"{specification.model} takes {sorted(taken)}, the specification says {sorted(specification.inputs)}"
        )
    return graphs


def run_of(specification: Specification, graphs: Graphs | None = None) -> Run:
    """The model as a function of a padded batch; an encoder-decoder reads it as source and as target."""
    role, graphs = specification.role, graphs or open_graph(specification)

    def run(batch: Batch) -> object:
        try:
            if specification.encoder:
                return graphs.target_logits({**batch, "target_ids": batch["input_ids"]})
            cache = graphs.empty_cache(len(batch["input_ids"])) if role == "decoder" else {}
            return graphs.run(role, {**batch, **cache})
        except Exception as error:
            shape = " x ".join(map(str, batch["input_ids"].shape))
            raise UserError(f"{specification.model} fails on a batch of {shape} ids: {error}") from error

    return run


def padded(rows: Sequence[Sequence[int]], pad_id: int, second_lengths: Sequence[int] = ()) -> Batch:
    """One batch, padded to its longest row: inputs [B, L]; ``second_lengths`` as in :class:`Specification`."""
    nothing = np.empty(0, dtype=np.int64)
    encoded = []
    for row, second in zip(rows, second_lengths or [0] * len(rows), strict=True):
        ids = np.asarray(row, dtype=np.int64)
        types = (np.arange(len(ids)) >= len(ids) - second).astype(np.int64)
        encoded.append(Encoded(ids, types, nothing, False))
    return pad(encoded, pad_id)


def ids_and_second_lengths(specification: Specification) -> list[tuple[tuple[int, ...], int]]:
    """(ids, how many of them at the end are of the second text of a pair) of each text."""
    none = (0,) * len(specification.token_ids)
    return list(zip(specification.token_ids, specification.second_lengths or none, strict=True))


def batches_by_length(specification: Specification) -> list[Batch]:
    """Batches of 32 texts of similar length, as the runtime makes them."""
    texts = sorted(ids_and_second_lengths(specification), key=lambda text: len(text[0]))
    chunks = [texts[start : start + BATCH_SIZE] for start in range(0, len(texts), BATCH_SIZE)]
    return [padded([ids for ids, _ in chunk], specification.pad_id, [n for _, n in chunk]) for chunk in chunks]


def row_of_length(token_ids: Sequence[Sequence[int]], length: int) -> list[int]:
    """One row of exactly ``length`` real ids: texts one after another, from the first again where they are too few."""
    row: list[int] = []
    while len(row) < length:
        for ids in token_ids:
            row.extend(ids)
    return row[:length]


def warm_up(run: Callable[[T], object], work: Sequence[T], seconds: float) -> None:
    """Runs ``work`` for ``seconds``, three runs at least; from its end, so that the longest batch comes first."""
    end, runs = time.perf_counter() + seconds, 0
    while runs < WARM_UP_RUNS or time.perf_counter() < end:
        run(work[-1 - runs % len(work)])
        runs += 1


def durations(
    run: Callable[[T], object], work: Sequence[T], seconds: float, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Seconds of each run, over whole passes until ``seconds`` are over: one pass at least.

    A pass that stopped half way would weigh some texts more than others, and for each model other ones.
    """
    taken: list[float] = []
    start = before = clock()
    while before - start < seconds or not taken:
        for item in work:
            run(item)
            after = clock()
            taken.append(after - before)
            before = after
    return taken


def latency(taken: Sequence[float], method: str) -> tuple[Figure, Figure]:
    """Median and 95th percentile of durations in seconds, as figures in ms."""
    p50, p95 = np.percentile(taken, [50, 95]) * 1e3
    return (
        Figure(float(p50), "ms", "measured", f"median of {len(taken):,} {method}"),
        Figure(float(p95), "ms", "measured", f"95th percentile of {len(taken):,} {method}"),
    )


def within_budget(specification: Specification, run: Run) -> Specification:
    """The specification with what a process can do in its budget.

    A run of the longest text says what whole passes would take at most, since time grows at least with the number of
    tokens. Above half of the budget, texts evenly spaced by length stand for all.
    """
    texts = sorted(ids_and_second_lengths(specification), key=lambda text: len(text[0]))
    lengths = [len(ids) for ids, _ in texts]
    batch = padded([texts[-1][0]], specification.pad_id, [texts[-1][1]])
    run(batch)  # the first run takes memory, too
    start = time.perf_counter()
    run(batch)
    a_token = (time.perf_counter() - start) / lengths[-1]
    fixed = WARM_UP_RUNS * lengths[-1] + (WARM_UP_RUNS + 1) * min(FIXED_LENGTH, specification.max_length)
    tokens = 2 * sum(lengths) + WARM_UP_RUNS * sum(lengths[-BATCH_SIZE:])  # one at a time, in batches, warming up
    share = (specification.budget / 2 - a_token * fixed) / (a_token * tokens)
    count = max(1, min(len(texts), int(share * len(texts))))
    kept = texts if count == len(texts) else [texts[int((i + 0.5) * len(texts) / count)] for i in range(count)]
    ids, seconds = zip(*kept, strict=True)
    return dataclasses.replace(
        specification,
        token_ids=specification.token_ids if kept is texts else ids,
        second_lengths=specification.second_lengths if kept is texts else seconds,
        seconds=min(specification.seconds, specification.budget / 8),
    )


def measurement(specification: Specification) -> Measurement:
    """All figures of one model, one after another in this process."""
    before_load = resident_set()
    graphs = open_graph(specification)
    run = run_of(specification, graphs)
    after_load = resident_set()

    all_texts = len(specification.token_ids)
    specification = within_budget(specification, run)
    seconds, lengths = specification.seconds, [len(ids) for ids in specification.token_ids]
    n, threads = len(lengths), f"{specification.threads} thread{'s' * (specification.threads > 1)}"
    texts = f"{n:,} texts of {min(lengths)} to {max(lengths)} tokens (mean {np.mean(lengths):.1f})"
    if n < all_texts:
        texts += (
            f", evenly spaced by length among {all_texts:,}, as all would take more than {specification.budget:g} s"
        )
    how = f"after warm-up, {threads}, no spinning, perf_counter, tokenization not included"

    singles = [padded([ids], specification.pad_id, [second]) for ids, second in ids_and_second_lengths(specification)]
    warm_up(run, singles, seconds / 5)
    with EnergyMeter("cpu", specification.watts_per_core) as meter:
        taken = durations(run, singles, seconds)
    p50, p95 = latency(taken, f"runs at batch 1 over {texts}, {how}")
    energy = per_thousand(meter.figure, len(taken))

    length = min(FIXED_LENGTH, specification.max_length)
    second = round(length * sum(specification.second_lengths) / sum(lengths))  # their usual share
    row = [padded([row_of_length(specification.token_ids, length)], specification.pad_id, [second])]
    warm_up(run, row, seconds / 5)
    shorter = f" (the model's maximum, below {FIXED_LENGTH})" if length < FIXED_LENGTH else ""
    fixed_p50, fixed_p95 = latency(durations(run, row, seconds), f"runs at batch 1 and {length} tokens{shorter}, {how}")

    batches = batches_by_length(specification)
    warm_up(run, batches, seconds / 5)
    taken = durations(run, batches, seconds)
    passes = len(taken) // len(batches)
    rate = passes * n / sum(taken)
    method = f"{passes:,} passes over {texts}, sorted by length, in batches of {BATCH_SIZE}, {how}"

    writing = writing_figures(specification, graphs, how) if specification.role == "decoder" else {}
    imports = "after imports and reading the texts, before the model"
    return Measurement(
        threads=specification.threads,
        runtime=f"onnxruntime {onnxruntime.__version__}, CPUExecutionProvider",
        file_size=file_size(*(Path(file) for file in (specification.encoder, specification.model) if file)),
        latency_p50=p50,
        latency_p95=p95,
        latency_128_p50=fixed_p50,
        latency_128_p95=fixed_p95,
        throughput=Figure(rate, "texts/s", "measured", method),
        memory_peak=noted(peak_resident_set(), f"all runs at batch 1 and {BATCH_SIZE} in one process; memory arena on"),
        memory_after_load=noted(after_load, "session made, nothing run"),
        memory_before_load=noted(before_load, imports),
        energy=energy,
        cpu_flags=int8_flags(),
        **writing,
    )


def writing_figures(specification: Specification, graphs: Graphs, how: str) -> dict[str, Figure]:
    """Figures of a model that writes, of :class:`~distill.results.Measurement`, by name: half of a fixed length is a
    prompt, and half is written."""
    half = max(1, min(FIXED_LENGTH, specification.max_length) // 2)
    prompt = np.array(row_of_length(specification.token_ids, half), dtype=np.int64)
    first, others = [], []

    def write(tokens: int) -> None:
        start = time.perf_counter()
        decoder = Decoder(graphs, [prompt], GenerationSettings(tokens, start_id=int(prompt[0])))
        token = int(decoder.begin()[0].argmax())
        begun = time.perf_counter()
        for _ in range(tokens):
            token = int(decoder.write([token])[0].argmax())
        first.append(begun - start)
        others.append(time.perf_counter() - begun)

    warm_up(write, [min(half, WARM_UP_RUNS)], 0)
    first.clear()
    others.clear()
    durations(write, [half], specification.seconds)
    growing, fixed = graphs.cache_bytes()
    kept = "keys and values of the token" if growing else f"a state of {fixed:,} bytes does not grow"
    texts = f"texts of {half} tokens behind prompts of {half}, at batch 1, the most likely token taken, {how}"
    return {
        "first_token": latency(first, texts)[0],
        "writing_rate": Figure(half * len(others) / sum(others), "tokens/s", "measured", f"{len(others):,} {texts}"),
        "cache_growth": Figure(float(growing), "bytes per token", "measured", f"sizes of the graph's inputs: {kept}"),
    }


def peak_without_arena(specification: Specification) -> Figure:
    """MB: peak resident set after one pass in batches of 32, the arena as ``memory_only`` says."""
    run = run_of(specification)
    for batch in batches_by_length(within_budget(specification, run)):
        run(batch)
    return noted(peak_resident_set(), f"one pass in batches of {BATCH_SIZE}, sorted by length; memory arena off")


def per_thousand(joules: Figure, texts: int) -> Figure:
    """J of ``texts`` texts as J per 1,000 texts."""
    value = None if joules.value is None else joules.value / texts * 1000
    method = f"{texts:,} texts at batch 1: {joules.method}"
    return Figure(value, "J per 1,000 texts", joules.how, method)


def noted(figure: Figure, note: str) -> Figure:
    """The figure with what it was taken after."""
    return dataclasses.replace(figure, method=f"{figure.method}; {note}")


def main(arguments: Sequence[str]) -> int:
    """Exit status 1, with one line on stderr, where the specification cannot be measured."""
    try:
        specification = from_json(Specification, Path(arguments[0]).read_text(encoding="utf-8"))
        result = (peak_without_arena if specification.memory_only else measurement)(specification)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(dataclasses.asdict(result)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
