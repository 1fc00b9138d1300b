"""The recurrent encoder-decoder, with the attention of Bahdanau, Cho and Bengio (2014) or without.

Shape suffixes: B batch, S length of the source, L length of the target, E size of an embedding, H hidden size of the
decoder, D = 2 H size of a state of the encoder (both directions), A size of the attention, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModelForSeq2SeqLM
from transformers.modeling_outputs import BaseModelOutput

from distill.models.generation import Seq2SeqLMOutput, State, TensorGenerationMixin, kept
from distill.models.recurrent import Recurrent, RecurrentPreTrainedModel, pool
from distill.models.recurrent_decoder import RecurrentDecoderConfig, leading_padding, turned


class RecurrentSeq2SeqConfig(RecurrentDecoderConfig):
    """Sizes of the network, of encoder and decoder alike. Source and target share vocabulary and embeddings.

    ``attention``: whether the decoder looks at all states of the encoder, or at the last alone. ``attention_size``: A.
    """

    model_type = "distill_recurrent_seq2seq"

    def __init__(
        self,
        cell: str = "gru",
        attention: bool = True,
        attention_size: int = 256,
        decoder_start_token_id: int | None = None,
        **rest: Any,
    ) -> None:
        self.attention = attention
        self.attention_size = attention_size
        self.decoder_start_token_id = decoder_start_token_id
        super().__init__(**{**rest, "cell": cell, "is_encoder_decoder": True})


class RecurrentSourceEncoder(nn.Module):
    """Embeddings, and a network that reads the source in both directions (section 3.2 of the paper)."""

    main_input_name = "input_ids"  # generate asks

    def __init__(self, config: RecurrentSeq2SeqConfig) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(config.vocab_size, config.embedding_size)
        self.recurrent = Recurrent(
            config.cell, config.embedding_size, config.hidden_size, config.num_hidden_layers, True, config.dropout
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: Any) -> BaseModelOutput:
        """[B, S] to ``last_hidden_state`` [B, S, D], zeros where padding stands, on either side."""
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        padding_B1 = leading_padding(attention_mask)
        x_BSE = self.dropout(self.embeddings(turned(input_ids, padding_B1)))
        x_BSD = self.recurrent(x_BSE, turned(attention_mask, padding_B1))
        return BaseModelOutput(last_hidden_state=turned(x_BSD, -padding_B1))


class AdditiveAttention(nn.Module):
    """``e_j = v . tanh(W s + U h_j)``, the weights their softmax over the source (section A.1.2 of the paper)."""

    def __init__(self, query_size: int, key_size: int, attention_size: int) -> None:
        super().__init__()
        self.query = nn.Linear(query_size, attention_size, bias=False)
        self.key = nn.Linear(key_size, attention_size, bias=False)
        self.score = nn.Linear(attention_size, 1, bias=False)

    def forward(self, s_BH: Tensor, keys_BSA: Tensor, h_BSD: Tensor, mask_BS: Tensor) -> tuple[Tensor, Tensor]:
        """(context [B, D], weights [B, S]); ``keys_BSA`` are ``self.key(h_BSD)``, made once for all steps."""
        scores_BS = self.score(torch.tanh(self.query(s_BH)[:, None] + keys_BSA))[..., 0]
        weights_BS = scores_BS.masked_fill(mask_BS == 0, torch.finfo(scores_BS.dtype).min).softmax(-1)
        return (weights_BS[:, None] @ h_BSD)[:, 0], weights_BS


class RecurrentForSeq2SeqLM(TensorGenerationMixin, RecurrentPreTrainedModel):  # type: ignore[misc]
    """Which word of the target comes next, at each of its tokens.

    At each step the decoder looks at the source from the state before, reads the word before together with what it saw,
    and words are scored from the new state, that word and what was seen, through one layer of maxout (sections 3.1 and
    A.2.2). Without attention it sees at each step what the encoder's directions end with (Cho et al. 2014).

    Other than in the paper, the first state is made of both directions' ends, with attention and without, so that the
    two models differ in attention alone.
    """

    config_class = RecurrentSeq2SeqConfig
    base_model_prefix = "network"

    def __init__(self, config: RecurrentSeq2SeqConfig) -> None:
        super().__init__(config)
        embedding, hidden, layers = config.embedding_size, config.hidden_size, config.num_hidden_layers
        self.encoder = RecurrentSourceEncoder(config)
        self.bridge = nn.Linear(2 * hidden, layers * hidden)
        self.attention = AdditiveAttention(hidden, 2 * hidden, config.attention_size) if config.attention else None
        self.recurrent = Recurrent(config.cell, embedding + 2 * hidden, hidden, layers, False, config.dropout)
        self.maxout = nn.Linear(hidden + embedding + 2 * hidden, 2 * embedding)
        self.dropout = nn.Dropout(config.dropout)
        self.lm_head = None if config.tie_word_embeddings else nn.Linear(embedding, config.vocab_size)
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        """Word embeddings."""
        return self.encoder.embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Puts other word embeddings in place; where they are tied, for the output too."""
        self.encoder.embeddings = value

    def start(self, encoded_BSD: Tensor, attention_mask: Tensor) -> tuple[State, State]:
        """What writing begins with, from the encoder's states: (cross, state).

        ``cross``: with attention keys [B, S, A] and states [B, S, D], without it the directions' ends [B, D]; it stays
        the same while the target is written. ``state``: as :meth:`distill.models.recurrent.Recurrent.read_on` says.
        """
        padding_B1 = leading_padding(attention_mask)
        states_BSD, mask_BS = turned(encoded_BSD, padding_B1), turned(attention_mask, padding_B1)
        ends_BD = pool(states_BSD, mask_BS, "last", self.config.hidden_size)
        cross: State = (ends_BD,)
        if self.attention is not None:
            cross = (self.attention.key(encoded_BSD), encoded_BSD)
        state = list(self.recurrent.empty_state(encoded_BSD.shape[0]))
        parts = len(state) // self.config.num_hidden_layers
        state[::parts] = torch.tanh(self.bridge(ends_BD)).chunk(self.config.num_hidden_layers, dim=-1)
        return cross, tuple(state)

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
        """As :class:`distill.models.transformer.encoder_decoder.TransformerForSeq2SeqLM`.

        ``decoder_hidden_states`` are the top layer's, [B, L, H]; ``cross_attentions``, one where there is attention,
        [B, 1, L, S]. The loop over the target unrolls in a graph, which is made for one token at a time.
        """
        if decoder_input_ids is None:
            raise ValueError("decoder_input_ids are missing: the target's tokens, the first decoder_start_token_id")
        if cross is None or state is None:
            if encoder_outputs is None:
                encoder_outputs = self.encoder(input_ids, attention_mask)
            encoded_BSD = encoder_outputs.last_hidden_state
            if attention_mask is None:
                attention_mask = encoded_BSD.new_ones(encoded_BSD.shape[:2], dtype=torch.long)
            cross, state = self.start(encoded_BSD, attention_mask)
        words_BLE = self.dropout(self.encoder.embeddings(decoder_input_ids))
        outs, seen, weights = [], [], []  # of each step
        for word_BE in words_BLE.unbind(1):
            context_BD, weights_BS = self._look(state, cross, attention_mask)
            tops, state = self.recurrent.read_on(torch.cat([word_BE, context_BD], -1)[:, None], state)
            outs.append(tops[-1])
            seen.append(context_BD)
            weights += [] if weights_BS is None else [weights_BS]
        s_BLH = torch.cat(outs, 1)
        both_BLM = self.maxout(torch.cat([self.dropout(s_BLH), words_BLE, torch.stack(seen, 1)], -1))
        x_BLE = kept(self.dropout(both_BLM.unflatten(-1, (-1, 2)).amax(-1)), logits_to_keep)
        words_VE = self.encoder.embeddings.weight
        return Seq2SeqLMOutput(
            logits=functional.linear(x_BLE, words_VE) if self.lm_head is None else self.lm_head(x_BLE),
            state=state if use_cache else None,
            cross=cross if use_cache else None,
            decoder_hidden_states=(s_BLH,) if output_hidden_states else None,
            cross_attentions=(torch.stack(weights, 1)[:, None],) if output_attentions and weights else None,
            encoder_last_hidden_state=None if encoder_outputs is None else encoder_outputs.last_hidden_state,
        )

    def _look(self, state: State, cross: State, mask_BS: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(what the decoder sees of the source [B, D], with attention its weights [B, S])"""
        if self.attention is None:
            return cross[0], None
        if mask_BS is None:
            mask_BS = cross[0].new_ones(cross[0].shape[:2])
        parts = len(state) // self.config.num_hidden_layers
        seen: tuple[Tensor, Tensor] = self.attention(state[-parts], *cross, mask_BS)
        return seen


AutoConfig.register(RecurrentSeq2SeqConfig.model_type, RecurrentSeq2SeqConfig)
AutoModelForSeq2SeqLM.register(RecurrentSeq2SeqConfig, RecurrentForSeq2SeqLM)
