"""What of a model becomes ONNX graphs: one for each role that the runtime runs."""

import copy
import inspect
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, EncoderDecoderCache
from transformers.cache_utils import DynamicLayer
from transformers.modeling_outputs import BaseModelOutput

from distill.errors import UserError
from distill.models.answers import named_output
from distill.models.generation import TensorGenerationMixin
from distill.models.graph_spec import BY_SOURCE, BY_TOKEN, Axes, GraphSpec
from distill.models.loading import takes_types
from distill.models.state_graphs import state_graphs
from distill.tasks import Task

LEAST = torch.finfo(torch.float32).min
"""What a mask adds to the score of a token that is not to be seen."""


class _Named(nn.Module):
    """The model with its output narrowed to the tensors named, its inputs by position."""

    def __init__(self, model: nn.Module, outputs: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.outputs = tuple(outputs)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None:
            inputs["token_type_ids"] = token_type_ids
        output = self.model(**inputs)
        return tuple(named_output(self.model, output, attention_mask, name) for name in self.outputs)


def graph_inputs(model: nn.Module) -> tuple[str, ...]:
    """Names of the inputs that the graph of this model has."""
    both = ("input_ids", "attention_mask")
    return (*both, "token_type_ids") if takes_types(model) else both


def graphs_of(model: nn.Module, task: Task | None = None) -> list[GraphSpec]:
    """The graphs that ``model`` becomes: of a model that writes, those of :func:`_decoder_graphs`,
    :func:`_encoder_decoder_graphs` or, where it is one of this repository's, :func:`state_graphs`; of any other one,
    of the role ``model``, which gives what ``task`` reads.

    That one is called as transformers' are, ``model(input_ids=…, attention_mask=…[, token_type_ids=…])``, with inputs
    [B, L] of int64. The graph's outputs are the attributes of what it returns that ``task.outputs`` names, and
    ``sentence_embedding``, which is made of ``last_hidden_state``; B and L are free.

    The model given is not changed: the specifications hold a copy of it, in evaluation mode, on the CPU in fp32, with
    the attention that is written out in matrix products, which makes the smallest graph.
    """
    module: Any = copy.deepcopy(model).to("cpu", torch.float32).eval()
    set_attention = getattr(module, "set_attn_implementation", None)
    if set_attention is not None:
        set_attention("eager")
    if isinstance(module, TensorGenerationMixin):
        return state_graphs(module)
    if writes(module):
        return _encoder_decoder_graphs(module) if module.config.is_encoder_decoder else _decoder_graphs(module)
    if task is None:
        raise ValueError(f"{type(model).__name__} does not write: its graph needs the task that it serves")
    ids = torch.full((2, 5), 2)
    mask = torch.ones_like(ids)
    mask[1, 3:] = 0  # a padded row: models may leave the mask out where it says nothing
    values = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    example = {name: values[name] for name in graph_inputs(model)}
    axes = dict.fromkeys(example, BY_TOKEN)
    axes |= {name: BY_TOKEN if by_token(task, name) else {0: "batch"} for name in task.outputs}
    return [GraphSpec("model", _Named(module, task.outputs).eval(), example, axes, task.outputs)]


def by_token(task: Task, output: str) -> bool:
    """Whether an output of the task's graph has a row for each token, not for the whole text."""
    return task.words or task.writes or output == "last_hidden_state"


def writes(model: nn.Module) -> bool:
    """Whether it is a causal language model or a sequence-to-sequence model."""
    can_generate = getattr(model, "can_generate", None)
    return can_generate is not None and bool(can_generate())


def _decoder_graphs(model: Any) -> list[GraphSpec]:
    """One graph, of the role ``decoder``, which reads the prompt and writes on.

    Inputs: ``input_ids`` [B, L], ``attention_mask`` [B, P + L] over what was read and what is new, where a prompt is
    padded on the left, and for each layer ``past.0.key``, ``past.0.value`` … [B, heads, P, head size]; P starts at 0.
    Outputs: ``logits`` [B, L, V] and ``present.0.key``, ``present.0.value`` … [B, heads, P + L, head size]. Positions
    are counted from the first real token of a row.
    """
    ids = torch.full((2, 3), 2)
    with torch.no_grad():
        output = model(input_ids=ids, use_cache=True)
    past = _example_of(model, "past", _cache_in(output))
    mask = torch.ones(2, 6, dtype=torch.long)
    mask[1, :2] = 0
    example = {"input_ids": ids, "attention_mask": mask, **past}
    axes = {"input_ids": BY_TOKEN, "attention_mask": {0: "batch", 1: "total"}, "logits": BY_TOKEN, **_cache_axes(past)}
    return [GraphSpec("decoder", _Decoder(model).eval(), example, axes, ("logits", *map(_present, past)))]


def _encoder_decoder_graphs(model: Any) -> list[GraphSpec]:
    """Two graphs: the source is read once, and the keys and values that the decoder looks up in it are made once.

    ``encoder``: ``input_ids`` and ``attention_mask`` [B, S] to ``cross.0.key``, ``cross.0.value`` …
    [B, heads, S, head size]. ``decoder``: ``input_ids`` [B, L], ``encoder_attention_mask`` [B, S], these, and a cache
    as that of :func:`_decoder_graphs`, to ``logits`` and the cache; its rows start together, so that none is padded.
    """
    ids = torch.full((2, 3), 2)
    mask = torch.ones_like(ids)
    mask[1, 2:] = 0
    with torch.no_grad():
        output = model(input_ids=ids, attention_mask=mask, decoder_input_ids=ids, use_cache=True)
    cache = _cache_in(output)
    past = _example_of(model, "past", getattr(cache, "self_attention_cache", None))
    cross = _example_of(model, "cross", getattr(cache, "cross_attention_cache", None))
    cross_axes: dict[str, Axes] = {name: {0: "batch", 2: "source"} for name in cross}
    encoder_example = {"input_ids": ids, "attention_mask": mask}
    encoder_axes = {**dict.fromkeys(encoder_example, BY_SOURCE), **cross_axes}
    example = {"input_ids": ids, "encoder_attention_mask": mask, **past, **cross}
    axes = {"input_ids": BY_TOKEN, "encoder_attention_mask": BY_SOURCE, "logits": BY_TOKEN}
    axes |= cross_axes | _cache_axes(past)
    return [
        GraphSpec("encoder", _Encoder(model).eval(), encoder_example, encoder_axes, tuple(cross)),
        GraphSpec("decoder", _CrossDecoder(model).eval(), example, axes, ("logits", *map(_present, past))),
    ]


class _Decoder(nn.Module):
    """A causal language model with its cache as plain tensors."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.cache = _cache_argument(model)
        self.positions = "position_ids" in inspect.signature(model.forward).parameters

    def forward(self, input_ids: Tensor, attention_mask: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        cache = _cache_of(past)
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, self.cache: cache}
        if self.positions:
            positions = (attention_mask.cumsum(-1) - 1).clamp(min=0)
            inputs["position_ids"] = positions[:, -input_ids.shape[1] :]
        output = self.model(**inputs, use_cache=True)
        return output.logits, *_tensors_of(cache)


class _Encoder(nn.Module):
    """The encoder of a sequence-to-sequence model, with the projections of its states that the decoder holds."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.cache = _cache_argument(model)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        states = self.model.get_encoder()(input_ids=input_ids, attention_mask=attention_mask)
        # The decoder fills the cache as it writes a token; nothing else of this step is in the graph.
        self.model(
            encoder_outputs=BaseModelOutput(states.last_hidden_state),
            attention_mask=attention_mask,
            decoder_input_ids=torch.zeros_like(input_ids[:, :1]),
            use_cache=True,
            **{self.cache: cache},
        )
        return tuple(_tensors_of(cache.cross_attention_cache))


class _CrossDecoder(nn.Module):
    """The decoder of a sequence-to-sequence model, with both of its caches as plain tensors."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.cache = _cache_argument(model)

    def forward(self, input_ids: Tensor, encoder_attention_mask: Tensor, *cached: Tensor) -> tuple[Tensor, ...]:
        past, cross = cached[: len(cached) // 2], cached[len(cached) // 2 :]
        cache = EncoderDecoderCache(_cache_of(past), _cache_of(cross))
        # Masks that are ready to be added: those that transformers would make are many nodes in each run.
        source_B11S = torch.where(encoder_attention_mask[:, None, None, :] == 0, LEAST, 0.0)
        before, read = past[0].shape[2], input_ids.shape[1]
        later_LT = torch.arange(before + read) > torch.arange(read)[:, None] + before
        output = self.model(
            # Of the encoder's states the decoder asks their length alone, since it holds their keys and values.
            encoder_outputs=BaseModelOutput(cross[0].transpose(1, 2).flatten(2)),
            attention_mask=source_B11S,
            decoder_input_ids=input_ids,
            decoder_attention_mask=torch.where(later_LT, LEAST, 0.0)[None, None],
            use_cache=True,
            **{self.cache: cache},
        )
        return output.logits, *_tensors_of(cache.self_attention_cache)


def _cache_argument(model: Any) -> str:
    """What the model's ``forward`` calls its cache: transformers has renamed it."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


def _cache_of(tensors: Sequence[Tensor]) -> DynamicCache:
    """Keys and values of each layer in turn, as transformers holds them.

    A layer is given the tensors themselves: its ``update`` would join them to empty ones, and the graph would copy all
    that it has read, and all of the source, in every run.
    """
    cache = DynamicCache()
    for keys, values in zip(tensors[::2], tensors[1::2], strict=True):
        layer = DynamicLayer()
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values
        cache.layers.append(layer)
    return cache


def _tensors_of(cache: DynamicCache) -> list[Tensor]:
    """Keys and values of each layer in turn."""
    return [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]


def _cache_in(output: Any) -> Any:
    """The cache that a model gives back with its logits; None where it has none."""
    return getattr(output, "cache", None) or getattr(output, "past_key_values", None)


def _example_of(model: Any, what: str, cache: Any) -> dict[str, Tensor]:
    """Tensors like those that the model keeps in ``cache``, by name: ``past.0.key``, ``past.0.value`` …"""
    layers: Any = getattr(cache, "layers", ())
    kept: list[tuple[Any, Any]] = [(getattr(i, "keys", None), getattr(i, "values", None)) for i in layers]
    if not kept or not all(isinstance(t, Tensor) and t.ndim == 4 for pair in kept for t in pair):
        raise UserError(
            f"{type(model).__name__} keeps something else than keys and values of what it has read, which cannot be "
            "exported; models of the kind of GPT-2, Llama, BART, Marian and T5 can"
        )
    return {
        f"{what}.{number}.{name}": torch.zeros(2, tensor.shape[1], 3, tensor.shape[3])
        for number, pair in enumerate(kept)
        for name, tensor in zip(("key", "value"), pair, strict=True)
    }


def _cache_axes(past: Iterable[str]) -> dict[str, Axes]:
    """Of the cache as it is given and as it comes back."""
    axes: dict[str, Axes] = {}
    for name in past:
        axes[name] = {0: "batch", 2: "past"}
        axes[_present(name)] = {0: "batch", 2: "total"}
    return axes


def _present(name: str) -> str:
    """What the graph calls a tensor of the cache as it gives it back."""
    return name.replace("past", "present")
