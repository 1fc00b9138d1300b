"""Labels a stream and learns on it in a process of its own, and prints the most memory that it took, in MB.

Arguments: the teacher's folder, that of the stream, and an empty one.
"""

import sys
from pathlib import Path

from tokenizers import Tokenizer

from distill import tasks
from distill.config import Architecture, KlTerm, StreamConfig, TrainConfig
from distill.data.stream import Known, open_stream
from distill.measure import EnergyMeter
from distill.measure.memory import peak_resident_set
from distill.models import build_transformer, save_model
from distill.objectives import Objective
from distill.results import Figure, StageCost
from distill.stages.artifacts import Artifact, Artifacts
from distill.stages.context import Streamed
from distill.stages.streaming import LabelStream, SieveStream
from distill.text import Example, Reading
from distill.training import Machine, Problem, SoftLabelStore, Stored, StreamedRows, train

CPU = Machine("cpu", "fp32", "as asked for", 1)
TASK = tasks.build("text-classification", ("fresh", "rotten"))


def main(teacher: Path, place: Path, work: Path) -> None:
    reading = Reading(Tokenizer.from_file(str(teacher / "tokenizer.json")), 24)
    small = Architecture(layers=1, hidden_size=16, heads=2, intermediate_size=32)
    model = build_transformer(small, reading.tokenizer, {}, TASK, 24, 0)
    save_model(model, work / "teacher/model", 24)
    (work / "teacher/result.json").write_text('{"padding": ""}')
    asked = Artifact(work / "teacher", "teacher", StageCost("", 0.0, Figure(0.0, "J", "estimated", "")))
    stream = open_stream(StreamConfig(str(place)))
    artifacts = Artifacts(work, CPU, lambda: EnergyMeter("cpu", 1.0))
    sieved = artifacts.get(SieveStream(stream, Known(frozenset())))
    labels = artifacts.get(LabelStream(stream, sieved, reading, TASK, asked))
    streamed, others = Streamed(stream, sieved, labels, labels), [Example("a film"), Example("a story")]
    SoftLabelStore.write(work / "store", others, (streamed.logits[:1] for _ in others))
    rows = StreamedRows(TASK, reading, others, TASK.encode(reading, others), streamed.encoded)
    signal = Stored(SoftLabelStore(work / "store"), others, streamed=streamed.logits)
    budget = TrainConfig(steps=60, batch_size=32, evaluations=1)
    objective = Objective.of([KlTerm("kl")], TASK.kind)
    train(Problem(model.model, objective, signal, rows, None, budget, 1e-3, 0, "student"), None, CPU)
    print(len(rows.lengths), peak_resident_set().value)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
