"""A bundle at work: onnxruntime, tokenizers and numpy, nothing else."""

from distill.runtime.bundle import Bundle, load
from distill.runtime.graph import Graph, predict_units
from distill.runtime.manifest import Manifest, read_manifest, sha256_of, verify

__all__ = ["Bundle", "Graph", "Manifest", "load", "predict_units", "read_manifest", "sha256_of", "verify"]
