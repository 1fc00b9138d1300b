"""A model that computes as its int8 variant will, and learns all the same.

Shape suffixes: R rows, V rows of a table, I and O numbers that a matrix product takes and gives, D numbers of a row.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from torch import Tensor, nn
from torch.nn import functional

SMALLEST_TABLE = 4096
"""Numbers in an embedding below which it is not rounded, as at export (``distill/export/quantize.py``)."""
TINY = 1e-30


@contextmanager
def rounded(model: nn.Module) -> Iterator[None]:
    """Inside, embeddings, matrices of linear layers and what goes into these are rounded as the variant ``int8`` rounds
    them; gradients pass the rounding as if it were not there (straight-through; Jacob et al. 2018, section 3). The
    weights themselves stay in fp32, and are what is trained and kept.
    """
    changed: list[nn.Module] = []
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.forward = partial(rounded_product, module)  # type: ignore[method-assign]
        elif isinstance(module, nn.Embedding) and module.weight.numel() >= SMALLEST_TABLE:
            module.forward = partial(rounded_rows, module)  # type: ignore[method-assign]
        else:
            continue
        changed.append(module)
    try:
        yield
    finally:
        for module in changed:
            del module.forward


def rounded_product(linear: nn.Linear, x: Tensor) -> Tensor:
    """[R, …, I] to [R, …, O]"""
    return functional.linear(round_activations(x), round_columns(linear.weight), linear.bias)


def rounded_rows(table: nn.Embedding, ids: Tensor) -> Tensor:
    """[…] to […, D]"""
    return functional.embedding(ids, round_rows(table.weight), table.padding_idx)


def round_columns(weight_OI: Tensor) -> Tensor:
    """7 bits, from -64 to 64, with a scale for each number that is given."""
    scale_O1 = weight_OI.detach().abs().amax(1, keepdim=True).clamp(min=TINY) / 64
    return through(weight_OI, (weight_OI / scale_O1).round() * scale_O1)


def round_rows(weight_VD: Tensor) -> Tensor:
    """8 bits, from -127 to 127, with a scale for each row."""
    scale_V1 = weight_VD.detach().abs().amax(1, keepdim=True).clamp(min=TINY) / 127
    return through(weight_VD, (weight_VD / scale_V1).round() * scale_V1)


def round_activations(x: Tensor) -> Tensor:
    """8 bits from the smallest to the largest number of each row, 0 among them: a bundle answers one text at a time."""
    of_row = tuple(range(1, x.ndim))
    low, high = x.detach().amin(of_row, keepdim=True).clamp(max=0), x.detach().amax(of_row, keepdim=True).clamp(min=0)
    scale = ((high - low) / 255).clamp(min=TINY)
    zero = (-low / scale).round().clamp(0, 255)
    return through(x, (((x / scale).round() + zero).clamp(0, 255) - zero) * scale)


def through(x: Tensor, rounded_x: Tensor) -> Tensor:
    """The rounded value, with the gradient of the other."""
    return x + (rounded_x - x).detach()
