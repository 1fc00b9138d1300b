"""The recurrent language model: vanilla RNN, GRU or LSTM (Mikolov et al. 2010; Zaremba et al. 2014).

Shape suffixes as in :mod:`distill.models.recurrent`; V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig

from distill.errors import UserError
from distill.models.generation import CausalLMOutput, State, TensorGenerationMixin, kept
from distill.models.recurrent import Recurrent, RecurrentPreTrainedModel


class RecurrentDecoderConfig(PretrainedConfig):  # type: ignore[misc]
    """Sizes of the network. ``cell`` is ``rnn``, ``gru`` or ``lstm``.

    ``tie_word_embeddings``: words are scored by the table that embeds them.
    """

    model_type = "distill_recurrent_decoder"

    def __init__(
        self,
        cell: str = "lstm",
        vocab_size: int = 8000,
        embedding_size: int = 256,
        hidden_size: int = 256,
        num_hidden_layers: int = 1,
        dropout: float = 0.2,
        tie_word_embeddings: bool = False,
        initializer_range: float = 0.02,
        pad_token_id: int = 0,
        bos_token_id: int | None = None,
        eos_token_id: int | None = None,
        **rest: Any,
    ) -> None:
        self.cell = cell
        self.vocab_size = vocab_size
        self.embedding_size = embedding_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.dropout = dropout
        self.tie_word_embeddings = tie_word_embeddings
        self.initializer_range = initializer_range
        self.pad_token_id = pad_token_id
        self.bos_token_id = bos_token_id
        self.eos_token_id = eos_token_id
        super().__init__(**rest)


class RecurrentForCausalLM(TensorGenerationMixin, RecurrentPreTrainedModel):  # type: ignore[misc]
    """Which word comes next, at each token, from the state after it.

    Raises UserError for tied embeddings of another size than the states.
    """

    config_class = RecurrentDecoderConfig
    base_model_prefix = "network"

    def __init__(self, config: RecurrentDecoderConfig) -> None:
        super().__init__(config)
        if config.tie_word_embeddings and config.embedding_size != config.hidden_size:
            raise UserError(
                f"embedding_size is {config.embedding_size} and hidden_size {config.hidden_size}; to score words by "
                "the table that embeds them both must be the same, or tie_word_embeddings false"
            )
        self.embeddings = nn.Embedding(config.vocab_size, config.embedding_size)
        self.recurrent = Recurrent(
            config.cell, config.embedding_size, config.hidden_size, config.num_hidden_layers, False, config.dropout
        )
        self.dropout = nn.Dropout(config.dropout)
        self.lm_head = None if config.tie_word_embeddings else nn.Linear(config.hidden_size, config.vocab_size)
        self.post_init()

    def empty_state(self, batch: int) -> State:
        """The state before anything was read, [B, H] each."""
        return self.recurrent.empty_state(batch)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        state: State | None = None,
        use_cache: bool = False,
        output_hidden_states: bool = False,
        logits_to_keep: int | Tensor = 0,
        **_: Any,
    ) -> CausalLMOutput:
        """[B, L] to logits [B, L, V], or of some tokens alone, as :func:`distill.models.generation.kept` says.

        ``state``: of the cells after what was read before, ``attention_mask`` as in
        :class:`distill.models.transformer.decoder.DecoderForCausalLM`. Padding may stand on either side, not between
        tokens; it is not read, and what is given there says nothing.
        """
        length = input_ids.shape[1]
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
            row_length_B = None
        else:
            attention_mask = attention_mask[:, -length:]
            row_length_B = attention_mask.sum(1).clamp(min=1)
        padding_B1 = leading_padding(attention_mask)
        x_BLD = self.dropout(self.embeddings(turned(input_ids, padding_B1)))
        before = self.empty_state(input_ids.shape[0]) if state is None else state
        outs, after = self.recurrent.read_on(x_BLD, before, row_length_B if use_cache else None)
        read_B1 = attention_mask.bool().any(1, keepdim=True)  # a row of padding alone keeps its state
        state = tuple(torch.where(read_B1, new, old) for new, old in zip(after, before, strict=True))
        hidden = tuple(turned(x_BLH, -padding_B1) for x_BLH in (x_BLD, *outs))
        x_BLH = kept(self.dropout(hidden[-1]), logits_to_keep)
        return CausalLMOutput(
            logits=functional.linear(x_BLH, self.embeddings.weight) if self.lm_head is None else self.lm_head(x_BLH),
            state=state if use_cache else None,
            hidden_states=hidden if output_hidden_states else None,
        )


def leading_padding(mask_BL: Tensor) -> Tensor:
    """[B, L] to [B, 1]: how much padding stands on the left of each row."""
    return (mask_BL.cumsum(1) == 0).sum(1, keepdim=True)


def turned(x_BL: Tensor, by_B1: Tensor) -> Tensor:
    """[B, L] or [B, L, D]: each row turned to the left by so many places, so that what stood there is at its end."""
    length = x_BL.shape[1]
    index_BL = (torch.arange(length, device=x_BL.device) + by_B1) % length
    if x_BL.ndim == 3:
        index_BL = index_BL.unsqueeze(-1).expand_as(x_BL)
    return x_BL.gather(1, index_BL)


AutoConfig.register(RecurrentDecoderConfig.model_type, RecurrentDecoderConfig)
AutoModelForCausalLM.register(RecurrentDecoderConfig, RecurrentForCausalLM)
