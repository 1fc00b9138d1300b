"""The graphs of this repository's own models that write, whose state is plain tensors as it is."""

from typing import Any

import torch
from torch import Tensor, nn

from distill.models.graph_spec import BY_SOURCE, BY_TOKEN, Axes, GraphSpec

WORDS = {4: ("key", "value"), 3: ("key", "state"), 2: ("hidden", "cell")}
"""What tensors of so many axes hold: of attention, of the states of a recurrent encoder, of a recurrent network."""
LENGTH_AXIS = {4: 2, 3: 1}
"""Of those that have one."""


def state_graphs(model: Any) -> list[GraphSpec]:
    """The graphs of a model that takes and gives ``state``; inputs and outputs are called as those of transformers'
    models.

    Of a decoder, one graph of the role ``decoder``: ``input_ids`` [B, L], ``attention_mask`` [B, P + L] over what was
    read and what is new, and the state, to ``logits`` [B, L, V] and the state after it. With attention the state is
    ``past.0.key``, ``past.0.value`` … [B, heads, P, head size]; in a recurrent network ``past.0.hidden`` and, of an
    LSTM, ``past.0.cell`` … [B, H].

    Of an encoder-decoder also ``encoder``, from the source to what the decoder sees of it (``cross…``) and, in a
    recurrent network, the state that it starts to write with (``past…``). A recurrent decoder that reads a source
    takes one token at a time; without attention it takes no mask of the source.
    """
    return _encoder_decoder(model) if model.config.is_encoder_decoder else [_decoder(model)]


def _decoder(model: Any) -> GraphSpec:
    ids = torch.full((2, 3), 2)
    with torch.no_grad():
        state = model(input_ids=ids, use_cache=True).state
    past = _named("past", state, _parts(model))
    mask = torch.ones(2, 6, dtype=torch.long)
    mask[1, :2] = 0
    example = {"input_ids": ids, "attention_mask": mask, **past}
    axes = {"input_ids": BY_TOKEN, "attention_mask": {0: "batch", 1: "total"}, "logits": BY_TOKEN, **_past_axes(past)}
    return GraphSpec("decoder", _Decoder(model).eval(), example, axes, ("logits", *map(_present, past)))


def _encoder_decoder(model: Any) -> list[GraphSpec]:
    ids = torch.full((2, 3), 2)
    mask = torch.ones_like(ids)
    mask[1, 2:] = 0
    with torch.no_grad():
        output = model(input_ids=ids, attention_mask=mask, decoder_input_ids=ids, use_cache=True)
    recurrent = output.state[0].ndim == 2
    past = _named("past", output.state, _parts(model))
    cross = _named("cross", output.cross, min(2, len(output.cross)))
    source = {"input_ids": ids, "attention_mask": mask}
    axes = _axes(cross, "source") | _past_axes(past)
    outputs = (*cross, *past) if recurrent else tuple(cross)
    target: Axes = {0: "batch"} if recurrent else BY_TOKEN
    looks = any(tensor.ndim in LENGTH_AXIS for tensor in output.cross)
    masks = {"encoder_attention_mask": mask} if looks else {}  # an input that no node reads is not in the graph
    example = {"input_ids": ids[:, :1] if recurrent else ids, **masks, **past, **cross}
    return [
        GraphSpec("encoder", _Encoder(model).eval(), source, axes | dict.fromkeys(source, BY_SOURCE), outputs),
        GraphSpec(
            "decoder",
            (_CrossDecoder if looks else _BlindDecoder)(model, len(past)).eval(),
            example,
            axes | {"input_ids": target, "logits": target} | dict.fromkeys(masks, BY_SOURCE),
            ("logits", *map(_present, past)),
        ),
    ]


class _Decoder(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        output = self.model(input_ids=input_ids, attention_mask=attention_mask, state=state, use_cache=True)
        return output.logits, *output.state


class _Encoder(nn.Module):
    """What the decoder begins with, but for an empty cache."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        encoded = self.model.encoder(input_ids, attention_mask).last_hidden_state
        cross, state = self.model.start(encoded, attention_mask)
        return *cross, *(tensor for tensor in state if tensor.ndim == 2)


class _CrossDecoder(nn.Module):
    """``kept`` tensors of state come before those made of the source."""

    def __init__(self, model: Any, kept: int) -> None:
        super().__init__()
        self.model = model
        self.kept = kept

    def forward(self, input_ids: Tensor, encoder_attention_mask: Tensor | None, *tensors: Tensor) -> tuple[Tensor, ...]:
        output = self.model(
            decoder_input_ids=input_ids,
            attention_mask=encoder_attention_mask,
            state=tensors[: self.kept],
            cross=tensors[self.kept :],
            use_cache=True,
        )
        return output.logits, *output.state


class _BlindDecoder(_CrossDecoder):
    """Without attention: it sees the same of the source at each step, and needs no mask."""

    def forward(self, input_ids: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        return super().forward(input_ids, None, *tensors)


def _parts(model: Any) -> int:
    """Tensors of a layer's state."""
    return 1 if getattr(model.config, "cell", "lstm") != "lstm" else 2


def _named(what: str, tensors: tuple[Tensor, ...], parts: int) -> dict[str, Tensor]:
    """``parts`` tensors of each layer in turn, by name."""
    return {f"{what}.{i // parts}.{WORDS[t.ndim][i % parts]}": t for i, t in enumerate(tensors)}


def _axes(tensors: dict[str, Tensor], length: str) -> dict[str, Axes]:
    """The free axes; ``length`` is what that of the tokens is called."""
    return {
        name: {0: "batch"} | ({LENGTH_AXIS[tensor.ndim]: length} if tensor.ndim in LENGTH_AXIS else {})
        for name, tensor in tensors.items()
    }


def _past_axes(past: dict[str, Tensor]) -> dict[str, Axes]:
    """Of the state as it is given and as it comes back."""
    return _axes(past, "past") | {_present(name): axes for name, axes in _axes(past, "total").items()}


def _present(name: str) -> str:
    """What the graph calls a tensor of the state as it gives it back."""
    return name.replace("past", "present")
