"""What a folder or hub id holds: configuration, tokenizer and weights, read with transformers and looked at.

transformers warns where a tokenizer is empty or weights are random; here these are errors, as every exception is.
"""

import io
import json
import re
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import tokenizers
import torch
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import cached_file

from distill.config import Source
from distill.errors import UserError
from distill.progress import say
from distill.sources import locate
from distill.tasks import Task

SPECIAL_ROLES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token", "bos_token", "eos_token")
LFS_POINTER = b"version https://git-lfs"
"""How a file begins that Git LFS has left out."""
UNLIMITED = 10**6
"""The longest input, in tokens, of what states none."""


@dataclass(frozen=True)
class FoundTokenizer:
    """A checkpoint's tokenizer, and what it says of itself."""

    tokenizer: Tokenizer
    special_tokens: dict[str, str]
    """Role, such as ``cls_token``, to token."""
    longest: int
    """Tokens of the longest input it states."""
    inputs: tuple[str, ...]
    """What it feeds its model (``model_input_names``)."""


@dataclass(frozen=True)
class Checkpoint:
    """A folder that ``save_pretrained`` wrote, or a hub id."""

    location: str
    revision: str | None = None
    trust: bool = False
    """Run code that comes with it."""
    gguf: str = ""
    """The file in the folder that holds everything, where it is one of llama.cpp's format."""

    @classmethod
    def of(cls, source: Source, trust: bool = False) -> Self:
        """Where a source lies."""
        if source.hub:
            return cls(source.hub, source.revision, trust)
        path = locate(source)
        if path.suffix == ".gguf":
            return cls(str(path.parent), None, trust, path.name)
        return cls(str(path), None, trust)

    def __str__(self) -> str:
        """What messages call it."""
        return str(Path(self.location) / self.gguf) if self.gguf else self.location

    def file(self, name: str) -> Path | None:
        """Where a file of it lies on this machine; None where there is no such file."""
        found = cached_file(
            self.location,
            name,
            revision=self.revision,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,  # without a network, what is in the cache
        )
        return None if found is None else Path(found)

    def read_json(self, name: str) -> Any:
        """The content of a JSON file in it; None where there is no such file."""
        file = self.file(name)
        try:
            return None if file is None else json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{name} of {self} is damaged: {error}") from error

    def config(self, task: type[Task] | None = None) -> Any:
        """The configuration. Raises UserError where there is none, and for an encoder-decoder where the ``task`` is for
        none, or the other way round."""
        settings = self._load(AutoConfig, "no model")
        both = bool(getattr(settings, "is_encoder_decoder", False))
        wanted = both if task is None else task.head == "Seq2SeqLM"
        if wanted and not both:
            raise UserError(f"{self} is no encoder-decoder ({settings.model_type}); give one, such as T5 or BART")
        if both and not wanted:
            raise UserError(
                f"{self} is an encoder-decoder ({settings.model_type}); give an encoder, such as BERT or "
                "RoBERTa, or a decoder with a head for the task"
            )
        if self.gguf:  # which states none: what it holds is a language model
            settings.architectures = [MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(settings.model_type, settings.model_type)]
        return settings

    def tokenizer(self) -> FoundTokenizer:
        """The tokenizer. Raises UserError where there is none that the ``tokenizers`` library runs."""
        found = self._load(AutoTokenizer, "no tokenizer")
        backend = getattr(found, "backend_tokenizer", None)
        if backend is None:
            raise UserError(
                f"the tokenizer of {self} is written in Python; one with a tokenizer.json is needed, so that "
                "the exported model can read text without transformers"
            )
        files = {"tokenizer.json", *found.vocab_files_names.values()}
        if not self.gguf and not any(map(self.file, files)):  # transformers makes an almost empty one, without a word
            raise UserError(
                f"{self} holds no tokenizer (none of {', '.join(sorted(files))}); save it there with the "
                "tokenizer's save_pretrained"
            )
        roles = {role: str(token) for role in SPECIAL_ROLES if (token := getattr(found, role, None)) is not None}
        longest = int(min(found.model_max_length, UNLIMITED))
        return FoundTokenizer(backend, roles, longest, tuple(found.model_input_names))

    def weights(
        self, auto: Any, new: Callable[[PreTrainedModel, str], bool], key: str = "teacher", **settings: Any
    ) -> PreTrainedModel:
        """The model that transformers' class ``auto`` makes of it, in float32 and evaluation mode.

        ``new`` says of a model and the name of one of its weights whether that may start from a random value. A prefix
        before all names, as of a wrapper that the model was saved in, is taken off. ``key`` is the recipe's section of
        it, for messages. Raises UserError where another weight is missing or has another shape.
        """
        model, lacking, unexpected = self._weights(auto, new, settings)
        prefix = _added_prefix(lacking, unexpected)
        if prefix:
            renamed = {**settings, "key_mapping": {f"^{re.escape(prefix)}": ""}}
            again, still_lacking, _ = self._weights(auto, new, renamed)
            if not still_lacking:
                say(f"{self}: read without the prefix '{prefix}' before the names of its weights")
                return again
        if lacking:
            more = f", and has {_some(unexpected)}, which it does not know" if unexpected else ""
            raise UserError(
                f"{self} lacks weights of {type(model).__name__}: {_some(lacking)}{more}; they would be "
                f"random. Give the folder that save_pretrained wrote after training; {key}.fine_tune=always trains a "
                "new head instead"
            )
        return model

    def _weights(
        self, auto: Any, new: Callable[[PreTrainedModel, str], bool], settings: dict[str, Any]
    ) -> tuple[PreTrainedModel, list[str], list[str]]:
        """(the model, what it lacks, the names in the files that it does not know)"""
        model, found = self._load(
            auto, "no weights", dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True, **settings
        )
        shapes = {
            name: f"{name} (in the file {list(there)}, by config.json {list(wanted)})"
            for name, there, wanted in found["mismatched_keys"]
        }
        lacking = [shapes.get(name, name) for name in (*found["missing_keys"], *shapes) if not new(model, name)]
        if self.gguf:  # its weights are float32 by now, which transformers does not note
            model.hf_quantizer.remove_quantization_config(model)
        return model.eval(), sorted(lacking), sorted(found["unexpected_keys"])

    def _load(self, loader: Any, missing: str, **settings: Any) -> Any:
        if self.gguf:
            settings["gguf_file"] = self.gguf
        # a bar that heeds no setting
        quiet: AbstractContextManager[Any] = redirect_stderr(io.StringIO()) if self.gguf else nullcontext()
        try:
            with quiet:
                return loader.from_pretrained(
                    self.location, revision=self.revision, trust_remote_code=self.trust, **settings
                )
        except Exception as error:  # of many kinds: transformers, safetensors, tokenizers, and code of the checkpoint
            raise UserError(f"{missing} can be loaded from {self}: {self._cause(error)}") from error

    def _cause(self, error: Exception) -> str:
        """Why a file could not be read, with the mend where it is known."""
        folder = Path(self.location)
        for file in sorted(folder.glob("*")) if folder.is_dir() else []:
            if file.is_file() and file.open("rb").read(len(LFS_POINTER)) == LFS_POINTER:
                return f"{file.name} is a pointer of Git LFS, not the file itself; run `git lfs pull` there"
        if (folder / "bundle.json").is_file():
            return (
                "it is a bundle, whose graphs answer and cannot be trained; give a folder that save_pretrained wrote, "
                f"such as the student of the run that made it, outputs/{folder.resolve().name}/student"
            )
        said = str(error) or type(error).__name__
        if self.gguf:
            size = (folder / self.gguf).stat().st_size
            said += f"; give a whole file (this one has {size:,} bytes), of an architecture that transformers reads"
        if "untagged enum" in said:  # how the tokenizers library says that it does not know a part
            said += (
                f"; its tokenizer.json was written by a newer version of the tokenizers library than "
                f"{tokenizers.__version__}, or is damaged: pip install -U tokenizers"
            )
        if "instantiate the backend tokenizer" in said:
            said = "it holds no tokenizer file that can be read here; a tokenizer.json is enough"
        return said


def label_names(settings: Any) -> tuple[str, ...]:
    """What a configuration calls its labels, in order; numbers as text. Raises UserError for what cannot be a name."""
    names = [settings.id2label[i] for i in sorted(settings.id2label)]
    for name in names:
        if not isinstance(name, str | int) or isinstance(name, bool) or not str(name).strip():
            raise UserError(f"config.json has {name!r} in id2label, which is no name of a label; write a text there")
    return tuple(map(str, names))


def _added_prefix(lacking: Collection[str], unexpected: Collection[str]) -> str:
    """What stands before the name of a weight that is missing in the name of one that is not known; else empty."""
    return next(
        (there.removesuffix(name) for name in lacking for there in unexpected if there.endswith(f".{name}")), ""
    )


def _some(names: Collection[str]) -> str:
    shown = ", ".join(list(names)[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
