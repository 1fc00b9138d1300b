"""Size, latency, memory and energy of the variants."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from distill.config import MeasureConfig
from distill.data import Part
from distill.progress import say
from distill.results import Measurement, from_json, to_json
from distill.runtime import graph_file
from distill.stages.artifacts import Artifact
from distill.stages.context import Run
from distill.stages.findings import Exported
from distill.stages.stage import Stage
from distill.tasks import Task
from distill.text import Reading, rows_of
from distill.training.devices import Machine

if TYPE_CHECKING:
    from distill.measure import Specification

MEASURED_TEXTS = 256
"""Test texts that a variant is measured on."""


@dataclass(frozen=True)
class MeasureVariant(Stage):
    """One variant at work in a fresh process."""

    name: ClassVar[str] = "measure"
    rooms: ClassVar[tuple[str, ...]] = ("measure", "runtime", "text", "tasks")
    libraries: ClassVar[tuple[str, ...]] = ("onnxruntime",)

    who: str
    exported: Artifact
    variant: str
    roles: tuple[str, ...]
    inputs: tuple[str, ...]
    settings: MeasureConfig
    computer: dict[str, str]
    """What it is measured on, in words."""
    reading: Reading
    task: Task
    texts: Part

    @property
    def what(self) -> str:
        """In words."""
        return f"measure the {self.who} in {self.variant}"

    def compute(self, folder: Path, machine: Machine) -> None:
        """Leaves ``measurement.json``."""
        from distill.measure import measure, not_measured

        models = [self.exported.directory / graph_file(role, self.variant) for role in self.roles]
        *before, model = (str(path.absolute()) for path in models)
        try:
            figures = measure(self.specification(model, *before))
        except Exception as error:  # the models are there all the same, and so is all else that the run found out
            say(f"{self.what}: no figures ({error})")
            figures = not_measured(models, self.settings.threads, str(error))
        (folder / "measurement.json").write_text(to_json(figures), encoding="utf-8")

    def specification(self, model: str, encoder: str = "") -> "Specification":
        """The model with the first of the texts."""
        from distill.measure import Specification

        encoded = rows_of(self.task.encode(self.reading, self.texts.examples[:MEASURED_TEXTS]))
        return Specification(
            model=model,
            inputs=self.inputs,
            token_ids=tuple(tuple(map(int, e.input_ids)) for e in encoded),
            pad_id=self.reading.pad_id,
            threads=self.settings.threads,
            seconds=self.settings.seconds,
            watts_per_core=self.settings.watts_per_core,
            max_length=self.reading.max_length,
            second_lengths=tuple(e.second_length for e in encoded),
            encoder=encoder,
        )


def measure_variant(this: Run, exported: Exported, variant: str) -> Measurement:
    """Figures of a variant on this machine."""
    from distill.measure import machine

    texts = exported.texts
    stage = MeasureVariant(
        who=exported.who,
        exported=exported.artifact,
        variant=variant,
        roles=exported.roles,
        inputs=exported.inputs,
        settings=this.config.measure,
        computer=machine(),
        reading=texts.reading,
        task=texts.task,
        texts=texts.dataset.part("test"),
    )
    artifact = this.artifacts.get(stage)
    has_failed = artifact.cost.cached and measured(artifact).latency_p50.how == "unavailable"
    if this.machine.decide(has_failed):  # in an earlier run, and may be possible now
        artifact = this.artifacts.again(stage)
    return measured(artifact)


def measured(artifact: Artifact) -> Measurement:
    """What ``MeasureVariant`` left."""
    return from_json(Measurement, (artifact.directory / "measurement.json").read_text(encoding="utf-8"))
