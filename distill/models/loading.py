"""Models with their tokenizers, to a folder and back, in the layout of ``save_pretrained``."""

import inspect
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from distill.models.checkpoints import SPECIAL_ROLES
from distill.tasks import Task
from distill.text.encoding import PAD_TOKENS

transformers_logging.disable_progress_bar()  # bars of a few milliseconds, between our own
transformers_logging.set_verbosity_error()  # a new head is what fine-tuning is for, not a warning


@dataclass(frozen=True)
class LoadedModel:
    """A model and the tokenizer it reads with."""

    model: PreTrainedModel
    tokenizer: Tokenizer
    special_tokens: dict[str, str] = field(default_factory=dict)
    """Role, such as ``cls_token``, to token."""


def auto_class(task: Task | type[Task]) -> Any:
    """transformers' auto class for the task's head."""
    return getattr(transformers, f"AutoModelFor{task.head}" if task.head else "AutoModel")


def label_settings(task: Task) -> dict[str, Any]:
    """What a model's configuration says of its answers."""
    if task.kind in ("span", "vector", "token"):
        return {}
    settings: dict[str, Any] = {"num_labels": task.width, "problem_type": task.problem_type}
    if names := task.output_names:
        settings |= {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}
    return settings


def load_model(directory: Path, task: Task) -> LoadedModel:
    """Reads what :func:`save_model` wrote."""
    model = auto_class(task).from_pretrained(directory, dtype=torch.float32)
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    settings = json.loads((directory / "tokenizer_config.json").read_text(encoding="utf-8"))
    roles = {role: settings[role] for role in SPECIAL_ROLES if isinstance(settings.get(role), str)}
    return LoadedModel(model.eval(), tokenizer, roles)


def load_with_new_head(directory: Path, task: Task, seed: int) -> LoadedModel:
    """The encoder in a folder with a head for this task from random weights, which the seed fixes."""
    torch.manual_seed(seed)
    model = auto_class(task).from_pretrained(directory, dtype=torch.float32, **label_settings(task))
    return LoadedModel(model, Tokenizer.from_file(str(directory / "tokenizer.json")))


def save_model(loaded: LoadedModel, directory: Path, max_length: int) -> None:
    """Writes weights (safetensors), configuration and tokenizer, so that transformers' auto classes load the folder.

    Written under another name and renamed.
    """
    aside = directory.with_name(f".{directory.name}.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    loaded.model.save_pretrained(aside)
    tokenizer = Tokenizer.from_str(loaded.tokenizer.to_str())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    roles = {role: token for role, token in loaded.special_tokens.items() if tokenizer.token_to_id(token) is not None}
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    if not takes_types(loaded.model):
        inputs.remove("token_type_ids")
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=max_length, model_input_names=inputs, **roles
    )
    wrapped.save_pretrained(aside)
    shutil.rmtree(directory, ignore_errors=True)
    aside.rename(directory)


def takes_types(model: nn.Module) -> bool:
    """Whether the model is given ``token_type_ids``: where it knows more than one type and, if it is a checkpoint, its
    own tokenizer gives them to it (its configuration then says so as ``reads_token_types``)."""
    config = getattr(model, "config", None)
    known = getattr(config, "type_vocab_size", None)
    given = getattr(config, "reads_token_types", known is not None)
    accepted = "token_type_ids" in inspect.signature(model.forward).parameters
    return bool(accepted and given and (known is None or known > 1))


def settings_in(folder: Path) -> Any:
    """The configuration of a model that ``save_pretrained`` wrote."""
    return transformers.AutoConfig.from_pretrained(folder)


def vector_size(settings: Any) -> int:
    """D, the size of the vectors of a bare encoder with this configuration."""
    return int(getattr(settings, "output_size", None) or settings.hidden_size)


def parameter_count(model: nn.Module) -> int:
    """Number of parameters, trained or not."""
    return sum(p.numel() for p in model.parameters())


def special_tokens_of(tokenizer: Tokenizer) -> dict[str, str]:
    """Roles by the usual names, for a tokenizer that states none."""
    usual: dict[str, Sequence[str]] = {
        "pad_token": PAD_TOKENS,
        "unk_token": ("[UNK]", "<unk>"),
        "cls_token": ("[CLS]", "<s>"),
        "sep_token": ("[SEP]", "</s>"),
        "mask_token": ("[MASK]", "<mask>"),
    }
    found = {}
    for role, names in usual.items():
        present = next((name for name in names if tokenizer.token_to_id(name) is not None), None)
        if present is not None:
            found[role] = present
    return found


def mask_token_of(tokenizer: Tokenizer, special_tokens: Mapping[str, str]) -> str | None:
    """What stands in the place of a masked token: what the tokenizer states, or a usual name."""
    return special_tokens.get("mask_token") or special_tokens_of(tokenizer).get("mask_token")
