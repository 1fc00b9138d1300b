"""What the values of a model must keep: sizes of teachers, students and tokenizers, and what a student starts from."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from distill.config.models import (
    Architecture,
    EnsembleConfig,
    LayersStudent,
    PretrainedTeacher,
    RecurrentArchitecture,
    RecurrentStudent,
    RecurrentTeacher,
    StaticArchitecture,
    StaticStudent,
    TrainedTokenizer,
    TransformerStudent,
    TransformerTeacher,
)
from distill.config.schema import Config
from distill.config.training_rules import check_train


def check_ensemble(ensemble: EnsembleConfig, require: Callable[[bool, str], None]) -> None:
    """Ranges of further teachers, and of what they weigh."""
    count = 1 + len(ensemble.teachers)
    for i, one in enumerate(ensemble.teachers):
        where = f"ensemble.teachers[{i}]"
        check_train(one.train, f"{where}.train", require)
        require(one.tries > 0, f"{where}.tries is {one.tries}; give at least 1")
        require(
            not one.trust_remote_code,
            f"{where}.trust_remote_code is true, but code is run of the first teacher alone; make it that one",
        )
    require(
        len(ensemble.weights) in (0, count),
        f"ensemble.weights is {list(ensemble.weights)}, but there are {count} teachers, the first included; give one "
        "number for each, or none",
    )
    for weight in ensemble.weights:
        require(0 < weight < math.inf, f"ensemble.weights has {weight}; give more than 0")


def check_models(config: Config, require: Callable[[bool, str], None]) -> None:
    """Sizes of student, teacher and tokenizer."""
    student = config.student
    models: dict[str, Any] = {"student": student, "teacher": config.teacher}
    for where, model in models.items():
        if isinstance(model, (TransformerStudent, TransformerTeacher)):
            check_transformer(model.architecture, f"{where}.architecture", require)
        elif isinstance(model, (RecurrentStudent, RecurrentTeacher)):
            check_sizes(
                model.architecture,
                ("layers", "embedding_size", "hidden_size"),
                f"{where}.architecture",
                require,
            )
        elif isinstance(model, StaticStudent):
            check_sizes(model.architecture, ("embedding_size", "hidden_size"), f"{where}.architecture", require)
    if "pretrained" in config.arms:
        require(
            isinstance(student, LayersStudent) and isinstance(config.teacher, PretrainedTeacher),
            "arms has 'pretrained', which starts from layers of a pretrained teacher; choose student=layers and a "
            "teacher that is a checkpoint",
        )
        require(
            isinstance(student, LayersStudent) and student.start == "checkpoint",
            "arms has 'pretrained', whose students start from layers of the teacher's checkpoint, while student.start "
            "is 'teacher': the other arms would start from layers that know the task already; set "
            "student.start=checkpoint",
        )
    if isinstance(student, LayersStudent):
        check_layers_student(student, config.arms, require)
    minimum = student.vocabulary.min_count
    require(minimum >= 1, f"student.vocabulary.min_count is {minimum}; give at least 1")
    if isinstance(config.tokenizer, TrainedTokenizer):
        size = config.tokenizer.vocabulary_size
        require(size >= 10, f"tokenizer.vocabulary_size is {size}; give at least 10, such as 8000")


def check_layers_student(student: LayersStudent, arms: Sequence[str], require: Callable[[bool, str], None]) -> None:
    """What a student of the teacher's layers keeps of them, and how it is pretrained."""
    pretraining = student.pretraining
    require(
        0 < pretraining.masked < 1,
        f"student.pretraining.masked is {pretraining.masked}; it is a share of the tokens, such as 0.15",
    )
    require(
        pretraining.max_length >= 3,
        f"student.pretraining.max_length is {pretraining.max_length}; give at least 3 tokens",
    )
    require(
        pretraining.limit is None or pretraining.limit > 0,
        f"student.pretraining.limit is {pretraining.limit}; give a number of texts, at least 1, or null for all",
    )
    for key in ("temperature", "epochs", "batch_size", "learning_rate", "teacher_epochs", "teacher_learning_rate"):
        value = getattr(pretraining, key)
        require(0 < value < math.inf, f"student.pretraining.{key} is {value}; give more than 0")
    for key in ("kl", "mlm", "cosine"):
        value = getattr(pretraining, key)
        require(0 <= value < math.inf, f"student.pretraining.{key} is {value}; it is a weight: give 0 or more")
    require(
        pretraining.kl + pretraining.mlm + pretraining.cosine > 0,
        "student.pretraining has only weights of 0; raise kl, mlm or cosine",
    )
    for key, of_what in (("feed_forward_share", "units"), ("width_share", "heads")):
        share = getattr(student, key)
        require(
            0 < share <= 1,
            f"student.{key} is {share}; it is a share of the {of_what}, above 0 and up to 1, such as 0.5",
        )
        require(
            share == 1 or "pretrained" not in arms,
            f"student.{key} is {share}, which is chosen by the task, but arms has 'pretrained', whose students "
            "learn before they see the task; set it to 1, or leave the arm out",
        )
    for key, named_key in (("count", "layers"), ("decoder_count", "decoder_layers")):
        count, named = getattr(student, key), getattr(student, named_key)
        require(
            count >= -1,
            f"student.{key} is {count}; give at least 1, or 0 for half of the teacher's, or -1 for all of them",
        )
        require(
            all(i >= 0 for i in named) and len(set(named)) == len(named),
            f"student.{named_key} is {list(named)}; give different numbers, counted from 0",
        )


def check_transformer(sizes: Architecture, where: str, require: Callable[[bool, str], None]) -> None:
    """Sizes that fit each other."""
    check_sizes(sizes, ("layers", "hidden_size", "heads", "intermediate_size"), where, require)
    require(
        sizes.hidden_size % sizes.heads == 0,
        f"{where}.hidden_size is {sizes.hidden_size} and heads is {sizes.heads}; hidden_size must be a multiple of "
        "heads",
    )
    require(
        sizes.positions != "rotary" or sizes.hidden_size // sizes.heads % 2 == 0,
        f"{where}.hidden_size is {sizes.hidden_size} and heads is {sizes.heads}; rotary positions turn pairs of "
        "dimensions, so hidden_size / heads must be even",
    )
    size = sizes.embedding_size
    require(size >= 0, f"{where}.embedding_size is {size}; give at least 1, or 0 for the hidden size")
    spread = sizes.initializer_range
    require(spread > 0, f"{where}.initializer_range is {spread}; give a standard deviation above 0, such as 0.02")


def check_sizes(
    sizes: Architecture | RecurrentArchitecture | StaticArchitecture,
    keys: tuple[str, ...],
    where: str,
    require: Callable[[bool, str], None],
) -> None:
    """Counts of at least 1, and a share that is one."""
    for key in keys:
        value = getattr(sizes, key)
        require(value > 0, f"{where}.{key} is {value}; give at least 1")
    require(0 <= sizes.dropout < 1, f"{where}.dropout is {sizes.dropout}; it is a share, from 0 to below 1")
