"""The same files with and without VNNI, by an emulator: `python benchmarks/vnni.py BUNDLE KEPT`, twice.

The first time, on a processor with VNNI, makes the variants of a bundle's fp32 graph in the new folder KEPT, with what
they answer to random ids. The second time, by a processor without it, runs the same files and prints how far their
answers are from those. QEMU emulates one, onnxruntime asks it what it can do and takes other kernels:

    python benchmarks/vnni.py exports/quickstart kept
    qemu-x86_64 -cpu Haswell $(which python) benchmarks/vnni.py exports/quickstart kept

`worst case` is one product whose activations and weights are all as large as they can be, in 7 and in 8 bits. Of models
that read a text (the role `model`).
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

TEXTS, TOKENS = 16, 24
WORST = {"worst case, 7 bits": 64, "worst case, 8 bits": 127}


def make(bundle: Path, kept: Path) -> None:
    """The variants, and the worst cases."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from distill.config.rules import VARIANT_NAMES
    from distill.export.quantize import VARIANTS, Files
    from distill.runtime import load
    from distill.text import Encoded
    from distill.text.encoding import EMPTY

    loaded, generator = load(bundle, "fp32", threads=1), np.random.default_rng(1)
    ids = [generator.integers(loaded.reading.vocabulary_size, size=TOKENS) for _ in range(64)]
    texts = [Encoded(row, 0 * row, EMPTY, False) for row in ids]
    kept.mkdir()
    for variant in VARIANT_NAMES:
        VARIANTS[variant]({"model": Files(loaded.model, kept / f"{variant}.onnx")}, texts)
    for name, largest in WORST.items():
        weights = numpy_helper.from_array(np.full((256, 64), largest, dtype=np.int8), "weights")
        graph = helper.make_graph(
            [helper.make_node("MatMulInteger", ["x", "weights"], ["logits"])],
            "product",
            [helper.make_tensor_value_info("x", TensorProto.UINT8, [TEXTS, 256])],
            [helper.make_tensor_value_info("logits", TensorProto.INT32, None)],
            [weights],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        onnx.save(model, kept / f"{name}.onnx")
    np.save(kept / "ids.npy", np.stack(ids[:TEXTS]))


def answers(file: Path, ids: Any) -> Any:
    """Each text alone; of a worst case one product."""
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    if file.stem in WORST:
        return session.run(["logits"], {"x": np.full((TEXTS, 256), 255, dtype=np.uint8)})[0]
    given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": 0 * ids}
    names = [i.name for i in session.get_inputs()]
    return np.concatenate(
        [session.run(["logits"], {name: given[name][row : row + 1] for name in names})[0] for row in range(len(ids))]
    )


def main() -> None:
    """Keeps the answers, or compares with those that are kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("kept", type=Path)
    options = parser.parse_args()
    first = not options.kept.exists()
    if first:
        make(options.bundle, options.kept)
    ids = np.load(options.kept / "ids.npy")
    found = {file.stem: answers(file, ids) for file in sorted(options.kept.glob("*.onnx"))}
    if first:
        np.savez(options.kept / "answers.npz", **found)
        print(f"{len(found)} files and their answers are in {options.kept}; now the same by another processor")
        return
    before = np.load(options.kept / "answers.npz")
    for name, logits in found.items():
        off, largest = np.abs(logits.astype(float) - before[name]).max(), np.abs(before[name].astype(float)).max()
        print(f"{name:20} off by {off:.6g} at most, of {largest:.6g}")


if __name__ == "__main__":
    main()
