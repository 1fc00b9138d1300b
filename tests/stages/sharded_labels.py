"""One process of several that label texts with a teacher of which each has a part: ``python sharded_labels.py FOLDER
OUTPUTS [RANK NTH]``. The process RANK is killed behind the NTH answer that it keeps; one that keeps none, within its
NTH forward pass."""

import json
import os
import random
import signal as signals
import sys
from pathlib import Path
from typing import Any

from little_world import review
from tiny_writers import DECODER
from tokenizers import Tokenizer

from distill import tasks
from distill.config import Architecture
from distill.data import Dataset
from distill.measure import EnergyMeter
from distill.models import build_transformer, save_model
from distill.models.loading import LoadedModel
from distill.results import Figure, StageCost
from distill.stages.artifacts import Artifact, Artifacts
from distill.stages.signal import LabelTexts
from distill.stages.tokens import ReadTexts, Tokens
from distill.tasks import Task
from distill.text import Example, Reading
from distill.training import loop, sharded, state
from distill.training.devices import Machine, end_one_of_several

CLASSES = tasks.build("text-classification", ("fresh", "rotten", "neither"))
WORDS = tasks.build("token-classification", ("O", "B-X", "I-X"))
WRITES = tasks.build("language-modelling", ())
SCENES: dict[str, tuple[str, Task, int]] = {
    "many texts": ("classes", CLASSES, 90),
    "fewer texts than processes": ("classes", CLASSES, 1),
    "texts one by one": ("one by one", CLASSES, 5),
    "words": ("words", WORDS, 7),
    "a language model": ("writes", WRITES, 7),
}
"""Name of the teacher, task, texts."""
TOKENS = 100
"""Of a batch that one process answers: few, so that there are many batches."""


def write_teachers(folder: Path, tokenizer: Tokenizer) -> None:
    """One a task, with so large weights that each says something else of each text."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    small = Architecture(layers=3, hidden_size=16, heads=2, intermediate_size=32, initializer_range=0.3)
    for name, task in {"classes": CLASSES, "one by one": CLASSES, "words": WORDS}.items():
        save_model(build_transformer(small, tokenizer, {}, task, 24, 0), folder / name / "model", 24)
        (folder / name / "result.json").write_text(json.dumps({"padding": "none" if name == "one by one" else ""}))
    torch.manual_seed(0)
    config = LlamaConfig(**{**DECODER, "vocab_size": tokenizer.get_vocab_size(), "initializer_range": 0.3})
    save_model(LoadedModel(LlamaForCausalLM(config), tokenizer), folder / "writes/model", 24)
    (folder / "writes/result.json").write_text('{"padding": ""}')


def stage_of(folder: Path, artifacts: Artifacts, scene: str, in_parts: bool) -> LabelTexts:
    name, task, count = SCENES[scene]
    generator = random.Random(4)
    texts = [review(generator)[0] for _ in range(count)]
    examples = tuple(Example(tuple(text.split()) if task.words else text) for text in texts)
    part = Dataset(examples, (), (), (), (), {}, "", "", ()).part("train")
    reading = Reading(Tokenizer.from_file(str(folder / name / "model/tokenizer.json")), 24)
    teacher = Artifact(folder / name, name, StageCost("", 0.0, Figure(0.0, "J", "estimated", "")))
    read = Tokens(part, artifacts.get(ReadTexts(reading, task, part)))
    return LabelTexts(teacher, reading, task, read, True, in_parts)


def label_all(folder: Path, outputs: Path, in_parts: bool) -> dict[str, Path]:
    """Where the labels of each scene lie."""
    machine = Machine("cpu", "fp32", "as asked for", 1)
    artifacts = Artifacts(outputs, machine, lambda: EnergyMeter("cpu", 1.0))
    stages = {scene: stage_of(folder, artifacts, scene, in_parts) for scene in SCENES}
    return {scene: artifacts.get(stage).directory / "store" for scene, stage in stages.items()}


def main(folder: Path, outputs: Path, dies: int = -1, dies_at: int = 0) -> None:
    rank, held, passes = int(os.environ["RANK"]), list[Any](), list[int]()
    spread, forward_of, save = sharded.spread, sharded.forward_of, state.Answers.save

    def looked_at(model: Any, machine: Machine) -> None:
        whole = sum(p.numel() for p in model.parameters())
        spread(model, machine)
        held.append([sum(p.to_local().numel() for p in model.parameters()), whole])
        passes.append(0)

    def counted(*given: Any) -> Any:
        forward = forward_of(*given)

        def call(arrays: Any) -> Any:
            passes[-1] += 1
            if dies == rank > 0 and passes == [dies_at]:
                os.kill(os.getpid(), signals.SIGKILL)
            return forward(arrays)

        return call

    def killed(answers: state.Answers) -> None:
        save(answers)
        if dies == rank and len(answers.files) == dies_at:
            os.kill(os.getpid(), signals.SIGKILL)

    sharded.spread, sharded.forward_of, state.Answers.save = looked_at, counted, killed  # type: ignore[method-assign]
    loop.TOKENS, state.ANSWERS_SECONDS = TOKENS, -1
    found = {scene: str(store) for scene, store in label_all(folder, outputs, True).items()}
    told = {"stores": found, "held": held, "passes": passes}
    (outputs / f"rank-{rank}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
    end_one_of_several(0)
