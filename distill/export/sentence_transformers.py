"""The files that make a folder of ``save_pretrained`` one that sentence-transformers loads."""

import json
from pathlib import Path

from distill.results import write_aside

MODULES = ("Transformer", "Pooling", "Normalize")


def write_layout(directory: Path, size: int, max_length: int, pooling: str) -> None:
    """Adds ``modules.json`` and what it names: the encoder, the pooling, and division by the norm.

    ``size`` is that of the vectors, ``max_length`` in tokens; ``pooling`` is one of
    :data:`distill.models.pooling.POOLINGS`. A student with an architecture of this project loads
    after ``import distill.models``, which tells transformers' auto classes of it.
    """
    paths = ["" if i == 0 else f"{i}_{name}" for i, name in enumerate(MODULES)]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
        for i, (name, path) in enumerate(zip(MODULES, paths, strict=True))
    ]
    keys = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token", "max": "pooling_mode_max_tokens"}
    modes = {key: name == pooling for name, key in keys.items()}
    contents = {
        "modules.json": modules,
        "sentence_bert_config.json": {"max_seq_length": max_length, "do_lower_case": False},
        f"{paths[1]}/config.json": {"word_embedding_dimension": size, **modes},
    }
    for name, content in contents.items():
        write_aside(directory / name, json.dumps(content, indent=2) + "\n")
    (directory / paths[2]).mkdir(exist_ok=True)
