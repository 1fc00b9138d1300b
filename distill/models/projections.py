"""Where a Transformer makes its queries, keys and values."""

from torch import nn

PROJECTIONS = (
    ("query", "key", "value"),  # BERT and its kin, and the encoders here
    ("q_lin", "k_lin", "v_lin"),  # DistilBERT
    ("q", "k", "v"),  # MPNet
)
"""Names of the linear maps that make queries, keys and values."""


def projections_of(model: nn.Module) -> list[list[nn.Linear]]:
    """The linear maps that make queries, keys and values, of each attention that has its own; empty where none is
    found."""
    found = []
    for module in model.modules():
        children = dict(module.named_children())
        for names in PROJECTIONS:
            own = [child for name in names if isinstance(child := children.get(name), nn.Linear)]
            if len(own) == len(names):
                found.append(own)
    return found
