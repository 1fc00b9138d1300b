"""A vocabulary shortlist: of a text that is written from another one, only tokens are scored that the words of the
source are likely translated by, and the most frequent ones (Jean et al. 2015, section 3.2; Devlin 2017)."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from distill.export.onnx_export import save_graph
from distill.export.tied import untie
from distill.runtime.graphs import SHORTLIST, SHORTLIST_BIAS, SHORTLIST_WEIGHT
from distill.text.encoding import Ids

FREQUENT = 100
"""Target tokens that are always scored, as many as in Marian: articles, commas and endings follow from what was
written before, and no word of the source asks for them."""
ITERATIONS = 4
"""Of expectation maximisation; the order of the likeliest tokens hardly changes after."""
CHUNK = 2**22
"""Cells, each a token of a source with one of its target, that are counted at a time."""
KEPT = 2**24
"""Pairs of tokens that are kept at most: those that occur together most often. They take 400 MB while they are
counted."""

Pairs = Sequence[tuple[Ids, Ids]]
"""Source and target of each training text, with their special tokens."""


class Shortlist(NamedTuple):
    """What of a vocabulary of V tokens is scored."""

    likeliest_VK: NDArray[np.int64]
    """The likeliest target tokens of each source token; itself where fewer were seen with it, as names are copied."""
    frequent: NDArray[np.int64]
    """[N], scored whatever the source."""


def learn_shortlist(pairs: Pairs, vocabulary: int, count: int, always: Sequence[int]) -> Shortlist:
    """The ``count`` likeliest target tokens of each source token, and the most frequent ones with ``always`` among
    them. Both are at most ``vocabulary``.

    Likely is what IBM model 1 finds likely (Brown et al. 1993, section 4.1): t(target | source), from equal values on.
    The special tokens of the sources take the part of the empty word.
    """
    keys, t = _translations(pairs, vocabulary)
    sources, targets = np.divmod(keys, vocabulary)
    order = np.lexsort((targets, -t, sources))
    sources, targets = sources[order], targets[order]
    rank = np.arange(len(sources)) - np.searchsorted(sources, sources)
    likely = rank < count
    table = np.repeat(np.arange(vocabulary)[:, None], min(count, vocabulary), axis=1)
    table[sources[likely], rank[likely]] = targets[likely]
    written = np.bincount(np.concatenate([target for _, target in pairs]), minlength=vocabulary)
    frequent = np.argsort(-written, kind="stable")[:FREQUENT]
    return Shortlist(table, np.union1d(frequent, np.asarray(always, dtype=np.int64)))


def _translations(pairs: Pairs, vocabulary: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(source · V + target, ascending; t(target | source)) of the pairs of tokens that occur together."""
    keys: NDArray[np.int64] = np.empty(0, dtype=np.int64)
    counts: NDArray[np.float64] = np.empty(0)
    for cells, _ in _cells(pairs, vocabulary):
        keys, place = np.unique(np.concatenate([keys, cells]), return_inverse=True)
        counts = np.bincount(place, np.concatenate([counts, np.ones(len(cells))])).astype(np.float64)
        if len(keys) > KEPT:
            most = np.sort(np.argpartition(-counts, KEPT)[:KEPT])
            keys, counts = keys[most], counts[most]
    t = np.ones(len(keys))
    for _ in range(ITERATIONS):
        expected = np.zeros(len(keys))
        for cells, of_target in _cells(pairs, vocabulary):
            place = np.minimum(np.searchsorted(keys, cells), len(keys) - 1)
            share = np.where(keys[place] == cells, t[place], 0)
            total = np.bincount(of_target, share)[of_target]
            expected += np.bincount(place, np.divide(share, total, out=share, where=total > 0), len(keys))
        sources = keys // vocabulary
        t = expected / np.maximum(np.bincount(sources, expected), 1e-30)[sources]
    return keys, t


def _cells(pairs: Pairs, vocabulary: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """(source · V + target of each cell, the number of the target's token) in chunks."""
    cells: list[NDArray[np.int64]] = []
    of_target: list[NDArray[np.int64]] = []
    size = targets = 0
    for source, target in pairs:
        cells.append((source[:, None] * vocabulary + target).ravel())
        of_target.append(np.tile(np.arange(targets, targets + len(target)), len(source)))
        size, targets = size + len(cells[-1]), targets + len(target)
        if size >= CHUNK:
            yield np.concatenate(cells), np.concatenate(of_target)
            cells, of_target, size, targets = [], [], 0, 0
    if size:
        yield np.concatenate(cells), np.concatenate(of_target)


def shortlist_graphs(sources: dict[str, Path], shortlist: Shortlist, targets: dict[str, Path]) -> None:
    """Writes encoder and decoder with a shortlist, each in fp32, from those of ``sources``.

    Of a batch, the encoder also gives ``shortlist`` [S], the ids that are scored, ascending, and the columns of the
    output layer that belong to them, ``shortlist.weight`` [D, S] and, where it has a bias, ``shortlist.bias`` [S]. The
    decoder takes these in the place of the whole output layer: they are gathered once a source, not once a token.

    Raises ValueError where the decoder's logits are not a product with one matrix.
    """
    encoder, decoder = (onnx.load(sources[role]) for role in ("encoder", "decoder"))
    untie(decoder)
    weight_DV, bias_V = _cut_output_layer(decoder.graph)
    _gather_in_encoder(encoder.graph, shortlist, weight_DV.T, bias_V)
    for role, model in (("encoder", encoder), ("decoder", decoder)):
        targets[role].parent.mkdir(parents=True, exist_ok=True)
        save_graph(model, targets[role])


def _cut_output_layer(decoder: onnx.GraphProto) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """(weight [D, V], bias [V]) of the output layer, in the place of which the graph takes those of a shortlist."""
    tensors = {tensor.name: tensor for tensor in decoder.initializer}
    makers = {name: node for node in decoder.node for name in node.output}
    node, bias_V = makers["logits"], None
    if node.op_type == "Add":
        constant = next((i for i, name in enumerate(node.input) if name in tensors), None)
        if constant is not None:
            bias_V = numpy_helper.to_array(tensors[node.input[constant]]).reshape(-1)
            product = makers.get(node.input[1 - constant])
            node.input[constant] = SHORTLIST_BIAS
            decoder.input.append(helper.make_tensor_value_info(SHORTLIST_BIAS, TensorProto.FLOAT, [SHORTLIST]))
            node = product or node
    matrix = tensors.get(node.input[1]) if node.op_type == "MatMul" else None
    if matrix is None or (bias_V is not None and bias_V.shape != tuple(matrix.dims[1:])):
        raise ValueError("the decoder's logits are no product with one matrix, of which a shortlist takes columns")
    weight_DV = numpy_helper.to_array(matrix)
    node.input[1] = SHORTLIST_WEIGHT
    shape = [weight_DV.shape[0], SHORTLIST]
    decoder.input.append(helper.make_tensor_value_info(SHORTLIST_WEIGHT, TensorProto.FLOAT, shape))
    logits = next(output for output in decoder.output if output.name == "logits")
    logits.type.tensor_type.shape.dim[-1].dim_param = SHORTLIST
    read = {name for node in decoder.node for name in node.input}
    for tensor in [tensor for tensor in decoder.initializer if tensor.name not in read]:
        decoder.initializer.remove(tensor)
    return weight_DV, bias_V


def _gather_in_encoder(
    encoder: onnx.GraphProto,
    shortlist: Shortlist,
    weight_VD: NDArray[np.float32],
    bias_V: NDArray[np.float32] | None,
) -> None:
    """Adds the shortlist of a batch, and what the output layer has for it, to what the encoder gives."""

    def constant(name: str, array: NDArray[np.generic]) -> str:
        encoder.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(kind: str, inputs: list[str], output: str, **attributes: int | list[int]) -> str:
        encoder.node.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    whole = numpy_helper.from_array(weight_VD)
    tied = (t.name for t in encoder.initializer if t.dims == whole.dims and t.raw_data == whole.raw_data)
    weight = next(tied, None) or constant("shortlist.rows", weight_VD)
    smallest = np.min_scalar_type(len(weight_VD))
    likeliest = constant("shortlist.likeliest", shortlist.likeliest_VK.astype(smallest))
    frequent, flat = constant("shortlist.frequent", shortlist.frequent), constant("shortlist.flat", np.array([-1]))
    ids = add("Reshape", ["input_ids", flat], "shortlist.source_and_padding")
    mask = add("Reshape", ["attention_mask", flat], "shortlist.mask")
    real = add("Cast", [mask], "shortlist.real", to=TensorProto.BOOL)
    source = add("Compress", [ids, real], "shortlist.source", axis=0)
    found = add("Gather", [likeliest, source], "shortlist.found")
    wide = add("Cast", [found], "shortlist.found_ids", to=TensorProto.INT64)
    likely = add("Reshape", [wide, flat], "shortlist.likely")
    either = add("Concat", [likely, frequent], "shortlist.either", axis=0)
    listed = add("Unique", [either], SHORTLIST, sorted=1)
    rows = add("Gather", [weight, listed], "shortlist.rows_SD")
    add("Transpose", [rows], SHORTLIST_WEIGHT, perm=[1, 0])
    outputs = [(SHORTLIST, TensorProto.INT64, []), (SHORTLIST_WEIGHT, TensorProto.FLOAT, [weight_VD.shape[1]])]
    if bias_V is not None:
        add("Gather", [constant("shortlist.whole_bias", bias_V), listed], SHORTLIST_BIAS)
        outputs.append((SHORTLIST_BIAS, TensorProto.FLOAT, []))
    for name, kind, before in outputs:
        encoder.output.append(helper.make_tensor_value_info(name, kind, [*before, SHORTLIST]))
