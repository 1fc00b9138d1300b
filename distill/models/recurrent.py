"""Recurrent networks, as ``PreTrainedModel`` that transformers' auto classes know: vanilla RNN, GRU, LSTM.

Shape suffixes: B batch, L length, D size of the input, H size of the states (twice the
hidden size with two directions).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import (
    BaseModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)

from distill.models.generation import State
from distill.models.pooling import compared, masked_max, masked_mean, read_apart

CELLS: dict[str, type[nn.RNNBase]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
GATES = {"rnn": 1, "gru": 3, "lstm": 4}


class RecurrentConfig(PretrainedConfig):  # type: ignore[misc]
    """Sizes of the network.

    ``pairs`` are read ``together`` in one row, or ``apart``, each text by itself, with ``pair_opening`` tokens before
    both (see :func:`distill.models.pooling.read_apart`).
    """

    model_type = "distill_recurrent"

    def __init__(
        self,
        cell: str = "lstm",
        vocab_size: int = 8000,
        embedding_size: int = 128,
        hidden_size: int = 128,
        num_hidden_layers: int = 1,
        bidirectional: bool = True,
        pooling: str = "max",
        dropout: float = 0.2,
        pairs: str = "together",
        pair_opening: int = 0,
        initializer_range: float = 0.02,
        pad_token_id: int = 0,
        **rest: Any,
    ) -> None:
        self.cell = cell
        self.vocab_size = vocab_size
        self.embedding_size = embedding_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.bidirectional = bidirectional
        self.pooling = pooling
        self.dropout = dropout
        self.pairs = pairs
        self.pair_opening = pair_opening
        self.type_vocab_size = 2 if pairs == "apart" else 0
        self.initializer_range = initializer_range
        super().__init__(pad_token_id=pad_token_id, **rest)

    @property
    def output_size(self) -> int:
        """H, the size of a token's state: both directions together."""
        return int(self.hidden_size * (2 if self.bidirectional else 1))


class Recurrent(nn.Module):
    """Layers of cells, one or two directions, that compute on a padded batch what torch computes on a packed one.

    Padding stands on the right, so the forward direction never reads it before a real token. For the backward
    direction each text is reversed inside its own length by a gather, read forward, and reversed again. Nothing is
    packed, and the graph exports to ONNX as it is.
    """

    def __init__(
        self, cell: str, input_size: int, hidden_size: int, layers: int, bidirectional: bool, dropout: float
    ) -> None:
        super().__init__()
        sizes = [input_size] + [hidden_size * (2 if bidirectional else 1)] * (layers - 1)
        kind: Any = CELLS[cell]
        self.forward_layers = nn.ModuleList(kind(size, hidden_size, batch_first=True) for size in sizes)
        self.backward_layers = nn.ModuleList(
            kind(size, hidden_size, batch_first=True) for size in (sizes if bidirectional else [])
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BLD: Tensor, mask_BL: Tensor) -> Tensor:
        """[B, L, D] to [B, L, H]; positions of padding hold 0."""
        return self.layers(x_BLD, mask_BL)[-1]

    def layers(self, x_BLD: Tensor, mask_BL: Tensor) -> list[Tensor]:
        """What came in, and the states of each layer."""
        states = [x_BLD]
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
            states.append(x_BLD)
        return states

    def read_on(self, x_BLD: Tensor, state: State, length_B: Tensor | None = None) -> tuple[list[Tensor], State]:
        """One direction, after ``state`` has been read: (states of each layer [B, L, H], the state at each row's end).

        A state is ``h`` of each layer in turn, [B, H] each, of an LSTM ``h`` and ``c``. Rows end where ``length_B``
        says, all at L where it is left out; it costs packing, for the state at the end of a row is wanted.
        """
        outs, ends = [], []
        parts = len(state) // len(self.forward_layers)
        for index, layer in enumerate(self.forward_layers):
            if index:
                x_BLD = self.dropout(x_BLD)
            before = tuple(part.unsqueeze(0) for part in state[index * parts : (index + 1) * parts])
            given = before if parts == 2 else before[0]
            if length_B is None:
                x_BLD, after = layer(x_BLD, given)
            else:
                packed = pack_padded_sequence(x_BLD, length_B.cpu(), batch_first=True, enforce_sorted=False)
                packed, after = layer(packed, given)
                x_BLD = pad_packed_sequence(packed, batch_first=True, total_length=x_BLD.shape[1])[0]
            outs.append(x_BLD)
            ends += [part[0] for part in (after if parts == 2 else (after,))]
        return outs, tuple(ends)

    def empty_state(self, batch: int) -> State:
        """The state before anything was read, zeros [B, H] each."""
        weight: Any = self.forward_layers[0].weight_hh_l0
        parts = 2 if isinstance(self.forward_layers[0], nn.LSTM) else 1
        return tuple(weight.new_zeros(batch, weight.shape[1]) for _ in range(parts * len(self.forward_layers)))


class RecurrentPreTrainedModel(PreTrainedModel):  # type: ignore[misc]
    """How recurrent networks start; a subclass has ``embeddings`` and a ``cell`` in its configuration."""

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.RNNBase):
            # Recurrent weights orthogonal, gate by gate, so that a gradient neither grows nor shrinks at once; the
            # forget gate of an LSTM (the second) open at the start, so that it remembers (Jozefowicz et al. 2015).
            gates = GATES[self.config.cell]
            for name, parameter in module.named_parameters():
                if "weight_hh" in name:
                    for gate in parameter.chunk(gates):
                        nn.init.orthogonal_(gate)
                elif "weight_ih" in name:
                    nn.init.xavier_uniform_(parameter)
                else:
                    parameter.zero_()
                    if "bias_ih" in name and gates == 4:
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


class _RecurrentModel(RecurrentPreTrainedModel):
    """What all heads share."""

    config_class = RecurrentConfig
    base_model_prefix = "network"

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__(config)
        self.embeddings = nn.Embedding(config.vocab_size, config.embedding_size, padding_idx=config.pad_token_id)
        self.recurrent = Recurrent(
            config.cell,
            config.embedding_size,
            config.hidden_size,
            config.num_hidden_layers,
            config.bidirectional,
            config.dropout,
        )
        self.dropout = nn.Dropout(config.dropout)
        outputs = self._outputs(config)
        if outputs:
            self.classifier = nn.Linear(self._pooled_size(config), outputs)
        self.post_init()

    def _outputs(self, config: RecurrentConfig) -> int:
        return int(config.num_labels)

    def _pooled_size(self, config: RecurrentConfig) -> int:
        return config.output_size

    def states(self, input_ids_BL: Tensor, mask_BL: Tensor | None) -> tuple[Tensor, ...]:
        """What the embeddings give [B, L, E], and the states of each layer [B, L, H]."""
        if mask_BL is None:
            mask_BL = torch.ones_like(input_ids_BL)
        return tuple(self.recurrent.layers(self.dropout(self.embeddings(input_ids_BL)), mask_BL))


class RecurrentModel(_RecurrentModel):
    """The states themselves."""

    def _outputs(self, config: RecurrentConfig) -> int:
        return 0

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: Any) -> BaseModelOutput:
        """States [B, L, H]"""
        return BaseModelOutput(last_hidden_state=self.states(input_ids, attention_mask)[-1])


class RecurrentForSequenceClassification(_RecurrentModel):
    """One state for the text, or four for two that are read apart, then a linear layer: a label, several labels, or a
    number."""

    def _pooled_size(self, config: RecurrentConfig) -> int:
        return config.output_size * (4 if config.pairs == "apart" else 1)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        output_hidden_states: bool = False,
        **_: Any,
    ) -> SequenceClassifierOutput:
        """Logits [B, C]; ``hidden_states``, when asked for, as :meth:`states` gives them."""
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        apart = self.config.pairs == "apart"
        if apart:
            opening, pad_id = self.config.pair_opening, self.config.pad_token_id
            input_ids, attention_mask = read_apart(input_ids, attention_mask, token_type_ids, opening, pad_id)
        states = self.states(input_ids, attention_mask)
        pooled_BH = pool(states[-1], attention_mask, self.config.pooling, self.config.hidden_size)
        if apart:
            pooled_BH = compared(pooled_BH)
        return SequenceClassifierOutput(
            logits=self.classifier(self.dropout(pooled_BH)), hidden_states=states if output_hidden_states else None
        )


class RecurrentForTokenClassification(_RecurrentModel):
    """A linear layer at each token."""

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        output_hidden_states: bool = False,
        **_: Any,
    ) -> TokenClassifierOutput:
        """Logits [B, L, C]; ``hidden_states``, when asked for, as :meth:`states` gives them."""
        states = self.states(input_ids, attention_mask)
        return TokenClassifierOutput(
            logits=self.classifier(self.dropout(states[-1])), hidden_states=states if output_hidden_states else None
        )


class RecurrentForQuestionAnswering(_RecurrentModel):
    """Two numbers at each token: whether the answer starts there, and whether it ends there."""

    def _outputs(self, config: RecurrentConfig) -> int:
        return 2

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: Any
    ) -> QuestionAnsweringModelOutput:
        """Start and end [B, L]"""
        both_BL2 = self.classifier(self.dropout(self.states(input_ids, attention_mask)[-1]))
        return QuestionAnsweringModelOutput(start_logits=both_BL2[..., 0], end_logits=both_BL2[..., 1])


def pool(x_BLH: Tensor, mask_BL: Tensor, pooling: str, hidden_size: int) -> Tensor:
    """[B, L, H] to [B, H] over real tokens: ``max``, ``mean``, or ``last``, the state where each direction ends."""
    if pooling == "max":
        return masked_max(x_BLH, mask_BL)
    if pooling == "mean":
        return masked_mean(x_BLH, mask_BL)
    last_B11 = (mask_BL.sum(1) - 1).clamp(min=0)[:, None, None]
    ends_BH = x_BLH.gather(1, last_B11.expand(-1, -1, x_BLH.shape[2]))[:, 0]
    return torch.cat([ends_BH[:, :hidden_size], x_BLH[:, 0, hidden_size:]], dim=-1)


AutoConfig.register(RecurrentConfig.model_type, RecurrentConfig)
AutoModel.register(RecurrentConfig, RecurrentModel)
AutoModelForSequenceClassification.register(RecurrentConfig, RecurrentForSequenceClassification)
AutoModelForTokenClassification.register(RecurrentConfig, RecurrentForTokenClassification)
AutoModelForQuestionAnswering.register(RecurrentConfig, RecurrentForQuestionAnswering)
