"""Models that write token by token: what they give, and how transformers' ``generate`` drives them.

What a decoder keeps of what it has read is its ``state``: plain tensors, the batch first, so that a graph takes them
in and gives them out as they are. With attention it is the key-value cache, in a recurrent network the cells' states.

Shape suffixes: B batch, L length, V vocabulary, D size of a state, M tokens that have a label.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import GenerationMixin
from transformers.utils import ModelOutput

State = tuple[Tensor, ...]


@dataclass
class CausalLMOutput(ModelOutput):  # type: ignore[misc]
    """What a language model gives; what was not asked for is None."""

    logits: Tensor | None = None
    """[B, L, V]"""
    state: State | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    """[B, L, D] each: what the embeddings give, then each block or layer"""
    attentions: tuple[Tensor | None, ...] | None = None
    """[B, H, L, S] each, a block; S is the length of past and text together"""


@dataclass
class Seq2SeqLMOutput(ModelOutput):  # type: ignore[misc]
    """What an encoder-decoder gives; what was not asked for is None. S is the length of the source."""

    logits: Tensor | None = None
    """[B, L, V]"""
    state: State | None = None
    cross: State | None = None
    """What the decoder attends to, made of the source once."""
    decoder_hidden_states: tuple[Tensor, ...] | None = None
    decoder_attentions: tuple[Tensor | None, ...] | None = None
    cross_attentions: tuple[Tensor | None, ...] | None = None
    """[B, H, L, S] each"""
    encoder_last_hidden_state: Tensor | None = None
    encoder_hidden_states: tuple[Tensor, ...] | None = None
    encoder_attentions: tuple[Tensor | None, ...] | None = None


def kept(x_BLD: Tensor, logits_to_keep: int | Tensor) -> Tensor:
    """The states that logits are asked of: of the last so many tokens, all of them for 0, or, where a mask [B, L] of
    bool says which tokens have a label, of these alone, [M, D]."""
    return x_BLD[:, -logits_to_keep:] if isinstance(logits_to_keep, int) else x_BLD[logits_to_keep]


class TensorGenerationMixin(GenerationMixin):  # type: ignore[misc]
    """``generate`` for models whose ``forward`` takes ``state`` and ``use_cache``, and of an encoder-decoder ``cross``.

    Greedy and beam search and sampling work. transformers' ``Cache`` objects are not used (``state`` is a name that
    ``generate`` knows beside them), so there are no static or quantized caches and no assisted decoding.
    """

    _is_stateful = True

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, state: State | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """What ``forward`` is called with: of a text whose beginning was read, the last token."""
        name = "decoder_input_ids" if self.config.is_encoder_decoder else "input_ids"
        return {**kwargs, name: input_ids if state is None else input_ids[:, -1:], "state": state}

    def _update_model_kwargs_for_generation(
        self, outputs: ModelOutput, model_kwargs: dict[str, Any], *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        updated: dict[str, Any] = super()._update_model_kwargs_for_generation(outputs, model_kwargs, *args, **kwargs)
        return {**updated, **{name: outputs[name] for name in ("state", "cross") if name in outputs}}

    @staticmethod
    def _reorder_cache(state: State, beams: Tensor) -> State:
        return tuple(tensor.index_select(0, beams) for tensor in state)
