"""The teacher: as it is, fine-tuned, or trained from nothing."""

import dataclasses
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from distill.config import (
    AugmentConfig,
    HardTerm,
    LayersStudent,
    ObjectiveConfig,
    PretrainedTeacher,
    ProbabilitiesTeacher,
    RecurrentStudent,
    RecurrentTeacher,
    StaticStudent,
    TransformerStudent,
    TransformerTeacher,
)
from distill.config.data import NO_MATTER
from distill.errors import UserError, about
from distill.results import Candidate, CurvePoint
from distill.stages.artifacts import Artifact
from distill.stages.checkpoint import NO_LABELS
from distill.stages.context import Run, Teacher, Texts
from distill.stages.stage import TRAINING_LIBRARIES, TRAINING_ROOMS, Stage
from distill.stages.tokens import Tokens, tokens_of
from distill.tasks import Task
from distill.text import Reading
from distill.training.devices import Machine

StudentConfig = LayersStudent | TransformerStudent | RecurrentStudent | StaticStudent
NO_FOLDS = (
    "but the teacher is taken as it is and not trained here, so there is no training to repeat without some of the "
    "texts; leave it out, or set teacher.fine_tune=always"
)
"""Why there is no cross-fitting, behind the setting."""
PADDING_MEND = "state pad_token_id in its config.json where that is missing"


@dataclass(frozen=True)
class TrainTeacher(Stage):
    """One training of the teacher; a model that answers the task already is taken as it is."""

    name: ClassVar[str] = "teacher"
    rooms: ClassVar[tuple[str, ...]] = TRAINING_ROOMS
    libraries: ClassVar[tuple[str, ...]] = TRAINING_LIBRARIES
    together: ClassVar[bool] = True
    on_device: ClassVar[bool] = True

    model: PretrainedTeacher | TransformerTeacher | RecurrentTeacher
    """Narrowed to one learning rate."""
    seed: int
    new_pooler: bool
    """Starts with random weights in the pooler of its head, where there is one."""
    reading: Reading
    task: Task
    texts: Tokens
    validation: Tokens
    paired: bool
    students: tuple[StudentConfig, ...] = field(metadata=NO_MATTER)
    """The student, then its assistants. Layers that they start from are looked for before the training, not after. All
    students share the teacher."""
    objective: ObjectiveConfig = field(metadata=NO_MATTER)
    """What its terms look at inside the teacher is looked for too."""
    augment: AugmentConfig = field(metadata=NO_MATTER)
    """So is the head that finds masked tokens, where texts are made with it."""
    without: str = field(default="", metadata=NO_MATTER)
    """Which fold of the texts was left out, in words; the texts themselves say it."""
    key: str = field(default="teacher", metadata=NO_MATTER)
    """The recipe's section that it is of, for messages."""

    @property
    def rate(self) -> float:
        """The learning rate."""
        return self.model.train.learning_rates[0]

    @property
    def what(self) -> str:
        """In words."""
        if self.taken_as_it_is:
            return "teacher, taken as it is"
        who = f"teacher without {self.without}" if self.without else "teacher"
        return f"{who}, seed {self.seed}, learning rate {self.rate:g}{', new pooler' if self.new_pooler else ''}"

    @property
    def taken_as_it_is(self) -> bool:
        """Whether that is known before the teacher is read; where it is not, its configuration decides."""
        if not isinstance(self.model, PretrainedTeacher):
            return False
        fine_tune = self.model.fine_tune
        return fine_tune == "never" or self.task.kind == "vector" or (self.task.writes and fine_tune == "auto")

    def compute(self, folder: Path, machine: Machine) -> None:
        """Leaves ``model`` and ``result.json``; its ``padding`` says why texts cannot be padded, where that is so."""
        from distill.models import save_model, start_at_the_mean
        from distill.models.answers import fault_of_padding
        from distill.models.masked import check_masked_lm
        from distill.models.teachers import renew_pooler
        from distill.objectives import Objective
        from distill.training import Problem, State, train

        if isinstance(self.model, PretrainedTeacher) and self.model.sharded and not machine.is_main:
            return  # it is taken as it is, and one process of a machine that loads it whole is enough
        if isinstance(self.model, PretrainedTeacher) and self.augment.asks_masked_lm:
            check_masked_lm(self.model, self.reading.special_tokens.get("mask_token"))
        loaded, fine_tuned = self.start()
        result: dict[str, Any] = {"fine_tuned_before": fine_tuned, "validation": None}
        self.check_students(loaded.model)
        known = self.texts.encoded or self.validation.encoded  # without labels there is no training text
        result["padding"] = fault_of_padding(loaded.model, self.reading, self.task.next_token, known)
        if result["padding"] and not fine_tuned:
            raise UserError(
                f"{result['padding']}, so it cannot be trained in batches; {PADDING_MEND}, or take a teacher that is "
                "fine-tuned already, which is asked about one text at a time, and student=transformer or student=lstm"
            )
        if not fine_tuned:
            if not self.texts.examples:
                raise UserError(NO_LABELS)
            start_at_the_mean(loaded.model, self.task, self.texts.examples)
            renewed = self.new_pooler and renew_pooler(loaded.model)
            problem = Problem(
                loaded.model,
                Objective.of([HardTerm("hard")], self.task.kind),
                None,
                self.texts.rows(self.task, self.reading),
                self.validation.rows(self.task, self.reading),
                self.model.train,
                self.rate,
                self.seed,
                self.what,
                f"{self.key}.train.learning_rates",
                f"{self.key}.train.clip",
            )
            trained = train(problem, State(folder / "work"), machine)
            what = f"seed {self.seed}" + (", pooler re-initialised" if renewed else "")
            result |= {
                **dataclasses.asdict(trained),
                "learning_rate": self.rate,
                "what": what,
                "budget": self.model.train.steps,
            }
        if not machine.is_main:
            return
        shutil.rmtree(folder / "work", ignore_errors=True)
        save_model(loaded, folder / "model", self.reading.max_length)
        result["parameters"] = sum(p.numel() for p in loaded.model.parameters())
        (folder / "result.json").write_text(json.dumps(result))

    def check_students(self, model: Any) -> None:
        """Raises UserError where a student cannot be made of the model, or compared with it."""
        from distill.models.students import check_layers
        from distill.models.width import check_narrowed
        from distill.models.word_embeddings import check_embeddings
        from distill.training.inside import check_inside

        for i, student in enumerate(self.students):
            with about(f"assistant[{i - 1}], as a student" if i else ""):
                if isinstance(student, LayersStudent):
                    check_layers(student, model)
                    check_narrowed(student, model)
                if isinstance(student, TransformerStudent):
                    check_embeddings(student, model)
                if isinstance(student, LayersStudent | TransformerStudent):
                    check_inside(self.objective, student, model, self.task)

    def start(self) -> tuple[Any, bool]:
        """The model with its first weights, and whether it answers the task already."""
        import torch

        from distill.models import build_recurrent, build_transformer, load_teacher

        if isinstance(self.model, PretrainedTeacher):
            torch.manual_seed(self.seed)  # a new head starts from random weights
            teacher = load_teacher(self.model, self.task, self.key)
            return teacher.loaded, teacher.fine_tuned
        reads: Any = (self.reading.tokenizer, {}, self.task, self.reading.max_length, self.seed, self.paired)
        if isinstance(self.model, RecurrentTeacher):
            return build_recurrent(self.model.architecture, *reads), False
        return build_transformer(self.model.architecture, *reads), False


def prepare_teacher(this: Run, texts: Texts) -> Teacher:
    """A model that answers the task: as it is, or the best on validation of several trainings.

    Each learning rate is tried with the first seed. Then, at the best one, further tries start from other seeds, the
    pooler from random weights where the head reads one: a checkpoint whose own training never used it (as of sentence
    encoders) holds weights there that fit nothing.
    """
    return find_teacher(this, texts, (this.config.student, *this.config.assistant))


def find_teacher(this: Run, texts: Texts, students: tuple[StudentConfig, ...], key: str = "teacher") -> Teacher:
    """The same, where other students start from it, or none. ``key`` is the recipe's section of it, for messages."""
    settings = this.config.teacher
    if isinstance(settings, ProbabilitiesTeacher):
        return Teacher(None, (), {}, ())
    seed = this.config.seeds[0]
    asked: list[TrainTeacher] = []
    tried: list[Artifact] = []

    def attempt(rate: float, seed: int, new_pooler: bool) -> None:
        asked.append(dataclasses.replace(training_of(this, texts, students, rate, seed, new_pooler), key=key))
        tried.append(this.artifacts.get(asked[-1]))

    for rate in settings.train.learning_rates:
        attempt(rate, seed, False)
        found = tried[0].read("result.json")
        if found["fine_tuned_before"]:
            if found["padding"] and any(isinstance(one, LayersStudent) for one in students):
                raise UserError(
                    f"{found['padding']}, so a student of its layers cannot be trained in batches; choose "
                    f"student=transformer or student=lstm, or {PADDING_MEND}"
                )
            if settings.folds > 1:
                raise UserError(f"teacher.folds is {settings.folds}, {NO_FOLDS}")
            return Teacher(tried[0], (), found, (tried[0].cost,))
    rate = best_of(tried).read("result.json")["learning_rate"]
    for more in range(1, settings.tries):
        attempt(rate, seed + more, True)
    best = best_of(tried)
    candidates = tuple(candidate_of(one.read("result.json")) for one in tried)
    chosen = asked[tried.index(best)]
    return Teacher(best, candidates, best.read("result.json"), tuple(one.cost for one in tried), chosen)


def training_of(
    this: Run,
    texts: Texts,
    students: tuple[StudentConfig, ...],
    rate: float,
    seed: int,
    new_pooler: bool,
) -> TrainTeacher:
    """One training of the search."""
    settings = this.config.teacher
    assert not isinstance(settings, ProbabilitiesTeacher)
    train = dataclasses.replace(settings.train, learning_rates=(rate,))
    return TrainTeacher(
        model=dataclasses.replace(settings, train=train, tries=1),
        seed=seed,
        new_pooler=new_pooler,
        reading=texts.reading,
        task=texts.task,
        texts=tokens_of(this, texts, texts.dataset.part("train")),
        validation=tokens_of(this, texts, texts.dataset.part("validation")),
        paired=texts.paired,
        students=students,
        objective=this.config.objective,
        augment=this.config.augment,
    )


def best_of(trainings: list[Artifact]) -> Artifact:
    """The one that is best on validation; of equals the first."""
    return max(trainings, key=lambda one: float(one.read("result.json")["validation"]))


def candidate_of(result: dict[str, Any]) -> Candidate:
    """What the report says of a training of a search."""
    return Candidate(
        result["learning_rate"],
        result["validation"],
        what=result.get("what", ""),
        best_step=result["best_step"],
        steps=result["steps"],
        curve=tuple(CurvePoint(**point) for point in result["curve"]),
    )
