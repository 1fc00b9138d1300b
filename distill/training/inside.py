"""What happens inside a Transformer: queries, keys and values of its layers, and its sizes."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from distill.config import LayersStudent, ObjectiveConfig, TransformerStudent
from distill.errors import UserError
from distill.models import vector_size
from distill.models.answers import model_inputs
from distill.models.projections import projections_of
from distill.models.students import chosen_layers
from distill.models.width import kept_heads
from distill.objectives import Objective, Shape
from distill.objectives.inside import OnAttention, OnFirstTokens, OnStates
from distill.progress import track
from distill.runtime.forward import Forward, batches_by_tokens
from distill.tasks import Task
from distill.text import Encoded, pad, rows_of
from distill.text.encoding import Ids
from distill.training.devices import Machine
from distill.training.memory import halving
from distill.training.states import Compared, States


def shape_of(model: Any, task: Task) -> Shape:
    """Sizes of a Transformer."""
    config = model.config
    vector = vector_size(model.config) if task.kind == "vector" else 0
    return Shape(vector, config.num_hidden_layers, config.hidden_size, config.num_attention_heads)


def check_inside(
    objective: ObjectiveConfig, student: LayersStudent | TransformerStudent, teacher: Any, task: Task
) -> None:
    """Raises UserError where terms that look inside do not fit student and teacher, before either is trained."""
    if objective.looks_inside:
        compared_in(objective, student, teacher, task)


def compared_in(
    objective: ObjectiveConfig, student: LayersStudent | TransformerStudent, teacher: Any, task: Task
) -> Compared:
    """The layers of the teacher that terms compare with the student's. Raises UserError for terms that do not fit."""
    other = shape_of(teacher, task)
    if isinstance(student, LayersStudent):
        layers = len(chosen_layers(student, other.layers))
        heads = kept_heads(student.width_share, other.heads)
        own = replace(other, layers=layers, hidden=other.hidden // other.heads * heads, heads=heads)
    else:
        sizes = student.architecture
        own = Shape(other.vector, sizes.layers, sizes.hidden_size, sizes.heads)
    terms = Objective.of(objective.terms, task.kind, (own, other)).parts
    of_first = {layer for term in terms if isinstance(term, OnFirstTokens) for _, layer in term.pairs}
    of_states = {
        layer
        for term in terms
        if isinstance(term, OnStates) and not isinstance(term, OnFirstTokens)
        for _, layer in term.pairs
    }
    of_attention = {layer for term in terms if isinstance(term, OnAttention) for _, layer in term.pairs}
    return Compared(
        tuple(sorted(of_states)),
        tuple(sorted(of_first - of_states)),
        tuple(sorted(of_attention)),
        other.hidden,
        projections(teacher)[0][0].out_features if of_attention else 0,
    )


def run_inside(model: nn.Module, inputs: dict[str, Tensor], needs: frozenset[str]) -> tuple[Any, tuple[Any, list[Any]]]:
    """What a model gives, and of what happens inside it what is needed: hidden states [R, L, D] of the embeddings and
    of each layer, queries, keys and values [3, R, L, D] of each layer."""
    recording: AbstractContextManager[list[Tensor]] = recorded(model) if "qkv" in needs else nullcontext([])
    with recording as qkv:
        output = model(**inputs, **({"output_hidden_states": True} if "hidden" in needs else {}))
    return output, (output.hidden_states if "hidden" in needs else (), qkv)


def states_of(teacher: nn.Module, compared: Compared, kept: NDArray[np.int64] | None, machine: Machine) -> Forward:
    """The teacher as a forward that gives what is compared, in float16: [R, L, C], of each token what is kept of it,
    then what is kept of a row where it is its first token. ``kept`` [V] is the teacher's id of each of the student's,
    where its vocabulary is a part."""
    model, device = teacher.to(machine.place).eval(), machine.place
    ids = None if kept is None else torch.from_numpy(kept).to(device)
    needs = frozenset(
        ({"hidden"} if compared.hidden or compared.first else set()) | ({"qkv"} if compared.qkv else set())
    )

    def forward(arrays: dict[str, Ids]) -> Any:
        inputs = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
        if ids is not None:
            inputs["input_ids"] = ids[inputs["input_ids"]]
        with torch.inference_mode(), machine.autocast():
            _, (hidden, qkv) = run_inside(model, model_inputs(model, inputs), needs)
        found = [hidden[layer] for layer in compared.hidden]
        found += [qkv[layer - 1].permute(1, 2, 0, 3).flatten(2) for layer in compared.qkv]
        found += [hidden[layer] for layer in compared.first]
        return torch.cat([one.half() for one in found], dim=-1).cpu().numpy()

    return halving(forward)


def projections(model: nn.Module) -> list[list[nn.Linear]]:
    """The linear maps that make queries, keys and values, of each layer that has its own. Raises UserError for a model
    in which they are not found."""
    found = projections_of(model)
    if not found:
        raise UserError(
            f"the queries, keys and values of {type(model).__name__} were not found, which the objective's terms "
            "'attention' and 'relations' read; leave them out, or choose 'hidden'"
        )
    return found


def look_at(  # as many parameters as :func:`distill.runtime.respond`
    texts: Sequence[Encoded], forward: Forward, compared: Compared, pad_id: int, tokens: int, what: str = ""
) -> list[tuple[States, States]]:
    """Of each text what :meth:`distill.training.states.StateStore.at` is to give, by :func:`states_of` in batches of at
    most so many padded ``tokens``. With ``what``, progress is shown under this name."""
    windows = [one.windows for one in texts]
    longest = [max(len(row.input_ids) for row in rows_of([one])) for one in texts]
    found: dict[int, tuple[States, States]] = {}
    batches = batches_by_tokens(windows, longest, tokens)
    for batch in track(batches, what) if what else batches:
        arrays = pad(rows_of([texts[i] for i in batch]), pad_id)
        states_RLC: Any = forward(arrays)
        assert states_RLC.shape[-1] == compared.of_token + compared.of_row
        mask, ends = arrays["attention_mask"].astype(bool), np.cumsum([windows[i] for i in batch])
        for i, end in zip(batch, ends, strict=True):
            own = slice(end - windows[i], end)
            tokens_TC = states_RLC[own, :, : compared.of_token][mask[own]]
            found[i] = tokens_TC, states_RLC[own, 0, compared.of_token :].copy()
    return [found[i] for i in range(len(texts))]


@contextmanager
def recorded(model: nn.Module) -> Iterator[list[Tensor]]:
    """Runs of the model inside leave queries, keys and values of each layer in the list, [3, R, L, D] each.

    They are taken as the linear maps give them, before any rotation; a layer that is run several times (ALBERT) leaves
    those of each time.
    """
    made: list[Tensor] = []
    of_layer: dict[int, Tensor] = {}

    def keep(place: int, module: nn.Module, arguments: Any, output: Tensor) -> None:
        of_layer[place] = output.float()
        if len(of_layer) == 3:
            made.append(torch.stack([of_layer.pop(i) for i in range(3)]))

    with ExitStack() as hooks:
        for own in projections(model):
            for place, linear in enumerate(own):
                hooks.callback(linear.register_forward_hook(partial(keep, place)).remove)
        yield made
