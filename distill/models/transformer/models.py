"""The encoder with each of its heads, as ``PreTrainedModel`` that transformers' auto classes know.

In all of them the encoder's weights stand under ``encoder.``, so each loads them from a checkpoint of any other; a head
that the checkpoint does not have starts from random weights.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
)
from transformers.modeling_outputs import (
    BaseModelOutput,
    MaskedLMOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)

from distill.models.pooling import compared, masked_mean, read_apart
from distill.models.transformer.blocks import NORM_EPS, Widening
from distill.models.transformer.encoder import EncoderConfig, TransformerEncoder


class _EncoderPreTrainedModel(PreTrainedModel):  # type: ignore[misc]
    """What all heads share. A subclass makes its head and then calls ``post_init``."""

    config_class = EncoderConfig
    base_model_prefix = "encoder"

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.encoder = TransformerEncoder(config)
        self.dropout = nn.Dropout(config.dropout)

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, Widening):  # words are then as large, beside positions, as those of one table
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
        else:
            super()._init_weights(module)

    def get_input_embeddings(self) -> nn.Embedding:
        """Word embeddings."""
        return self.encoder.embeddings.word

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Puts other word embeddings in place."""
        self.encoder.embeddings.word = value


class EncoderModel(_EncoderPreTrainedModel):
    """No head: a state for each token."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        **_: Any,
    ) -> BaseModelOutput:
        """``last_hidden_state`` [B, L, D]; ``hidden_states`` and ``attentions`` as :class:`TransformerEncoder` says."""
        states: BaseModelOutput = self.encoder(
            input_ids, attention_mask, token_type_ids, output_hidden_states, output_attentions
        )
        return states


class EncoderForSequenceClassification(_EncoderPreTrainedModel):
    """Mean over tokens, then a linear layer; of two texts that are read apart, what their means say together."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        self.classifier = nn.Linear(config.hidden_size * (4 if config.pairs == "apart" else 1), config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        **_: Any,
    ) -> SequenceClassifierOutput:
        """Logits [B, C]"""
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        apart = self.config.pairs == "apart"
        if apart:
            opening, pad_id = self.config.pair_opening, self.config.pad_token_id
            input_ids, attention_mask = read_apart(input_ids, attention_mask, token_type_ids, opening, pad_id)
            token_type_ids = None
        states = self.encoder(input_ids, attention_mask, token_type_ids, output_hidden_states, output_attentions)
        mean_BD = masked_mean(states.last_hidden_state, attention_mask)
        if apart:
            mean_BD = compared(mean_BD)
        return SequenceClassifierOutput(
            logits=self.classifier(self.dropout(mean_BD)),
            hidden_states=states.hidden_states,
            attentions=states.attentions,
        )


class EncoderForTokenClassification(_EncoderPreTrainedModel):
    """A linear layer at each token."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        **_: Any,
    ) -> TokenClassifierOutput:
        """Logits [B, L, C]"""
        states = self.encoder(input_ids, attention_mask, token_type_ids, output_hidden_states, output_attentions)
        return TokenClassifierOutput(
            logits=self.classifier(self.dropout(states.last_hidden_state)),
            hidden_states=states.hidden_states,
            attentions=states.attentions,
        )


class EncoderForQuestionAnswering(_EncoderPreTrainedModel):
    """A linear layer that scores each token as the first and as the last of the answer (Devlin et al. 2019, 4.2)."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        self.span = nn.Linear(config.hidden_size, 2)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        **_: Any,
    ) -> QuestionAnsweringModelOutput:
        """``start_logits`` and ``end_logits`` [B, L], of the question's tokens and of padding too."""
        states = self.encoder(input_ids, attention_mask, token_type_ids, output_hidden_states, output_attentions)
        span_BL2 = self.span(self.dropout(states.last_hidden_state))
        return QuestionAnsweringModelOutput(
            start_logits=span_BL2[..., 0],
            end_logits=span_BL2[..., 1],
            hidden_states=states.hidden_states,
            attentions=states.attentions,
        )


class MaskedLanguageHead(nn.Module):
    """From a state to a score for each word, as in BERT: dense, GELU, normalisation, then the word embeddings.

    The matrix of scores is the table of word embeddings itself, handed in at each call, so there is no second one that
    could come apart from it (Press and Wolf 2017). Only a bias for each word is the head's own.
    """

    def __init__(self, hidden_size: int, vocabulary_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.norm = nn.LayerNorm(hidden_size, eps=NORM_EPS)
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    def forward(self, x_BLD: Tensor, words_VD: Tensor) -> Tensor:
        """[B, L, D] and [V, D] to [B, L, V]"""
        return functional.linear(self.norm(functional.gelu(self.dense(x_BLD))), words_VD, self.bias)


class EncoderForMaskedLM(_EncoderPreTrainedModel):
    """Which word stands at each token, also where it is masked (Devlin et al. 2019, section 3.1)."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        self.head = MaskedLanguageHead(config.hidden_size, config.vocab_size)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, MaskedLanguageHead):
            nn.init.zeros_(module.bias)

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Puts other word embeddings in place, for the output too; with another number of words the bias is 0 again."""
        super().set_input_embeddings(value)
        if value.num_embeddings != len(self.head.bias):
            self.head.bias = nn.Parameter(self.head.bias.new_zeros(value.num_embeddings))

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        **_: Any,
    ) -> MaskedLMOutput:
        """Logits [B, L, V]"""
        states = self.encoder(input_ids, attention_mask, token_type_ids, output_hidden_states, output_attentions)
        words_VD = self.encoder.embeddings.widen(self.get_input_embeddings().weight)
        logits_BLV = self.head(states.last_hidden_state, words_VD)
        return MaskedLMOutput(logits=logits_BLV, hidden_states=states.hidden_states, attentions=states.attentions)


AutoConfig.register(EncoderConfig.model_type, EncoderConfig)
AutoModel.register(EncoderConfig, EncoderModel)
AutoModelForMaskedLM.register(EncoderConfig, EncoderForMaskedLM)
AutoModelForQuestionAnswering.register(EncoderConfig, EncoderForQuestionAnswering)
AutoModelForSequenceClassification.register(EncoderConfig, EncoderForSequenceClassification)
AutoModelForTokenClassification.register(EncoderConfig, EncoderForTokenClassification)
