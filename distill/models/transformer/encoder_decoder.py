"""The Transformer of 2017: an encoder that reads a source, and a decoder that attends to it as it writes."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModelForSeq2SeqLM, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from distill.models.generation import Seq2SeqLMOutput, State, TensorGenerationMixin, kept
from distill.models.transformer.blocks import Source, TokenEmbeddings
from distill.models.transformer.positions import positions_of
from distill.models.transformer.stack import TransformerStack, causal_mask, pairs


class TransformerSeq2SeqConfig(PretrainedConfig):  # type: ignore[misc]
    """Sizes and kinds of the in-repo encoder-decoder; by default those of Vaswani et al. (2017), but smaller.

    ``norm``, ``positions``, ``activation`` and ``tie_word_embeddings`` as in
    :class:`distill.models.transformer.decoder.DecoderConfig`. Source and target share vocabulary and embeddings.
    The decoder's first token is ``decoder_start_token_id``.
    """

    model_type = "distill_seq2seq"

    def __init__(
        self,
        vocab_size: int = 8000,
        num_hidden_layers: int = 3,
        num_decoder_layers: int = 3,
        hidden_size: int = 256,
        num_attention_heads: int = 4,
        intermediate_size: int = 1024,
        dropout: float = 0.1,
        norm: str = "post",
        positions: str = "sinusoidal",
        activation: str = "relu",
        max_position_embeddings: int = 512,
        tie_word_embeddings: bool = True,
        initializer_range: float = 0.02,
        pad_token_id: int = 0,
        bos_token_id: int | None = None,
        eos_token_id: int | None = None,
        decoder_start_token_id: int | None = None,
        **rest: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.num_hidden_layers = num_hidden_layers
        self.num_decoder_layers = num_decoder_layers
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
        self.decoder_start_token_id = decoder_start_token_id
        super().__init__(**{**rest, "is_encoder_decoder": True})


class SourceEncoder(nn.Module):
    """Embeddings and blocks in which each token of the source sees every other."""

    main_input_name = "input_ids"  # generate asks

    def __init__(self, config: TransformerSeq2SeqConfig) -> None:
        super().__init__()
        self.embeddings = TokenEmbeddings(
            config.vocab_size,
            config.hidden_size,
            config.max_position_embeddings,
            config.dropout,
            config.positions,
            scale=math.sqrt(config.hidden_size),
        )
        self.stack = TransformerStack(config, config.num_hidden_layers)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        **_: Any,
    ) -> BaseModelOutput:
        """[B, S] to ``last_hidden_state`` [B, S, D]"""
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        positions_BS = positions_of(attention_mask)
        output = self.stack(
            self.embeddings(input_ids, positions_BS),
            attention_mask.bool()[:, None, None],
            positions_BS,
            output_hidden_states=bool(output_hidden_states),
            output_attentions=bool(output_attentions),
        )
        return BaseModelOutput(
            last_hidden_state=output.last_hidden_state,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )


class TransformerForSeq2SeqLM(TensorGenerationMixin, PreTrainedModel):  # type: ignore[misc]
    """Which word of the target comes next, at each of its tokens.

    The embeddings, with the table of positions, are the encoder's; the decoder and, where they are tied, the output
    use the same (section 3.4 of the paper).
    """

    config_class = TransformerSeq2SeqConfig
    base_model_prefix = "decoder"

    def __init__(self, config: TransformerSeq2SeqConfig) -> None:
        super().__init__(config)
        self.encoder = SourceEncoder(config)
        self.decoder = TransformerStack(config, config.num_decoder_layers, cross=True)
        self.lm_head = None
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        """Word embeddings."""
        return self.encoder.embeddings.word

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Puts other word embeddings in place; where they are tied, for the output too."""
        self.encoder.embeddings.word = value

    def start(self, encoded_BSD: Tensor, attention_mask: Tensor | None = None) -> tuple[State, State]:
        """What writing begins with, from the encoder's states: (cross, state). The mask of the source, which a
        recurrent network asks for, says nothing here.

        ``cross``: keys and values that each block of the decoder attends to, in turn, [B, H, S, K] each; they stay the
        same while the target is written. ``state``: the cache before anything was written, [B, H, 0, K] each.
        """
        blocks: Any = self.decoder.blocks
        cross = (tensor for block in blocks for tensor in block.cross_attention.keys_values(encoded_BSD))
        return tuple(cross), self.decoder.empty_state(encoded_BSD.shape[0])

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        encoder_outputs: BaseModelOutput | None = None,
        cross: State | None = None,
        state: State | None = None,
        use_cache: bool = False,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        logits_to_keep: int | Tensor = 0,
        **_: Any,
    ) -> Seq2SeqLMOutput:
        """Source [B, S] and target [B, L] to logits [B, L, V], or of some tokens alone, as
        :func:`distill.models.generation.kept` says.

        The source is given by its ids, by what the encoder made of it, or by what :meth:`start` made of that; its mask
        [B, S] in each case, unless every token is real. Padding of the source may stand on either side, that of the
        target on the right. ``cross`` and ``state``, the cache of the target's tokens that were read before, go
        together; with ``use_cache`` they are given.
        """
        if decoder_input_ids is None:
            raise ValueError("decoder_input_ids are missing: the target's tokens, the first decoder_start_token_id")
        if cross is None or state is None:
            if encoder_outputs is None:
                encoder_outputs = self.encoder(input_ids, attention_mask, output_hidden_states, output_attentions)
            cross, state = self.start(encoder_outputs.last_hidden_state)
        if attention_mask is None:
            attention_mask = cross[0].new_ones(cross[0].shape[0], cross[0].shape[2])
        output = self._decode(decoder_input_ids, state, cross, attention_mask, output_hidden_states, output_attentions)
        x_BLD = kept(output.last_hidden_state, logits_to_keep)
        words_VD = self.get_input_embeddings().weight if self.lm_head is None else self.lm_head.weight
        encoded = encoder_outputs if encoder_outputs is not None else BaseModelOutput()
        return Seq2SeqLMOutput(
            logits=functional.linear(x_BLD, words_VD),
            state=output.state if use_cache else None,
            cross=cross if use_cache else None,
            decoder_hidden_states=output.hidden_states,
            decoder_attentions=output.attentions,
            cross_attentions=output.cross_attentions,
            encoder_last_hidden_state=encoded.last_hidden_state,
            encoder_hidden_states=encoded.hidden_states,
            encoder_attentions=encoded.attentions,
        )

    def _decode(self, input_ids: Tensor, state: State, cross: State, mask_BS: Tensor, *asked: bool) -> Any:
        """The decoder's blocks over the target."""
        past = state[0].shape[2]
        all_real_1S = input_ids.new_ones(1, past + input_ids.shape[1])
        positions_1L = positions_of(all_real_1S, past)
        mask_B11S = mask_BS.bool()[:, None, None]
        return self.decoder(
            self.encoder.embeddings(input_ids, positions_1L),
            causal_mask(all_real_1S, past),
            positions_1L,
            state,
            [Source(pair, mask_B11S) for pair in pairs(cross)],
            *asked,
        )


AutoConfig.register(TransformerSeq2SeqConfig.model_type, TransformerSeq2SeqConfig)
AutoModelForSeq2SeqLM.register(TransformerSeq2SeqConfig, TransformerForSeq2SeqLM)
