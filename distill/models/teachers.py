"""Teachers that transformers' auto classes load: fine-tuned already, or to be fine-tuned by the recipe."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
)

from distill.config import PretrainedTeacher
from distill.errors import UserError, nearest
from distill.models.checkpoints import Checkpoint, FoundTokenizer, label_names
from distill.models.loading import LoadedModel, auto_class, label_settings
from distill.models.longest import longest_input
from distill.models.sentence_modules import read_as_sentences
from distill.tasks import TASKS, Task
from distill.text import Example
from distill.text.reading import DECODER_START


@dataclass(frozen=True)
class Teacher:
    """A loaded teacher, and whether it still has to be fine-tuned."""

    loaded: LoadedModel
    fine_tuned: bool
    longest: int
    """Tokens it takes, special tokens counted."""


def load_teacher(config: PretrainedTeacher, task: Task | None, key: str = "teacher") -> Teacher:
    """Loads a teacher for a task, its logits in the order of the task's labels. Weights are read in float32. ``key`` is
    the recipe's section of it, for messages.

    Raises UserError where nothing is there or weights are missing, where the checkpoint's labels are not the data's, or
    where they are ``LABEL_0`` … without a map.
    """
    checkpoint = Checkpoint.of(config.source, config.trust_remote_code)
    if task is None:
        raise ValueError("a task is needed to load a teacher")
    settings = checkpoint.config(type(task))
    has_head = has_head_for(settings, type(task))
    fine_tuned = config.fine_tune == "never" or (config.fine_tune == "auto" and has_head)
    if task.kind == "vector":  # its vectors are what it is for; there is nothing to fine-tune it on
        fine_tuned = has_head = True
    if task.writes and not has_head:
        heads = ", ".join(settings.architectures or ["of no stated architecture"])
        raise UserError(
            f"{checkpoint} does not write (it is {heads}); give a causal language model, such as GPT-2 or "
            "Llama, or, for text-to-text, an encoder-decoder"
        )
    if config.fine_tune == "never" and not has_head:
        raise UserError(no_head(str(checkpoint), settings, task, key))
    matched = fine_tuned and task.labelled
    order = match_labels(label_names(settings), config.label_map, task, str(checkpoint), key) if matched else None
    new, head = (unused, {}) if fine_tuned else (new_in_training, label_settings(task))
    model = checkpoint.weights(auto_class(task), new, key, **head)
    reads = reading_of(checkpoint, model, task.kind == "vector")
    if order is not None:
        permute_labels(model, order)
        for name, value in label_settings(task).items():
            setattr(model.config, name, value)
    return Teacher(LoadedModel(model, reads.tokenizer, reads.special_tokens), fine_tuned, reads.longest)


def new_in_training(model: PreTrainedModel, name: str) -> bool:
    """Whether a weight may start from a random value where the model is fine-tuned: those of its head, and the pooler
    below it, which masked language models have not."""
    return not _of_encoder(model, name) or "pooler" in name.split(".")


def unused(model: PreTrainedModel, name: str) -> bool:
    """Whether a weight may be missing in a model that is taken as it is: the pooler of a bare encoder is never read."""
    return model.base_model is model and "pooler" in name.split(".")


def _of_encoder(model: PreTrainedModel, name: str) -> bool:
    return model.base_model is model or name.startswith(f"{model.base_model_prefix}.")


def reading_of(checkpoint: Checkpoint, model: PreTrainedModel, vectors: bool) -> FoundTokenizer:
    """How a checkpoint reads texts. What its files say of padding, token types and pooling (``vectors``: as
    sentence-transformers reads them) goes into the model's configuration.

    The padding is the model's own, which it may look for in its input. Raises UserError where the tokenizer has ids
    that the model has no embeddings for.
    """
    found = checkpoint.tokenizer()
    ids = max(found.tokenizer.get_vocab(with_added_tokens=True).values()) + 1
    rows = len(model.get_input_embeddings().weight)
    if ids > rows:
        raise UserError(
            f"the tokenizer of {checkpoint} has {ids:,} ids, but the model {rows:,} word embeddings: they do "
            "not belong together, or tokens were added without resize_token_embeddings; save both anew"
        )
    longest = min(found.longest, longest_input(model, ids))
    model.config.reads_token_types = "token_type_ids" in found.inputs
    own = {"pad_token": "pad_token_id", DECODER_START: "decoder_start_token_id"}
    stated = {role: getattr(model.config, setting, None) for role, setting in own.items()}
    tokens = {role: found.tokenizer.id_to_token(token_id) for role, token_id in stated.items() if token_id is not None}
    roles = {**found.special_tokens, **{role: token for role, token in tokens.items() if token}}
    found = replace(found, special_tokens=roles, longest=longest)
    return read_as_sentences(checkpoint, model, found) if vectors else found


def has_head_for(settings: Any, task: type[Task]) -> bool:
    """Whether a checkpoint of this configuration answers a task. Tasks that share a head are told apart by
    ``problem_type`` and the number of outputs."""
    if task.writes:
        names = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES if task.own_label else MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
        return any(a in names.values() or a.endswith(f"For{task.head}") for a in settings.architectures or ())
    suffix = f"For{task.head}" if task.head else "Model"
    if not any(str(a).endswith(suffix) for a in settings.architectures or ()):
        return False
    if task.problem_type is None:
        return True
    kind = settings.problem_type or ("regression" if settings.num_labels == 1 else "single_label_classification")
    return bool(kind == task.problem_type)


def no_head(location: str, settings: Any, task: Task, key: str) -> str:
    """Why a checkpoint that is not to be trained does not answer a task, and which task it answers."""
    why = f"{key}.fine_tune is never, but {location} has no head for {task.name}"
    other = next((name for name, one in TASKS.items() if one.problem_type and has_head_for(settings, one)), None)
    if other is not None:
        kind = f"problem_type {settings.problem_type}" if settings.problem_type else f"{settings.num_labels} outputs"
        return f"{why}: by its config.json it has {kind}; set task={other.replace('-', '_')}, or mend config.json"
    heads = ", ".join(settings.architectures or ["of no stated architecture"])
    return f"{why} (it is {heads}); give one that has, or set {key}.fine_tune=auto and give labels to train it on"


def match_labels(own: Sequence[str], label_map: dict[str, str], task: Task, location: str, key: str) -> list[int]:
    """For each label of the task, its index among the checkpoint's ``own``. Labels are matched by name, never by
    index."""
    names = [label_map.get(name, name) for name in own]
    unknown = sorted(set(label_map) - set(own))
    if unknown:
        raise UserError(
            f"{key}.label_map names '{unknown[0]}', which is no label of {location}{nearest(unknown[0], own)}"
        )
    unnamed = [name for name in names if re.fullmatch(r"LABEL_\d+", name) and name not in task.output_names]
    if unnamed:
        raise UserError(
            f"the teacher {location} calls its labels {', '.join(unnamed[:3])}: nothing says which is which; name them "
            f"with {key}.label_map, such as {{{unnamed[0]}: {task.output_names[0]}}}"
        )
    if set(task.output_names) < set(names) and len(set(names)) == len(names):
        raise UserError(
            f"the teacher {location} knows labels that no text of the data has: "
            f"{', '.join(name for name in names if name not in task.output_names)}; name all of its labels with "
            f"task.labels=[{','.join(map(quoted, names))}]"
        )
    if sorted(names) != sorted(task.output_names):
        foreign = [name for name in task.output_names if name not in names]
        first = f" ('{foreign[0]}' is none of the teacher's)" if foreign else ""
        raise UserError(
            f"the teacher's labels differ from the data's: {', '.join(names)} against {', '.join(task.output_names)}"
            f"{first}; name them alike with {key}.label_map or data.label_map"
        )
    return [names.index(label) for label in task.output_names]


def quoted(label: str) -> str:
    """As a value among the overrides of a recipe."""
    return label if re.fullmatch(r"\w+", label) else json.dumps(label, ensure_ascii=False)


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
    if (bias := output_layer(model).bias) is not None:  # as decoders have none
        bias.copy_(torch.from_numpy(mean.astype(np.float32)))


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
