"""ONNX variants, their gates, and their answers."""

import dataclasses
import json
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from distill.config import ExportConfig, LayersStudent
from distill.config.schema import CALIBRATED, SHORTLISTED, needs
from distill.data import Part
from distill.errors import UserError
from distill.progress import track
from distill.results import Estimate, Gate, Parity, VariantResult, from_json, scale_of
from distill.runtime import graph_file
from distill.runtime.processor import runs_here
from distill.stages.artifacts import Artifact, load_units, save_units
from distill.stages.context import Lesson, Run, Signal, Texts
from distill.stages.findings import Chosen, Exported
from distill.stages.measuring import measure_variant
from distill.stages.stage import Stage
from distill.tasks import Task
from distill.tasks.task import Logits
from distill.text import Encoded, Reading
from distill.training.devices import Machine

if TYPE_CHECKING:
    from distill.export.shortlist import Shortlist
    from distill.runtime import Graphs

EXPORT_ROOMS = ("export", "runtime", "text", "tasks", "models", "evaluation", "metrics")
EXPORT_LIBRARIES = ("torch", "transformers", "onnx", "onnxruntime", "tokenizers")
FP32_TOKENS = 2048
"""Padded tokens of a batch in fp32."""
PARITY_QUESTIONS = 24
"""Validation texts that answers of torch and of the graph are compared on."""
NOT_KNOWN = Estimate(math.nan, math.nan, math.nan, "not evaluated")


class Answers(NamedTuple):
    """What a variant says of validation."""

    units: list[Logits]
    """What the task is measured by."""
    tokens: list[Logits] | None
    """Of a model that writes: the most likely token behind each true one; None where nobody asks."""


@dataclass(frozen=True)
class ExportModel(Stage):
    """ONNX in every variant, parity against torch, gates against fp32 on validation."""

    name: ClassVar[str] = "export"
    rooms: ClassVar[tuple[str, ...]] = EXPORT_ROOMS
    libraries: ClassVar[tuple[str, ...]] = EXPORT_LIBRARIES

    who: str
    model: Artifact
    settings: ExportConfig
    reading: Reading
    task: Task
    validation: Part
    pairs: Part | None = None
    """What a shortlist is learnt from; None where there is none."""
    seen: Part | None = None
    """Training texts that ranges of activations are learnt from; None where no variant asks for them."""
    lacking: tuple[str, ...] = ()
    """Variants that this processor does not run."""

    @property
    def what(self) -> str:
        """In words."""
        return f"export of the {self.who}"

    def compute(self, folder: Path, machine: Machine) -> None:
        """Leaves the graphs and ``exported.json``, and each variant's answers on validation."""
        from distill.runtime import Graphs

        parity, sources, inputs = self.fp32(folder)
        shortlist, calibration = (self.shortlist(), self.calibration()) if sources else (None, ())
        answers: dict[str, Answers] = {}
        gates: dict[str, Gate] = {}
        for variant in self.settings.made if math.isfinite(parity.max_abs_difference) else ():
            files = {role: folder / graph_file(role, variant) for role in sources}
            try:
                if variant in self.lacking:
                    raise ValueError("this processor has none of the flags that it needs")
                if variant != "fp32":
                    quantize(variant, sources, files, shortlist, calibration)
                answers[variant] = self.answers(Graphs(files), variant)
            except Exception as error:
                if variant == "fp32":
                    raise
                gates[variant] = Gate(False, NOT_KNOWN, self.settings.max_drop / 100, 0.0, f"not made: {cause(error)}")
                continue
            save_units(folder / f"validation_{variant}.npz", answers[variant].units)
            if variant != "fp32":
                gates[variant] = self.gate_of(answers["fp32"], answers[variant])
        content = {
            "roles": list(sources),
            "inputs": inputs,
            "made": list(answers),
            "parity": dataclasses.asdict(parity),
            "gates": {variant: dataclasses.asdict(gate) for variant, gate in gates.items()},
        }
        (folder / "exported.json").write_text(json.dumps(content))

    def fp32(self, folder: Path) -> tuple[Parity, dict[str, Path], tuple[str, ...]]:
        """(parity, the file of each role, inputs). A model that cannot be exported, or whose graph does not run, has
        not passed parity: that is a result, and the run goes on."""
        from distill.export.onnx_export import export_graphs
        from distill.export.parity import check_parity
        from distill.models import load_model
        from distill.models.graphs import graphs_of
        from distill.runtime import Graphs

        model = load_model(self.model.directory / "model", self.task).model
        tolerance, questions = self.settings.tolerance, list(self.validation.examples[:PARITY_QUESTIONS])
        try:
            specs = graphs_of(model, self.task)
            sources = export_graphs(specs, folder, self.settings)
            size = self.reading.vocabulary_size
            parity = check_parity(model, Graphs(sources), self.reading, self.task, questions, size, tolerance)
            return parity, sources, specs[-1].inputs  # the one that answers: a decoder comes behind its encoder
        except Exception as error:
            return Parity(False, math.inf, tolerance, 0, False, f"it could not be exported: {cause(error)}"), {}, ()

    def shortlist(self) -> "Shortlist | None":
        """Of the pairs that the student learnt on, as it reads them."""
        from distill.export.shortlist import learn_shortlist

        if self.pairs is None:
            return None
        encoded = self.task.encode(self.reading, self.pairs.examples)
        pairs = [(one.input_ids, one.target_ids) for one in encoded if len(one.target_ids)]
        always = self.reading.encode_targets([""])[0].tolist()
        return learn_shortlist(pairs, self.reading.vocabulary_size, self.settings.shortlist, always)

    def calibration(self) -> Sequence[Encoded]:
        """Some training texts from all over, as the student reads them."""
        from distill.export.calibration import CALIBRATION_TEXTS

        if self.seen is None or not self.seen.examples:
            return ()
        examples = self.seen.examples
        return self.task.encode(self.reading, examples[:: -(-len(examples) // CALIBRATION_TEXTS)])

    def answers(self, graphs: "Graphs", variant: str) -> Answers:
        """Of the task; and of that of predicting the tokens, where the gate asks for these."""
        what, task = f"{self.who} {variant} on validation", self.task
        units = answers_of(graphs, variant, self.reading, task, self.validation, what)
        if not task.writes or self.settings.min_agreement is None:
            return Answers(units, None)
        if task.predicts_tokens:
            return Answers(units, units)
        tokens = answers_of(graphs, variant, self.reading, task.next_token, self.validation, f"{what}, token by token")
        return Answers(units, tokens)

    def gate_of(self, fp32: Answers, variant: Answers) -> Gate:
        """What a variant loses against fp32."""
        from distill.evaluation import paired_difference
        from distill.evaluation.summary import statistics
        from distill.export.gate import gate

        validation, task = self.validation.examples, self.task
        both = [statistics(task, answers.units, validation)[None] for answers in (fp32, variant)]
        same = task.agreement(*(task.predictions(answers.units, validation) for answers in (fp32, variant)))
        drop, scale = paired_difference(task.metric, *both), scale_of(task.metric.name)
        tokens = least = None
        if fp32.tokens is not None and variant.tokens is not None:
            predicting, least = task.next_token, self.settings.min_agreement
            tokens = predicting.agreement(
                *(predicting.predictions(t, validation) for t in (fp32.tokens, variant.tokens))
            )
        return gate(drop, same, self.settings.max_drop, scale, tokens, least)


@dataclass(frozen=True)
class AnswerByGraph(Stage):
    """A variant's answers on test, through the runtime."""

    name: ClassVar[str] = "variant-answers"
    rooms: ClassVar[tuple[str, ...]] = ("runtime", "text", "tasks", "metrics")
    libraries: ClassVar[tuple[str, ...]] = ("onnxruntime", "tokenizers")

    who: str
    exported: Artifact
    roles: tuple[str, ...]
    variant: str
    reading: Reading
    task: Task
    texts: Part

    @property
    def what(self) -> str:
        """In words."""
        return f"{self.who} {self.variant} on test"

    def compute(self, folder: Path, machine: Machine) -> None:
        """Leaves ``test.npz``."""
        from distill.runtime import Graphs

        files = {role: self.exported.directory / graph_file(role, self.variant) for role in self.roles}
        units = answers_of(Graphs(files), self.variant, self.reading, self.task, self.texts, self.what)
        save_units(folder / "test.npz", units)


def quantize(
    variant: str,
    sources: dict[str, Path],
    targets: dict[str, Path],
    shortlist: "Shortlist | None",
    calibration: Sequence[Encoded],
) -> None:
    """Writes the graphs of a variant, whose output layer is cut to the shortlist first where its name says so."""
    from distill.export.quantize import VARIANTS, Files
    from distill.export.shortlist import shortlist_graphs

    name = variant.removesuffix(SHORTLISTED)
    if name == variant:
        VARIANTS[name]({role: Files(sources[role], file) for role, file in targets.items()}, calibration)
        return
    assert shortlist is not None
    with tempfile.TemporaryDirectory(prefix=".shortlist.", dir=next(iter(sources.values())).parent) as aside:
        cut = {role: Path(aside) / file.name for role, file in sources.items()}
        shortlist_graphs(sources, shortlist, cut)
        VARIANTS[name]({role: Files(cut[role], file) for role, file in targets.items()}, calibration)


def cause(error: Exception) -> str:
    """The first line of what torch or ONNX says, which has many kinds of errors for a model that they do not take.
    Raises the error where it is the machine's."""
    if isinstance(error, (OSError, MemoryError)):
        raise error
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__


def answers_of(graphs: "Graphs", variant: str, reading: Reading, task: Task, texts: Part, what: str) -> list[Logits]:
    """In fp32 many at once; else one at a time: int8 scales activations over a batch, and an answer must not depend on
    its neighbours."""
    from distill.runtime import ALONE, in_order, respond

    tokens = FP32_TOKENS if variant == "fp32" else ALONE
    if not task.predicts_tokens:
        return written_of(graphs, reading, task, texts, tokens, what)
    return in_order(respond(graphs.forward(task), reading, task, texts.examples, tokens, what))


def written_of(graphs: "Graphs", reading: Reading, task: Task, texts: Part, tokens: int, what: str) -> list[Logits]:
    """What is written from each source, as units."""
    from distill.runtime import generate
    from distill.runtime.forward import batches_by_tokens
    from distill.runtime.generation import writing
    from distill.tasks.text_to_text import units_of

    sources = [one.input_ids for one in task.encode(reading, texts.examples)]
    found: dict[int, Logits] = {}
    batches = batches_by_tokens([1] * len(sources), list(map(len, sources)), tokens)
    for rows in track(batches, what):
        own = [sources[row] for row in rows]
        for one in generate(graphs, own, writing(task, reading), reading.tokenizer):
            found[rows[one.row]] = units_of(one.text.strip())
    return [found[row] for row in range(len(sources))]


def export_teacher(this: Run, texts: Texts, signal: Signal) -> tuple[Exported, ...]:
    """The teacher, where it is one model.

    Raises UserError, before any student is trained, where it cannot be exported and students are made of its layers.
    """
    teacher = signal.teacher.model
    if teacher is None or (signal.ensemble and not isinstance(this.config.student, LayersStudent)):
        return ()
    settings = replace(this.config.export, shortlist=0)
    exported = export(this, "teacher", teacher, replace(texts, task=signal.task), settings)
    if not exported.made and isinstance(this.config.student, LayersStudent):
        raise UserError(
            f"the teacher does not run in ONNX, so a student of its layers does not either: {exported.parity.detail}; "
            "choose student=transformer or student=lstm"
        )
    return () if signal.ensemble else (exported,)


def export_student(this: Run, lesson: Lesson, chosen: Chosen) -> Exported:
    """The student."""
    settings, own = this.config.export, lesson.texts
    texts = replace(own, task=own.task.with_thresholds(chosen.thresholds))
    return export(this, "student", chosen.model, texts, settings, chosen.arm.part if settings.shortlist else None)


def export(
    this: Run, who: str, model: Artifact, texts: Texts, settings: ExportConfig, pairs: Part | None = None
) -> Exported:
    """One model in every variant."""
    validation = texts.dataset.part("validation")
    seen = texts.dataset.part("train", "transfer") if CALIBRATED in settings.variants else None
    lacking = tuple(variant for variant in settings.made if not runs_here(needs(variant)))
    artifact = this.artifacts.get(
        ExportModel(who, model, settings, texts.reading, texts.task, validation, pairs, seen, lacking)
    )
    left = artifact.read("exported.json")
    gates = {name: from_json(Gate, json.dumps(gate)) for name, gate in left["gates"].items()}
    parity = from_json(Parity, json.dumps(left["parity"]))
    roles, inputs, made = (tuple(left[key]) for key in ("roles", "inputs", "made"))
    return Exported(who, texts, artifact, parity, gates, roles, inputs, made)


def variant_results(this: Run, exported: tuple[Exported, ...]) -> tuple[VariantResult, ...]:
    """Every variant of every model."""
    from distill.progress import track

    files = [
        (one, variant)
        for one in exported
        for variant in this.config.export.made
        if variant == "fp32" or variant in (*one.made, *one.gates)
    ]
    return tuple(variant_result(this, one, variant) for one, variant in track(files, "measure every variant"))


def variant_result(this: Run, exported: Exported, variant: str) -> VariantResult:
    """Accuracy of a variant on test, and its figures from a fresh process."""
    from distill.evaluation import score_over_seeds
    from distill.evaluation.summary import statistics

    result = VariantResult(
        model="teacher" if exported.who == "teacher" else "student",
        variant=variant,
        shipped=False,
        parity=exported.parity if variant == "fp32" else None,
        gate=exported.gates.get(variant),
        score=None,
        measurement=None,
        needs=needs(variant),
    )
    if variant not in exported.made:
        return result
    task, test = exported.texts.task, exported.texts.dataset.test
    return replace(
        result,
        shipped=exported.who == "student" and exported.shipped(variant),
        score=score_over_seeds(task.metric, statistics(task, test_answers(this, exported, variant), test)[None]),
        measurement=measure_variant(this, exported, variant) if this.config.measure.enabled else None,
        file_bytes=exported.size(variant),
    )


def test_answers(this: Run, exported: Exported, variant: str) -> list[Logits]:
    """What a variant says of test."""
    texts, test = exported.texts, exported.texts.dataset.part("test")
    answers = this.artifacts.get(
        AnswerByGraph(exported.who, exported.artifact, exported.roles, variant, texts.reading, texts.task, test)
    )
    return load_units(answers.directory / "test.npz")
