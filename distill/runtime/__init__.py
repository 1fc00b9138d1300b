"""A bundle at work: onnxruntime, tokenizers and numpy, nothing else."""

from distill.runtime.bundle import Bundle, WritingBundle, Written
from distill.runtime.cascade import CascadeBundle
from distill.runtime.forward import ALONE, Forward, Response, in_order, respond
from distill.runtime.generation import Generated, generate, stream
from distill.runtime.graphs import Graphs
from distill.runtime.loading import load
from distill.runtime.manifest import (
    LARGER,
    MANIFEST,
    Cascade,
    Columns,
    Generation,
    Manifest,
    graph_file,
    read_manifest,
    sha256_of,
    stored,
    verify,
    weights_file,
)
from distill.runtime.sampling import GenerationSettings

__all__ = [
    "ALONE",
    "LARGER",
    "MANIFEST",
    "Bundle",
    "Cascade",
    "CascadeBundle",
    "Columns",
    "Forward",
    "Generated",
    "Generation",
    "GenerationSettings",
    "Graphs",
    "Manifest",
    "Response",
    "WritingBundle",
    "Written",
    "generate",
    "graph_file",
    "in_order",
    "load",
    "read_manifest",
    "respond",
    "sha256_of",
    "stored",
    "stream",
    "verify",
    "weights_file",
]
