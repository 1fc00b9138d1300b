"""The LSTM classifier and tagger, as a ``PreTrainedModel`` that transformers' auto classes know."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import SequenceClassifierOutput, TokenClassifierOutput


class LstmConfig(PretrainedConfig):  # type: ignore[misc]
    """Sizes of the LSTM."""

    model_type = "distill_lstm"

    def __init__(
        self,
        vocab_size: int = 8000,
        embedding_size: int = 128,
        hidden_size: int = 128,
        num_hidden_layers: int = 1,
        bidirectional: bool = True,
        dropout: float = 0.2,
        initializer_range: float = 0.02,
        pad_token_id: int = 0,
        **rest: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.embedding_size = embedding_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.initializer_range = initializer_range
        super().__init__(pad_token_id=pad_token_id, **rest)


class Lstm(nn.Module):
    """Layers of LSTMs, one or two directions, that compute on a padded batch what torch computes on a packed one.

    Padding stands on the right, so the forward direction never reads it before a real token. For the backward
    direction each text is reversed inside its own length by a gather, read forward, and reversed again. Nothing is
    packed, and the graph exports to ONNX as it is.
    """

    def __init__(self, input_size: int, hidden_size: int, layers: int, bidirectional: bool, dropout: float) -> None:
        super().__init__()
        directions = 2 if bidirectional else 1
        sizes = [input_size] + [hidden_size * directions] * (layers - 1)
        self.forward_layers = nn.ModuleList(nn.LSTM(size, hidden_size, batch_first=True) for size in sizes)
        self.backward_layers = nn.ModuleList(
            nn.LSTM(size, hidden_size, batch_first=True) for size in (sizes if bidirectional else [])
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BLD: Tensor, mask_BL: Tensor) -> Tensor:
        """[B, L, D] to [B, L, H], H twice the hidden size with two directions; positions of padding hold 0."""
        length_B1 = mask_BL.sum(1, keepdim=True)
        position_BL = torch.arange(x_BLD.shape[1], device=x_BLD.device).expand_as(mask_BL)
        reverse_BL1 = torch.where(position_BL < length_B1, length_B1 - 1 - position_BL, position_BL).unsqueeze(-1)
        keep_BL1 = mask_BL.unsqueeze(-1).to(x_BLD.dtype)
        for index, forward in enumerate(self.forward_layers):
            if index:
                x_BLD = self.dropout(x_BLD)
            out_BLH = forward(x_BLD)[0]
            if len(self.backward_layers):
                reversed_BLD = x_BLD.gather(1, reverse_BL1.expand(-1, -1, x_BLD.shape[2]))
                back_BLH = self.backward_layers[index](reversed_BLD)[0]
                back_BLH = back_BLH.gather(1, reverse_BL1.expand(-1, -1, back_BLH.shape[2]))
                out_BLH = torch.cat([out_BLH, back_BLH], dim=-1)
            x_BLD = out_BLH * keep_BL1
        return x_BLD


class _LstmModel(PreTrainedModel):  # type: ignore[misc]
    """What both heads share."""

    config_class = LstmConfig
    base_model_prefix = "lstm"

    def __init__(self, config: LstmConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.embeddings = nn.Embedding(config.vocab_size, config.embedding_size, padding_idx=config.pad_token_id)
        self.lstm = Lstm(
            config.embedding_size, config.hidden_size, config.num_hidden_layers, config.bidirectional, config.dropout
        )
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.hidden_size * (2 if config.bidirectional else 1), config.num_labels)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.LSTM):  # recurrent weights orthogonal, forget gates open at the start
            for name, parameter in module.named_parameters():
                if "weight_hh" in name:
                    for gate in parameter.chunk(4):
                        nn.init.orthogonal_(gate)
                elif "weight_ih" in name:
                    nn.init.xavier_uniform_(parameter)
                else:
                    parameter.zero_()
                    if "bias_ih" in name:
                        parameter.chunk(4)[1].fill_(1.0)
        elif isinstance(module, nn.Embedding):
            module.weight.normal_(0.0, 0.1)
            if module.padding_idx is not None:
                module.weight[module.padding_idx].zero_()
        else:
            super()._init_weights(module)

    def get_input_embeddings(self) -> nn.Embedding:
        """Word embeddings."""
        return self.embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Puts other word embeddings in place."""
        self.embeddings = value

    def states(self, input_ids_BL: Tensor, mask_BL: Tensor) -> Tensor:
        """[B, L, H]"""
        result: Tensor = self.lstm(self.dropout(self.embeddings(input_ids_BL)), mask_BL)
        return result


class LstmForSequenceClassification(_LstmModel):
    """The largest value over real tokens, then a linear layer."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: Any) -> SequenceClassifierOutput:
        """Logits [B, C]"""
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        x_BLH = self.states(input_ids, attention_mask)
        largest_BH = x_BLH.masked_fill(attention_mask.unsqueeze(-1) == 0, -1e4).amax(1)
        return SequenceClassifierOutput(logits=self.classifier(self.dropout(largest_BH)))


class LstmForTokenClassification(_LstmModel):
    """A linear layer at each token."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: Any) -> TokenClassifierOutput:
        """Logits [B, L, C]"""
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        return TokenClassifierOutput(logits=self.classifier(self.dropout(self.states(input_ids, attention_mask))))


AutoConfig.register(LstmConfig.model_type, LstmConfig)
AutoModelForSequenceClassification.register(LstmConfig, LstmForSequenceClassification)
AutoModelForTokenClassification.register(LstmConfig, LstmForTokenClassification)
