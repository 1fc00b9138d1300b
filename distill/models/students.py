"""Students: layers of the teacher, the in-repo transformer, or a recurrent network."""

import copy
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import PreTrainedModel

from distill.config import (
    Architecture,
    LayersStudent,
    RecurrentArchitecture,
    RecurrentStudent,
    StaticArchitecture,
    TransformerStudent,
)
from distill.errors import UserError
from distill.models.loading import LoadedModel, auto_class, label_settings, special_tokens_of
from distill.models.longest import first_position
from distill.models.recurrent import RecurrentConfig
from distill.models.recurrent_decoder import RecurrentDecoderConfig
from distill.models.recurrent_encoder_decoder import RecurrentSeq2SeqConfig
from distill.models.transformer import EncoderConfig
from distill.models.transformer.decoder import DecoderConfig
from distill.models.transformer.encoder_decoder import TransformerSeq2SeqConfig
from distill.models.word_embeddings import plain_embeddings, start_embeddings, teacher_embeddings
from distill.tasks import Task
from distill.text import Reading

ID_SETTINGS = ("pad", "bos", "eos", "cls", "sep", "mask", "unk", "decoder_start", "forced_bos", "forced_eos")
FIRST_IS_SPECIAL = ("t5", "mt5", "longt5", "switch_transformers", "modernbert", "modernbert-decoder")
"""Kinds of models (``model_type``) whose layer 0 has weights that the others lack, or lacks some that they have."""


def build_student(
    config: LayersStudent | TransformerStudent | RecurrentStudent,
    teacher: LoadedModel | None,
    tokenizer: Tokenizer,
    special_tokens: dict[str, str],
    task: Task,
    kept: NDArray[np.int64] | None,
    max_length: int,
    seed: int,
    paired: bool = False,
) -> LoadedModel:
    """A student that reads with ``tokenizer``; the seed fixes random weights.

    Where that is the teacher's tokenizer trimmed, ``kept`` holds the old id of each new one. ``paired``: it reads
    pairs of texts.

    Raises UserError for layers the teacher does not have, or where layers are asked of a teacher that is no model.
    """
    torch.manual_seed(seed)
    if isinstance(config, LayersStudent):
        if teacher is None:
            raise ValueError("a student from layers needs a teacher that is a model")
        model = layers_student(config, teacher.model)
        if kept is not None:
            keep_vocabulary(model, kept)
        return LoadedModel(model, tokenizer, special_tokens)
    embeddings = None if config.embeddings == "random" else teacher_embeddings(teacher, tokenizer, special_tokens)
    if isinstance(config, TransformerStudent):
        student = build_transformer(config.architecture, tokenizer, special_tokens, task, max_length, seed, paired)
        if embeddings is not None:
            start_embeddings(student.model, embeddings)
        return student
    return build_recurrent(config.architecture, tokenizer, special_tokens, task, max_length, seed, paired, embeddings)


def pair_settings(
    architecture: Architecture | RecurrentArchitecture | StaticArchitecture, reading: Reading, paired: bool
) -> dict[str, Any]:
    """What the configuration of an in-repo model says of pairs.

    Raises ValueError where they are to be read apart and token types do not tell one text from the other: that has been
    checked before.
    """
    if not paired or architecture.pairs == "together":
        return {"pairs": "together"}
    opening = reading.pair_opening()
    if opening is None:
        raise ValueError("the tokenizer does not tell the two texts of a pair apart")
    return {"pairs": "apart", "pair_opening": opening}


def build_recurrent(
    architecture: RecurrentArchitecture,
    tokenizer: Tokenizer,
    special_tokens: dict[str, str],
    task: Task,
    max_length: int,
    seed: int,
    paired: bool = False,
    embeddings: Tensor | None = None,
) -> LoadedModel:
    """The recurrent network from random weights, as teacher or student, with ``embeddings`` [V, D] where they are given
    and not NaN."""
    torch.manual_seed(seed)
    reading = Reading(tokenizer, max_length, special_tokens=special_tokens)
    sizes: dict[str, Any] = {
        "cell": architecture.cell,
        "vocab_size": reading.vocabulary_size,
        "embedding_size": architecture.embedding_size if embeddings is None else embeddings.shape[1],
        "hidden_size": architecture.hidden_size,
        "num_hidden_layers": architecture.layers,
        "dropout": architecture.dropout,
        "pad_token_id": reading.pad_id,
    }
    settings: Any
    if task.head == "Seq2SeqLM":
        settings = RecurrentSeq2SeqConfig(
            **sizes,
            attention=architecture.attention,
            attention_size=architecture.hidden_size,
            tie_word_embeddings=True,
            **boundaries(reading, task),
        )
    elif task.writes:
        tied = sizes["embedding_size"] == sizes["hidden_size"]
        settings = RecurrentDecoderConfig(**sizes, tie_word_embeddings=tied, **boundaries(reading, task))
    else:
        settings = RecurrentConfig(
            **sizes,
            bidirectional=architecture.bidirectional,
            pooling=architecture.pooling,
            **pair_settings(architecture, reading, paired),
            **label_settings(task),
        )
    model = auto_class(task).from_config(settings)
    if embeddings is not None:
        with torch.no_grad():
            weight = model.get_input_embeddings().weight
            weight.copy_(torch.where(embeddings.isnan(), weight, embeddings))
    return LoadedModel(model, tokenizer, special_tokens or special_tokens_of(tokenizer))


def build_transformer(
    architecture: Architecture,
    tokenizer: Tokenizer,
    special_tokens: dict[str, str],
    task: Task,
    max_length: int,
    seed: int,
    paired: bool = False,
) -> LoadedModel:
    """The in-repo transformer from random weights, as teacher or student: a decoder where the task's model writes, else
    an encoder."""
    torch.manual_seed(seed)
    reading = Reading(tokenizer, max_length, special_tokens=special_tokens)
    if architecture.hidden_size % architecture.heads:
        raise UserError(
            f"hidden_size is {architecture.hidden_size} and heads is {architecture.heads}; hidden_size must be a "
            "multiple of heads"
        )
    sizes: dict[str, Any] = {
        "vocab_size": reading.vocabulary_size,
        "num_hidden_layers": architecture.layers,
        "hidden_size": architecture.hidden_size,
        "num_attention_heads": architecture.heads,
        "intermediate_size": architecture.intermediate_size,
        "dropout": architecture.dropout,
        "norm": architecture.norm,
        "positions": architecture.positions,
        "activation": architecture.activation,
        "initializer_range": architecture.initializer_range,
        "max_position_embeddings": max_length,
        "pad_token_id": reading.pad_id,
    }
    settings: Any
    if task.head == "Seq2SeqLM":
        layers = architecture.decoder_layers or architecture.layers
        settings = TransformerSeq2SeqConfig(**sizes, num_decoder_layers=layers, **boundaries(reading, task))
    elif task.writes:
        settings = DecoderConfig(**sizes, **boundaries(reading, task))
    else:
        sizes["embedding_size"] = architecture.embedding_size
        settings = EncoderConfig(**sizes, **pair_settings(architecture, reading, paired), **label_settings(task))
    return LoadedModel(
        auto_class(task).from_config(settings), tokenizer, special_tokens or special_tokens_of(tokenizer)
    )


def boundaries(reading: Reading, task: Task) -> dict[str, Any]:
    """What the configuration of a model that writes says of the tokens before and behind a text."""
    if task.own_label:
        return {"bos_token_id": reading.boundary, "eos_token_id": reading.boundary}
    empty = reading.encode_targets([""])[0]
    start, end = int(empty[0]), int(empty[-1])
    return {"bos_token_id": start, "eos_token_id": end, "decoder_start_token_id": start}


def chosen_layers(config: LayersStudent, available: int, kind: str = "") -> list[int]:
    """The teacher's layers a student starts from: those named, or ``count`` evenly spaced ones, as ``spread`` says.
    ``kind`` is the teacher's ``model_type``."""
    return _chosen(config, "", available, kind)


def chosen_decoder_layers(config: LayersStudent, settings: Any) -> list[int]:
    """The same of the decoder of an encoder-decoder with these ``settings``; none of a model that is none."""
    key = _decoder_key(settings)
    return _chosen(config, "decoder_", getattr(settings, key), settings.model_type) if key else []


def _chosen(config: LayersStudent, part: str, available: int, kind: str) -> list[int]:
    named, asked = getattr(config, f"{part}layers"), getattr(config, f"{part}count")
    whose = "the teacher's decoder" if part else "the teacher"
    count = available if asked < 0 else asked or max(1, available // 2)
    if not named and count > available:
        raise UserError(f"student.{part}count is {count}, but {whose} has {available} layers; give at most so many")
    layers = list(named)
    if not named and config.spread == "middle" and kind not in FIRST_IS_SPECIAL:
        layers = [(2 * i + 1) * available // (2 * count) for i in range(count)]
    elif not named:
        layers = [round(i * available / count) for i in range(count)]
    wrong = [i for i in layers if not 0 <= i < available]
    if wrong or len(set(layers)) != len(layers) or not layers:
        raise UserError(
            f"student.{part}layers is {layers}, but {whose} has {available} layers; give different numbers from 0 "
            f"to {available - 1}"
        )
    return layers


def layers_student(config: LayersStudent, teacher: PreTrainedModel) -> PreTrainedModel:
    """The student of the teacher's layers, of all its width and vocabulary. Raises UserError for layers that it does
    not have."""
    settings = teacher.config
    layers = chosen_layers(config, settings.num_hidden_layers, settings.model_type)
    return student_from_layers(teacher, layers, chosen_decoder_layers(config, settings))


def student_from_layers(
    teacher: PreTrainedModel, layers: Sequence[int], decoder_layers: Sequence[int] = ()
) -> PreTrainedModel:
    """A model of the teacher's kind with only these layers, all weights copied, embeddings and head included.

    Of an encoder-decoder, ``layers`` are those of its encoder; its decoder keeps all of its own where none are given.
    """
    settings = copy.deepcopy(teacher.config)
    settings.num_hidden_layers = len(layers)
    for key, value in teacher.config.to_dict().items():  # such as ModernBERT's layer_types, Longformer's windows
        of_layers = any(word in key for word in ("layer", "window"))  # DeBERTa's pos_att_type may be as long by chance
        if of_layers and isinstance(value, list) and len(value) == teacher.config.num_hidden_layers:
            setattr(settings, key, [value[i] for i in layers])
    positions = {_layer_prefix(teacher): {old: new for new, old in enumerate(layers)}}
    if decoder_layers:
        setattr(settings, _decoder_key(settings), len(decoder_layers))
        settings.decoder_layers = len(decoder_layers)  # transformers makes caches of so many layers, for T5 too
        positions[_decoder_prefix(teacher)] = {old: new for new, old in enumerate(decoder_layers)}
    student = type(teacher)(settings)
    if (writing := getattr(teacher, "generation_config", None)) is not None:
        student.generation_config = copy.deepcopy(writing)
    weights: dict[str, torch.Tensor] = {}
    for name, tensor in teacher.state_dict().items():
        kept = _renumbered(name, positions)
        if kept is not None:
            weights[kept] = tensor.detach().cpu().clone()
    try:
        student.load_state_dict(weights)
    except RuntimeError as error:
        chosen = f"layers {list(layers)}" + (f" and decoder_layers {list(decoder_layers)}" if decoder_layers else "")
        raise UserError(
            f"{chosen} of {type(teacher).__name__} do not fit a smaller one of its kind (try to include "
            f"layer 0, or choose student=transformer or student=lstm): {error}"
        ) from error
    return student


def _renumbered(name: str, positions: dict[str, dict[int, int]]) -> str | None:
    """The name of a weight in a model with fewer layers, ``positions`` of them by the name of their list; none of a
    layer that is left out."""
    for prefix, position in positions.items():
        if match := re.match(re.escape(prefix) + r"\.(\d+)\.(.*)", name):
            old = int(match[1])
            return f"{prefix}.{position[old]}.{match[2]}" if old in position else None
    return name


def layers_of(model: PreTrainedModel) -> list[nn.Module]:
    """The layers of a model."""
    return list(model.get_submodule(_layer_prefix(model)).children())


def layer_list(model: Any) -> nn.ModuleList:
    """The list of layers inside a model. Raises UserError where it is not found."""
    return model.get_submodule(_layer_prefix(model))  # type: ignore[no-any-return]


def _layer_prefix(model: PreTrainedModel) -> str:
    """Name of the list of layers inside a model, of an encoder-decoder of its encoder's."""
    count = model.config.num_hidden_layers
    lists = _lists_of(model, count)
    if not lists:
        raise UserError(
            f"the layers of {type(model).__name__} were not found; choose student=transformer or student=lstm"
        )
    return min(lists, key=len)


def _decoder_prefix(model: PreTrainedModel) -> str:
    """The same of the decoder of an encoder-decoder."""
    decoder: Any = model.get_decoder()
    inside = next(name for name, module in model.named_modules() if module is decoder)
    lists = _lists_of(decoder, getattr(model.config, _decoder_key(model.config)))
    return f"{inside}.{min(lists, key=len)}"


def _lists_of(module: nn.Module, count: int) -> list[str]:
    """Names of the lists of so many modules."""
    return [name for name, m in module.named_modules() if isinstance(m, nn.ModuleList) and len(m) == count]


def _decoder_key(settings: Any) -> str:
    """What the configuration of an encoder-decoder calls the number of its decoder's layers; empty of another one."""
    known = ("num_decoder_layers", "decoder_layers") if settings.is_encoder_decoder else ()
    return next((key for key in known if hasattr(settings, key)), "")


def check_layers(config: LayersStudent, teacher: PreTrainedModel) -> None:
    """Raises UserError where no student can be made of the teacher's layers, before anything is trained."""
    layers_student(config, teacher)
    if config.vocabulary.trim:
        plain_embeddings(teacher)


def keep_vocabulary(model: PreTrainedModel, kept: NDArray[np.int64]) -> None:
    """Keeps only these rows of the word embeddings, in this order, and renumbers the ids in the configuration."""
    old = plain_embeddings(model)
    new_id: dict[int, int] = {int(old_id): index for index, old_id in enumerate(kept)}
    if int(kept.max()) >= old.num_embeddings:
        raise UserError(
            f"the tokenizer has id {int(kept.max())}, but the teacher only {old.num_embeddings} word embeddings"
        )
    pad_id = getattr(model.config, "pad_token_id", None)
    moved = pad_id is not None and new_id.get(pad_id) != pad_id
    if moved and first_position(model, old.num_embeddings) > 0:
        raise UserError(
            f"{type(model).__name__} numbers positions from its padding id {pad_id}, which trimming would move; "
            "set student.vocabulary.trim=false"
        )
    padding = None if old.padding_idx is None else new_id.get(old.padding_idx)
    embeddings = nn.Embedding(len(kept), old.embedding_dim, padding_idx=padding)
    with torch.no_grad():
        embeddings.weight.copy_(old.weight[torch.from_numpy(kept)])
    head = model.get_output_embeddings()
    model.set_input_embeddings(embeddings)
    settings: Any = model.config
    settings.vocab_size = len(kept)
    if head is not None and head.weight.shape[0] == old.num_embeddings:
        keep_words(head, kept)
        if settings.tie_word_embeddings:
            head.weight = embeddings.weight
    bias = getattr(model, "final_logits_bias", None)  # of BART and its kin, a buffer beside the output layer
    if bias is not None and bias.shape[-1] == old.num_embeddings:
        model.register_buffer("final_logits_bias", bias[:, torch.from_numpy(kept)].clone())
    for one in filter(None, (settings, getattr(model, "generation_config", None))):
        renumber(one, new_id, old.num_embeddings)


def renumber(settings: Any, new_id: dict[int, int], count: int) -> None:
    """Puts new ids into the settings that name tokens. An id that is not kept is none; what is no id below ``count``
    never was a token, and stays."""
    for role in ID_SETTINGS:
        value = getattr(settings, f"{role}_token_id", None)
        if isinstance(value, list):
            setattr(settings, f"{role}_token_id", [new_id[one] for one in value if one in new_id] or None)
        elif isinstance(value, int) and (value in new_id or value < count):
            setattr(settings, f"{role}_token_id", new_id.get(value))
    for key in ("suppress_tokens", "begin_suppress_tokens"):
        if never := getattr(settings, key, None):
            setattr(settings, key, [new_id[one] for one in never if one in new_id] or None)
    if never := getattr(settings, "bad_words_ids", None):
        left = [[new_id[one] for one in words] for words in never if all(one in new_id for one in words)]
        settings.bad_words_ids = left or None


@torch.no_grad()
def keep_words(head: nn.Linear, kept: NDArray[np.int64]) -> None:
    """Keeps only these rows of the layer that scores words."""
    rows = torch.from_numpy(kept)
    head.weight = nn.Parameter(head.weight[rows].clone())
    if head.bias is not None:
        head.bias = nn.Parameter(head.bias[rows].clone())
    head.out_features = len(kept)
