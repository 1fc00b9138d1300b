"""A rule that a tiny model learns in seconds, and what a training needs around it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from distill import tasks
from distill.config import Architecture, HardTerm, KlTerm, TrainConfig
from distill.models import build_transformer
from distill.objectives import Objective
from distill.tasks import Task
from distill.text import Example, Reading
from distill.training import (
    Machine,
    Problem,
    Rows,
    SoftLabelStore,
    State,
    Stored,
    TrainingResult,
    find_machine,
    train,
)

WORDS = ("movie", "plot", "actor", "scene", "story", "camera", "music", "end")
LABELS = ("bad", "good")
TINY = Architecture(layers=1, hidden_size=16, heads=2, intermediate_size=32, dropout=0.1, norm="pre")
HARD = [HardTerm("hard")]
SOFT = [HardTerm("hard", 0.1), KlTerm("kl", 0.9, 2.0)]


def labelled(count: int, seed: int) -> list[Example]:
    """Sentences of two to nine words, good or bad by one of them; no two alike."""
    random = np.random.default_rng(seed)
    made: dict[bytes, Example] = {}
    while len(made) < count:
        label = LABELS[random.integers(2)]
        words = [*random.choice(WORDS, random.integers(1, 9)), {"bad": "awful", "good": "superb"}[label]]
        example = Example(" ".join(random.permutation(words)), label=label)
        made.setdefault(example.key, example)
    return list(made.values())


def tagged(count: int, seed: int) -> list[Example]:
    """Sentences whose words alone decide their tags."""
    return [
        Example(words, label=tuple("B-x" if word in WORDS[:3] else "O" for word in words))
        for words in (tuple(e.text.split()) for e in labelled(count, seed) if isinstance(e.text, str))
    ]


@dataclass(frozen=True)
class Setting:
    """Everything but the arm."""

    task: Task
    encoder: Reading
    texts: list[Example]
    validation: list[Example]
    machine: Machine

    def model(self, seed: int = 0, dropout: float = 0.1) -> Any:
        architecture = Architecture(**{**TINY.__dict__, "dropout": dropout})
        return build_transformer(architecture, self.encoder.tokenizer, {}, self.task, 16, seed).model

    def run(
        self,
        model: Any,
        config: TrainConfig,
        *,
        terms: Any = None,
        store: SoftLabelStore | None = None,
        seed: int = 0,
        rate: float = 5e-3,
        directory: Path | None = None,
    ) -> TrainingResult:
        problem = self.problem(model, config, terms=terms, store=store, seed=seed, rate=rate)
        return train(problem, None if directory is None else State(directory), self.machine)

    def problem(
        self,
        model: Any,
        config: TrainConfig,
        *,
        terms: Any = None,
        store: SoftLabelStore | None = None,
        seed: int = 0,
        rate: float = 5e-3,
    ) -> Problem:
        texts, validation = (Rows.read(self.task, self.encoder, part) for part in (self.texts, self.validation))
        signal = None if store is None else Stored(store, self.texts)
        return Problem(model, Objective.of(terms or HARD), signal, texts, validation, config, rate, seed, "test")

    def store(self, directory: Path, seed: int = 0) -> SoftLabelStore:
        """A teacher's logits for the training texts: right, and not sure."""
        random = np.random.default_rng(seed)
        units = []
        for example in self.texts:
            targets = self.task.targets(example)
            logits = random.normal(size=(len(targets), len(self.task.labels)))
            logits[np.arange(len(targets)), targets] += 2
            units.append(logits.astype(np.float32))
        SoftLabelStore.write(directory, self.texts, units)
        return SoftLabelStore(directory)


def whole_words() -> Tokenizer:
    """A word a piece, under ids that are the same in every process."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "awful", "superb"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def make_setting(texts: int = 48, validation: int = 24, words: bool = False) -> Setting:
    make = tagged if words else labelled
    task = tasks.build(*(("token-classification", ("B-x", "O")) if words else ("text-classification", LABELS)))
    rows = make(texts + validation, 1)
    encoder = Reading(whole_words(), 16)
    machine = find_machine("cpu", "fp32", 1)
    return Setting(task, encoder, rows[:texts], rows[texts:], machine)


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def largest_difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert list(one) == list(other)
    return max(float((one[name] - other[name]).abs().max()) for name in one)
