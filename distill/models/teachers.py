"""Teachers that transformers' auto classes load: fine-tuned already, or to be fine-tuned by the recipe."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import cached_file

from distill.config import PretrainedTeacher
from distill.errors import UserError, nearest
from distill.models.loading import LoadedModel, auto_class, label_settings, load_config, load_tokenizer
from distill.sources import locate
from distill.tasks import Task
from distill.text import Example

OFFSET_POSITIONS = ("roberta", "xlm-roberta", "camembert", "mpnet", "longformer")
"""Families that number positions from the padding id + 1 on."""


@dataclass(frozen=True)
class Teacher:
    """A loaded teacher, and whether it still has to be fine-tuned."""

    loaded: LoadedModel
    fine_tuned: bool
    longest: int
    """Tokens it takes, special tokens counted."""


def load_teacher(config: PretrainedTeacher, task: Task | None) -> Teacher:
    """Loads a teacher for a task, its logits in the order of the task's labels. Weights are read in float32.

    Raises UserError where nothing is there, where the checkpoint's labels are not the data's, or where they are
    ``LABEL_0`` … without a map.
    """
    location, revision = (
        (config.source.hub, config.source.revision) if config.source.hub else (str(locate(config.source)), None)
    )
    trust = config.trust_remote_code
    settings = load_config(str(location), revision, trust)
    tokenizer, roles, stated = load_tokenizer(str(location), revision, trust)
    longest = min(stated, longest_input(settings))
    if task is None:
        raise ValueError("a task is needed to load a teacher")
    has_head = has_head_for(settings, type(task))
    fine_tuned = config.fine_tune == "never" or (config.fine_tune == "auto" and has_head)
    if task.kind == "vector":  # its vectors are what it is for; there is nothing to fine-tune it on
        fine_tuned = has_head = True
        check_pooling(str(location), revision)
    if config.fine_tune == "never" and not has_head:
        raise UserError(
            f"teacher.fine_tune is never, but {location} has no head for {task.name} "
            f"(it is {', '.join(settings.architectures or ['of no stated architecture'])}); set it to auto"
        )
    matched = fine_tuned and task.labelled
    order = match_labels(settings.id2label, config.label_map, task, str(location)) if matched else None
    extra = {} if fine_tuned else {**label_settings(task), "ignore_mismatched_sizes": True}
    try:
        model = auto_class(task).from_pretrained(
            location, revision=revision, trust_remote_code=trust, dtype=torch.float32, **extra
        )
    except (OSError, ValueError) as error:
        raise UserError(f"the teacher {location} cannot be loaded for {task.name}: {error}") from error
    if order is not None:
        permute_labels(model, order)
        for key, value in label_settings(task).items():
            setattr(model.config, key, value)
    return Teacher(LoadedModel(model.eval(), tokenizer, roles), fine_tuned, longest)


def check_pooling(location: str, revision: str | None) -> None:
    """Raises UserError for a sentence-transformers model whose vectors are not the mean over its tokens."""
    found = cached_file(
        location, "1_Pooling/config.json", revision=revision, _raise_exceptions_for_missing_entries=False
    )
    if found is None:
        return
    settings = json.loads(Path(found).read_text(encoding="utf-8"))
    modes = [name for name, on in settings.items() if name.startswith("pooling_mode_") and on is True]
    if modes and modes != ["pooling_mode_mean_tokens"]:
        raise UserError(
            f"{location} makes its vectors by {', '.join(modes)} (1_Pooling/config.json); teachers of sentence "
            "embeddings are read by the mean over their tokens alone: take one with pooling_mode_mean_tokens"
        )


def has_head_for(settings: Any, task: type[Task]) -> bool:
    """Whether a checkpoint of this configuration answers a task. Tasks that share a head are told apart by
    ``problem_type`` and the number of outputs."""
    suffix = f"For{task.head}" if task.head else "Model"
    if not any(str(a).endswith(suffix) for a in settings.architectures or ()):
        return False
    if task.problem_type is None:
        return True
    kind = settings.problem_type or ("regression" if settings.num_labels == 1 else "single_label_classification")
    return bool(kind == task.problem_type)


def longest_input(settings: object) -> int:
    """Tokens that the position embeddings allow."""
    positions = int(getattr(settings, "max_position_embeddings", None) or 10**6)
    if getattr(settings, "model_type", "") in OFFSET_POSITIONS:
        positions -= int(getattr(settings, "pad_token_id", None) or 0) + 1
    return positions


def match_labels(id2label: dict[int, str], label_map: dict[str, str], task: Task, location: str) -> list[int]:
    """For each label of the task, its index in the checkpoint. Labels are matched by name, never by index."""
    names = [label_map.get(id2label[i], id2label[i]) for i in sorted(id2label)]
    unknown = sorted(set(label_map) - set(id2label.values()))
    if unknown:
        raise UserError(
            f"teacher.label_map names '{unknown[0]}', which is no label of {location}"
            f"{nearest(unknown[0], id2label.values())}"
        )
    unnamed = [name for name in names if re.fullmatch(r"LABEL_\d+", name) and name not in task.output_names]
    if unnamed:
        raise UserError(
            f"the teacher {location} calls its labels {', '.join(unnamed[:3])}: nothing says which is which; name them "
            f"with teacher.label_map, such as {{{unnamed[0]}: {task.output_names[0]}}}"
        )
    if sorted(names) != sorted(task.output_names):
        raise UserError(
            f"the teacher's labels differ from the data's: {', '.join(names)} against {', '.join(task.output_names)}; "
            "name them alike with teacher.label_map or data.label_map"
        )
    return [names.index(label) for label in task.output_names]


def output_layer(model: PreTrainedModel) -> nn.Linear:
    """The layer that gives the logits. Raises UserError where no such layer is found."""
    layers = [m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == model.config.num_labels]
    if not layers:
        raise UserError(f"no output layer with {model.config.num_labels} labels found in {type(model).__name__}")
    return layers[-1]


@torch.no_grad()
def start_at_the_mean(model: PreTrainedModel, task: Task, examples: Sequence[Example]) -> None:
    """Sets the bias of a new output layer to the answer that fits the examples best without looking at them: the
    log-odds of each label, or the mean number.

    From 0, a model with many rare labels first bends all of its features into that constant, and some never recover.
    """
    if task.kind not in ("bernoulli", "number") or not examples:
        return
    targets = np.concatenate([task.targets(e) for e in examples])
    mean = targets[~np.isnan(targets).any(axis=1)].mean(axis=0)
    if task.kind == "bernoulli":
        share = mean.clip(0.5 / len(examples), 1 - 0.5 / len(examples))
        mean = np.log(share / (1 - share))
    output_layer(model).bias.copy_(torch.from_numpy(mean.astype(np.float32)))


@torch.no_grad()
def renew_pooler(model: PreTrainedModel) -> bool:
    """Puts random weights, as its configuration draws them, into the layer between the first token and the output
    layer. False where the model has no such layer."""
    pooler = getattr(model.base_model, "pooler", None)
    layers = [] if pooler is None else [m for m in pooler.modules() if isinstance(m, nn.Linear)]
    for layer in layers:
        layer.weight.normal_(0.0, float(getattr(model.config, "initializer_range", 0.02)))
        if layer.bias is not None:
            layer.bias.zero_()
    return bool(layers)


@torch.no_grad()
def permute_labels(model: PreTrainedModel, order: list[int]) -> None:
    """Reorders the rows of the output layer, so that logit i is the label that was ``order[i]``.

    Checked on an input: raises UserError where the logits did not follow.
    """
    if order == sorted(order):
        return
    model.eval()
    probe = torch.arange(5, 9).reshape(1, 4) % model.config.vocab_size
    before = model(input_ids=probe, attention_mask=torch.ones_like(probe)).logits
    layer = output_layer(model)
    layer.weight.copy_(layer.weight[order].clone())
    if layer.bias is not None:
        layer.bias.copy_(layer.bias[order].clone())
    after = model(input_ids=probe, attention_mask=torch.ones_like(probe)).logits
    if not torch.allclose(before[..., order], after, atol=1e-5):
        raise UserError(f"the labels of {type(model).__name__} could not be put into the data's order")
