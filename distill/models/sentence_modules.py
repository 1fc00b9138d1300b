"""What a folder of sentence-transformers says of its vectors: ``modules.json``, and the files that it names."""

from dataclasses import replace
from typing import Any

from tokenizers import Tokenizer, normalizers
from transformers import PreTrainedModel

from distill.errors import UserError
from distill.models.checkpoints import Checkpoint, FoundTokenizer
from distill.models.pooling import POOLINGS

MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""The names of poolings in files that were written before there was one key ``pooling_mode``."""
SAME_DIRECTION = {"mean_sqrt_len_tokens": "mean"}
"""Vectors are divided by their length, so poolings that differ in length alone are one."""


def read_as_sentences(checkpoint: Checkpoint, model: PreTrainedModel, found: FoundTokenizer) -> FoundTokenizer:
    """The tokenizer as sentence-transformers uses it; the pooling goes into the model's configuration.

    A folder without ``modules.json`` is read by the mean, as sentence-transformers reads it. Raises UserError for a
    module, a pooling or a prompt that is not computed here: its vectors would be others than the model's.
    """
    for module in checkpoint.read_json("modules.json") or ():
        kind, path = str(module["type"]).rpartition(".")[2], str(module["path"])
        if kind == "Transformer" and not path:
            found = _as_transformer(found, checkpoint.read_json("sentence_bert_config.json") or {})
        elif kind == "Pooling":
            model.config.sentence_pooling = _pooling(checkpoint, f"{path}/config.json")
        elif kind != "Normalize":
            raise UserError(
                f"{checkpoint.location} makes its vectors with the module {module['type']} in '{path}' (modules.json), "
                "which is not computed here; give a model of Transformer, Pooling and Normalize"
            )
    prompts = checkpoint.read_json("config_sentence_transformers.json") or {}
    prompt = (prompts.get("prompts") or {}).get(prompts.get("default_prompt_name"))
    if prompt:
        raise UserError(
            f"{checkpoint.location} puts {prompt!r} before every text (default_prompt_name in "
            "config_sentence_transformers.json), which is not done here; give a model without a default prompt"
        )
    return found


def _as_transformer(found: FoundTokenizer, settings: dict[str, Any]) -> FoundTokenizer:
    """With the module's maximum length, and lower case where it reads texts so."""
    longest = min(found.longest, settings.get("max_seq_length") or found.longest)
    if not settings.get("do_lower_case"):
        return replace(found, longest=longest)
    tokenizer = Tokenizer.from_str(found.tokenizer.to_str())
    own = [] if tokenizer.normalizer is None else [tokenizer.normalizer]
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *own])
    return replace(found, tokenizer=tokenizer, longest=longest)


def _pooling(checkpoint: Checkpoint, file: str) -> str:
    settings = checkpoint.read_json(file) or {}
    stated = settings.get("pooling_mode") or [mode for key, mode in MODES.items() if settings.get(key)] or ["mean"]
    modes = [stated] if isinstance(stated, str) else list(stated)
    mode = SAME_DIRECTION.get(modes[0], modes[0])
    if len(modes) > 1 or mode not in POOLINGS:
        raise UserError(
            f"{checkpoint.location} makes its vectors by {' and '.join(map(str, modes))} ({file}); computed here are "
            f"{', '.join(POOLINGS)}, one of them: give a model with one of these"
        )
    return mode
