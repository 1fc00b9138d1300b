"""The Transformer as decoder: a language model, as GPT is (Radford et al. 2018, 2019)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from distill.models.generation import CausalLMOutput, State, TensorGenerationMixin, kept
from distill.models.transformer.blocks import TokenEmbeddings
from distill.models.transformer.positions import positions_of
from distill.models.transformer.stack import TransformerStack, causal_mask


class DecoderConfig(PretrainedConfig):  # type: ignore[misc]
    """Sizes and kinds of the in-repo decoder.

    ``norm`` is ``pre``, ``post`` or ``rms``, ``positions`` ``learned``, ``sinusoidal`` or ``rotary``, ``activation``
    ``gelu``, ``relu`` or ``swiglu``. ``tie_word_embeddings``: words are scored by the table that embeds them.
    """

    model_type = "distill_decoder"

    def __init__(
        self,
        vocab_size: int = 8000,
        num_hidden_layers: int = 4,
        hidden_size: int = 128,
        num_attention_heads: int = 4,
        intermediate_size: int = 512,
        dropout: float = 0.1,
        norm: str = "pre",
        positions: str = "learned",
        activation: str = "gelu",
        max_position_embeddings: int = 512,
        tie_word_embeddings: bool = True,
        initializer_range: float = 0.02,
        pad_token_id: int = 0,
        bos_token_id: int | None = None,
        eos_token_id: int | None = None,
        **rest: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.num_hidden_layers = num_hidden_layers
        self.hidden_size = hidden_size
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.dropout = dropout
        self.norm = norm
        self.positions = positions
        self.activation = activation
        self.max_position_embeddings = max_position_embeddings
        self.tie_word_embeddings = tie_word_embeddings
        self.initializer_range = initializer_range
        self.pad_token_id = pad_token_id
        self.bos_token_id = bos_token_id
        self.eos_token_id = eos_token_id
        super().__init__(**rest)


class DecoderForCausalLM(TensorGenerationMixin, PreTrainedModel):  # type: ignore[misc]
    """Which word comes next, at each token; a token sees itself and what stands before it."""

    config_class = DecoderConfig
    base_model_prefix = "decoder"

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__(config)
        self.embeddings = TokenEmbeddings(
            config.vocab_size, config.hidden_size, config.max_position_embeddings, config.dropout, config.positions
        )
        self.decoder = TransformerStack(config, config.num_hidden_layers)
        self.lm_head = None
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        """Word embeddings."""
        return self.embeddings.word

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Puts other word embeddings in place; where they are tied, for the output too."""
        self.embeddings.word = value

    def empty_state(self, batch: int) -> State:
        """The cache before anything was read: keys and values of each block in turn, [B, H, 0, K] each."""
        return self.decoder.empty_state(batch)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        state: State | None = None,
        use_cache: bool = False,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        logits_to_keep: int | Tensor = 0,
        **_: Any,
    ) -> CausalLMOutput:
        """[B, L] to logits [B, L, V], or of some tokens alone, as :func:`distill.models.generation.kept` says.

        ``state``: the cache of the P tokens that were read before, which ``attention_mask`` [B, P + L] covers too;
        left out, nothing was read, or every token is real. With ``use_cache`` the state after these tokens is given.
        Padding may stand on either side.
        """
        if state is None:
            state = self.empty_state(input_ids.shape[0])
        past = state[0].shape[2]
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids[:, :1]).expand(-1, past + input_ids.shape[1])
        positions_BL = positions_of(attention_mask, past)
        output = self.decoder(
            self.embeddings(input_ids, positions_BL),
            causal_mask(attention_mask, past),
            positions_BL,
            state,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
        )
        x_BLD = kept(output.last_hidden_state, logits_to_keep)
        words_VD = self.get_input_embeddings().weight if self.lm_head is None else self.lm_head.weight
        return CausalLMOutput(
            logits=functional.linear(x_BLD, words_VD),
            state=output.state if use_cache else None,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )


AutoConfig.register(DecoderConfig.model_type, DecoderConfig)
AutoModelForCausalLM.register(DecoderConfig, DecoderForCausalLM)
