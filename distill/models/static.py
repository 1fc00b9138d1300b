"""A static model, as ``PreTrainedModel`` that transformers' auto classes know: each token has a vector of its own, a
text is their weighted mean, and no word looks at another one.

Shape suffixes: B batch, L length, D size of a vector, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, SequenceClassifierOutput

from distill.models.pooling import compared, read_apart


class StaticConfig(PretrainedConfig):  # type: ignore[misc]
    """Sizes of the vectors and of the head's hidden layer; ``pairs`` and ``pair_opening`` as in
    :class:`distill.models.recurrent.RecurrentConfig`."""

    model_type = "distill_static"

    def __init__(
        self,
        vocab_size: int = 8000,
        embedding_size: int = 256,
        hidden_size: int = 256,
        dropout: float = 0.2,
        pairs: str = "together",
        pair_opening: int = 0,
        pad_token_id: int = 0,
        **rest: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.embedding_size = embedding_size
        self.hidden_size = hidden_size
        self.dropout = dropout
        self.pairs = pairs
        self.pair_opening = pair_opening
        self.type_vocab_size = 2 if pairs == "apart" else 0
        super().__init__(pad_token_id=pad_token_id, **rest)

    @property
    def output_size(self) -> int:
        """D, the size of a text's vector."""
        return int(self.embedding_size)


class _StaticPreTrainedModel(PreTrainedModel):  # type: ignore[misc]
    """Vectors and weights of the vocabulary."""

    config_class = StaticConfig
    base_model_prefix = "static"

    def __init__(self, config: StaticConfig) -> None:
        super().__init__(config)
        self.embeddings = nn.Embedding(config.vocab_size, config.embedding_size)
        # Not trained: the vectors are, and a second number that scales them would say nothing that they cannot.
        self.register_buffer("token_weights", torch.ones(config.vocab_size))

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            module.reset_parameters()
        elif isinstance(module, nn.Embedding):
            module.weight.normal_()

    def get_input_embeddings(self) -> nn.Embedding:
        """The vectors."""
        return self.embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Puts other vectors in place."""
        self.embeddings = value

    def weighted(self, input_ids_BL: Tensor, mask_BL: Tensor) -> tuple[Tensor, Tensor]:
        """(each token's vector times its weight [B, L, D], the weights [B, L]); of padding both are 0."""
        weight_BL = self.token_weights[input_ids_BL] * mask_BL
        return self.embeddings(input_ids_BL) * weight_BL.unsqueeze(-1), weight_BL


class StaticModel(_StaticPreTrainedModel):
    """No head: the weighted vector of each token. Their mean, brought to length 1, is model2vec's vector of a text."""

    def __init__(self, config: StaticConfig) -> None:
        super().__init__(config)
        self.post_init()

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: Any) -> BaseModelOutput:
        """``last_hidden_state`` [B, L, D]"""
        mask_BL = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        return BaseModelOutput(last_hidden_state=self.weighted(input_ids, mask_BL)[0])


class StaticForSequenceClassification(_StaticPreTrainedModel):
    """The weighted mean of a text, or what those of two texts say together, then one hidden layer: a label, several
    labels, or a number."""

    def __init__(self, config: StaticConfig) -> None:
        super().__init__(config)
        self.hidden = nn.Linear(config.embedding_size * (4 if config.pairs == "apart" else 1), config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        output_hidden_states: bool = False,
        **_: Any,
    ) -> SequenceClassifierOutput:
        """Logits [B, C]; ``hidden_states``, when asked for, are the weighted vectors [B, L, D] alone."""
        mask_BL = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        apart = self.config.pairs == "apart"
        if apart:
            opening, pad_id = self.config.pair_opening, self.config.pad_token_id
            input_ids, mask_BL = read_apart(input_ids, mask_BL, token_type_ids, opening, pad_id)
        x_BLD, weight_BL = self.weighted(input_ids, mask_BL)
        mean_BD = x_BLD.sum(1) / weight_BL.sum(1, keepdim=True).clamp(min=1e-9)
        if apart:
            mean_BD = compared(mean_BD)
        hidden_BH = torch.relu(self.hidden(self.dropout(mean_BD)))
        return SequenceClassifierOutput(
            logits=self.classifier(self.dropout(hidden_BH)), hidden_states=(x_BLD,) if output_hidden_states else None
        )


AutoConfig.register(StaticConfig.model_type, StaticConfig)
AutoModel.register(StaticConfig, StaticModel)
AutoModelForSequenceClassification.register(StaticConfig, StaticForSequenceClassification)
