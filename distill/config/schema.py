"""A whole recipe, and what it exports, must keep, measures and shows, one dataclass a node of the configuration. A
default is what holds where no YAML file says otherwise."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from distill.config.data import NO_MATTER, DataConfig, TaskConfig
from distill.config.models import (
    EnsembleConfig,
    LayersStudent,
    PretrainedTeacher,
    ProbabilitiesTeacher,
    RecurrentStudent,
    RecurrentTeacher,
    SourceTokenizer,
    StaticStudent,
    TeacherTokenizer,
    TrainedTokenizer,
    TransformerStudent,
    TransformerTeacher,
)
from distill.config.steps import AugmentConfig, CompressionConfig
from distill.config.terms import InsideTerm
from distill.config.training import ObjectiveConfig, TrainConfig

SHORTLISTED = "_shortlist"
"""What the name of a variant with a vocabulary shortlist ends with."""
CALIBRATED = "int8_static"
"""The variant that looks at training texts."""
VNNI = ("avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8", "asimddp", "i8mm")
"""Flags of processors, on x86 and ARM, that add products of bytes in 32 bits."""


def needs(variant: str) -> tuple[str, ...]:
    """Flags of processors of which a variant needs one; none where it runs everywhere."""
    return VNNI if variant.removesuffix(SHORTLISTED) == "int8_vnni" else ()


@dataclass(frozen=True)
class ExportConfig:
    """What is exported, and what it must keep."""

    variants: tuple[str, ...] = ("fp32", "int8")
    shortlist: int = 0
    """Of a student that writes a text from another one: beside each quantized variant one, ``int8_shortlist``, that
    scores only so many of the likeliest target tokens of each source token, and the most frequent ones. 0: none."""
    max_drop: float = 1.0
    """Points (hundredths of a score) that a quantized variant may lose against fp32 on validation; 1 is 0.01 bits per
    byte."""
    min_agreement: float | None = 0.9
    """Share of the tokens of validation at which, behind the true ones, a quantized variant of a model that writes must
    find the same one most likely as fp32 does: where one in ten is another, a text soon is, too, though a mean over all
    tokens hardly moves. None: not asked."""
    tolerance: float = 1e-4
    """Largest absolute difference of logits between fp32 ONNX and torch."""
    exporter: Literal["legacy", "dynamo"] = "legacy"
    """``legacy``, the tracing exporter, is the quicker one and writes an equally fast graph."""
    opset: int = 20

    @property
    def made(self) -> tuple[str, ...]:
        """All variants, those with a shortlist behind the others."""
        quantized = [name for name in self.variants if name != "fp32" and self.shortlist]
        return (*self.variants, *(f"{name}{SHORTLISTED}" for name in quantized))


@dataclass(frozen=True)
class CascadeConfig:
    """Two models in one bundle: the student answers where it is sure, else the teacher."""

    max_drop: float = 0.5
    """Points (hundredths of the share of right answers) that it may lose against the teacher: a one-sided 95 % bound on
    validation. The threshold is the one with the fewest calls of the teacher."""


@dataclass(frozen=True)
class TargetConfig:
    """What the bundle must keep, any of it: its default variant is the smallest that does (the fastest, where a latency
    and no size is asked for); a run in which none does exits with status 1."""

    drop: float | None = None
    """Points (as of ``export.max_drop``) that may be lost to the teacher on validation."""
    size_mb: float | None = None
    """MB (1e6 bytes) of the model file."""
    latency_ms: float | None = None
    """Median of one text at a time, at its real length."""
    memory_mb: float | None = None
    """Peak of the process."""

    @property
    def limits(self) -> dict[str, float]:
        """Those that are asked for."""
        return {name: limit for name, limit in vars(self).items() if limit is not None}


@dataclass(frozen=True)
class MeasureConfig:
    """How inference is measured."""

    enabled: bool = field(default=True, metadata=NO_MATTER)
    threads: int = 1
    seconds: float = 2.0
    """How long each figure is measured for, after warm-up."""
    watts_per_core: float = 10.0
    """For the estimate of energy where no counter exists."""


@dataclass(frozen=True)
class ReportConfig:
    """What the report may show."""

    show_texts: bool = False
    look_inside: bool = False
    """Attention of teacher and exported student on one test text, and how well each of their layers tells labels."""


Arm = Literal[
    "linear",
    "static",
    "hard",
    "hard+augmented",
    "soft",
    "soft+transfer",
    "soft+assistant",
    "soft+transfer+assistant",
    "pseudo+transfer",
    "pretrained",
    "sequence",
    "sequence+soft",
    "gkd",
]
"""What is compared: see ``distill/training/arms.py``."""

DEFAULT_ARMS: tuple[tuple[Arm, ...], ...] = (
    ("linear", "hard", "soft", "soft+transfer"),
    ("hard", "soft", "soft+transfer"),
)
"""Of most tasks, and of question answering (``conf/task/question_answering.yaml``). Where there are no texts for the
last arm, it is left out."""
STATIC_STEPS, STATIC_RATES = 1500, (1e-3, 3e-3)
"""Budget and learning rates of the arm ``static``, as of ``conf/student/static.yaml``."""
ASSISTED = "+assistant"
"""What the name of an arm ends with that an assistant teaches."""


@dataclass(frozen=True)
class Config:
    """A whole recipe."""

    name: str
    """Name of the bundle and of the run."""
    recipe: str
    data: DataConfig
    teacher: PretrainedTeacher | TransformerTeacher | RecurrentTeacher | ProbabilitiesTeacher
    student: LayersStudent | TransformerStudent | RecurrentStudent | StaticStudent
    assistant: tuple[LayersStudent | TransformerStudent | RecurrentStudent | StaticStudent, ...] = ()
    """A model between teacher and student, or several, each taught by the one before it: what teaches the arms that end
    with ``+assistant``."""
    ensemble: EnsembleConfig = EnsembleConfig()
    task: TaskConfig = TaskConfig()
    augment: AugmentConfig = AugmentConfig()
    tokenizer: TeacherTokenizer | TrainedTokenizer | SourceTokenizer = TeacherTokenizer("teacher")
    objective: ObjectiveConfig = ObjectiveConfig()
    train: TrainConfig = TrainConfig()
    """Training of the students: one budget for all arms."""
    compression: CompressionConfig = CompressionConfig()
    export: ExportConfig = ExportConfig()
    cascade: CascadeConfig | None = None
    """None: the bundle holds the student alone."""
    target: TargetConfig | None = None
    """None: the smallest variant that passes its gate is the default one."""
    measure: MeasureConfig = MeasureConfig()
    report: ReportConfig = ReportConfig()
    arms: tuple[Arm, ...] = DEFAULT_ARMS[0]
    seeds: tuple[int, ...] = (0, 1, 2)
    threads: int | None = None
    """Threads of torch. None: the number of cores this process may use."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """``auto``: bf16 on a GPU that has it, and on a CPU that has it where a probe finds it faster; else fp32."""
    teacher_floor: bool = True
    """Stop where the teacher is not shown to be better than the majority class on validation."""
    max_teacher_drop: float | None = None
    """Points (as of ``export.max_drop``) that the exported model may lose against the teacher on test; a run that
    misses it exits with status 1."""
    outputs: str = "outputs"
    exports: str = "exports"

    @property
    def folds(self) -> int:
        """Of the teacher's cross-fitting; 1: none."""
        return 1 if isinstance(self.teacher, ProbabilitiesTeacher) else self.teacher.folds

    @property
    def sharded(self) -> bool:
        """Whether each process has a part of the teacher."""
        return isinstance(self.teacher, PretrainedTeacher) and self.teacher.sharded

    @property
    def others(self) -> tuple["Config", ...]:
        """The recipe with each further teacher in the first one's place. Where a checkpoint stands there twice, the
        seeds of its later trainings begin behind those of the earlier ones: else both were the same. The first alone
        is asked for what augments texts."""
        found, before = list[Config](), [self.teacher]
        for one in self.ensemble.teachers:
            same = [t for t in before if isinstance(t, PretrainedTeacher) and t.source == one.source]
            first = self.seeds[0] + sum(t.tries for t in same)
            found.append(replace(self, teacher=one, seeds=(first,), augment=AugmentConfig()))
            before.append(one)
        return tuple(found)

    @property
    def static(self) -> "Config | None":
        """The recipe with a static student in the student's place, as the arm ``static`` trains it: from soft labels,
        on the texts without labels too where another arm does. Of the objective it has the terms that read answers
        (:meth:`ObjectiveConfig.without`). None without that arm."""
        if "static" not in self.arms:
            return None
        base: Arm = "soft+transfer" if "soft+transfer" in self.arms else "soft"
        start: Literal["layers", "random"] = "random" if isinstance(self.teacher, ProbabilitiesTeacher) else "layers"
        return replace(
            self,
            student=StaticStudent("static", start=start, vocabulary=self.student.vocabulary),
            assistant=(),
            arms=("linear", base) if "linear" in self.arms else (base,),
            objective=replace(self.objective.without(InsideTerm), replacing=()),
            train=replace(self.train, steps=STATIC_STEPS, learning_rates=STATIC_RATES),
        )

    @property
    def assisted(self) -> tuple["Config", ...]:
        """The recipe with each assistant in the student's place: it is trained as the arms that it teaches are without
        it, with one seed."""
        arms = {arm: arm.removesuffix(ASSISTED) for arm in self.arms}
        own: Any = tuple(base for arm, base in arms.items() if arm == "linear" or arm != base)
        return tuple(replace(self, student=one, assistant=(), arms=own, seeds=self.seeds[:1]) for one in self.assistant)
