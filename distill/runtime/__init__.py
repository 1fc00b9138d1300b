"""A bundle at work: onnxruntime, tokenizers and numpy, nothing else."""

from distill.runtime.bundle import Bundle, load
from distill.runtime.forward import ALONE, Forward, Response, in_order, respond
from distill.runtime.graph import Graph
from distill.runtime.manifest import Manifest, read_manifest, sha256_of, verify

__all__ = [
    "ALONE",
    "Bundle",
    "Forward",
    "Graph",
    "Manifest",
    "Response",
    "in_order",
    "load",
    "read_manifest",
    "respond",
    "sha256_of",
    "verify",
]
