"""Bundles with something changed, each of which must answer or be refused.

``python tests/runtime/hostile_bundles.py 2000 1`` tries 2,000 mutations from the seed 1 and prints what came of them.
Each runs in a process of its own, forked from this one, so that a crash, a hang or gigabytes are seen. Sizes and
digests in ``bundle.json`` are made to fit: what is tried is what someone can do who makes a bundle on purpose. Left out
are graphs that compute without end, as any program may: ``load`` says that it does not guard against them.
"""

import base64
import dataclasses
import json
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper
from tiny_graphs import CORPUS, INPUTS, word_table, write_decoder_graph, write_graph

from distill import UserError, load, tasks
from distill.export.bundle import Content, write_bundle
from distill.runtime import Cascade, Generation, Manifest, sha256_of
from distill.tasks import Windows
from distill.text import Example, Reading, train_tokenizer

SECONDS = 10
"""Of a processor; on a busy machine the clock may show many times as many."""
MEGABYTES = 3000
QUESTIONS = ["fine", "", "a gorgeous mess " * 30, "😀 Ж é\x00 \u2028", {"text": "not much"}, "x" * 3000]

Json = Any
Mutation = Callable[[Path, random.Random], str]


def write_bundles(folder: Path) -> list[Path]:
    """Five tasks, three kinds of tokenizers, one bundle that reads in windows, one that writes, one of two models."""
    made = []
    for name, labels, model, windows, thresholds in (
        ("text-classification", ("bad", "fine", "good"), "wordpiece", Windows(3), ()),
        ("multi-label-classification", ("joy", "love"), "unigram", None, (0.5, -0.5)),
        ("token-classification", ("B-x", "O"), "bpe", None, ()),
        ("regression", (), "wordpiece", None, ()),
        ("language-modelling", (), "bpe", None, ()),
    ):
        task = tasks.build(name, labels, windows=windows).with_thresholds(thresholds)
        reading = Reading(train_tokenizer([Example(text) for text in CORPUS * 3], 300, model), 12)
        sources = folder / f"sources-{name}"
        sources.mkdir()
        size, inputs, role = reading.vocabulary_size, list(INPUTS), "decoder" if task.writes else "model"
        if task.writes:
            write_decoder_graph(sources / "graph.onnx", word_table(size, size))
            inputs[2] = "past.0.key"
        else:
            write_graph(sources / "graph.onnx", word_table(size, task.width), task.words)
        reading.save_tokenizer(sources / "tokenizer.json")
        graphs, workload = {"fp32": {role: f"onnx/{role}.onnx"}}, {"token_lengths": [3, 5], "second_lengths": [0, 2]}
        manifest = Manifest(
            *(1, name, task.section(), graphs, inputs, ["logits"], 12, reading.pad_id, "fp32", {}, {}, {}),
            workload,
            generation=Generation(2, [3]) if task.writes else None,
        )
        files = {"tokenizer.json": sources / "tokenizer.json", f"onnx/{role}.onnx": sources / "graph.onnx"}
        write_bundle(folder / name, manifest, files, {})
        made.append(folder / name)
        if name == "text-classification":
            both = dataclasses.replace(manifest, cascade=Cascade(0.9, 0.5))
            write_bundle(folder / "cascade", both, files, {}, Content(manifest, files))
            made.append(folder / "cascade")
    return made


def strange_values() -> list[Json]:
    deep: Json = []
    for _ in range(300):
        deep = [deep]
    return [
        *(None, True, False, 0, 1, -1, 2, 11, 13, 1000, 2**31, 2**32, 2**63, 10**30, 0.5, 1e308, float("nan")),
        *("", "x", "fp32", "model", "O", "good", "5", "\ud800", "\x00", "a\x00b", "../x", "/etc/passwd", "x" * 5000),
        *("onnx", "onnx/../onnx/model.onnx", ".", "\\", "[UNK]", "a" * 300 + "/b", "text-classification", "é\u2028"),
        *([], {}, [[]], [None], {"a": 1}, {"model": 3}, {"stride": 11}, {"stride": -1}),
        *({"stride": 2, "pooling": "sum"}, [0.5], [1e999], ["a", "a"], list(range(50)), deep),
    ]


def change_somewhere(data: Json, rng: random.Random) -> str:
    """One value of a tree of JSON is replaced, left out, doubled or put elsewhere."""
    places = list(_places(data))
    parent, key = rng.choice(places)
    kind = rng.choice(["replace", "replace", "replace", "remove", "swap", "double"])
    value = rng.choice(strange_values())
    if kind == "replace":
        parent[key] = value
    elif kind == "remove":
        del parent[key]
    elif kind == "swap":
        other, place = rng.choice(places)
        parent[key] = json.loads(json.dumps(other[place]))
    elif isinstance(parent, list):
        parent.insert(key, parent[key])
    else:
        parent[f"{key}2"] = parent[key]
    return f"{kind} {key!r:.40} ({value!r:.40})"


def _places(data: Json) -> Iterator[tuple[Json, Any]]:
    for key, value in list(data.items() if isinstance(data, dict) else enumerate(data)):
        yield data, key
        if isinstance(value, dict | list):
            yield from _places(value) if len(value) < 50 else ((value, k) for k in list(_keys(value))[:5])


def _keys(value: Json) -> Iterator[Any]:
    yield from value if isinstance(value, dict) else range(len(value))


def change_bytes(content: bytes, rng: random.Random) -> bytes:
    kind = rng.choice(["flip", "flip", "cut", "insert", "repeat"])
    if kind == "cut":
        return content[: rng.randrange(len(content))]
    at = rng.randrange(len(content))
    if kind == "insert":
        more = rng.choice([b"\x00", b"\xff", b"[" * 100_000, b"9" * 5000, b'{"a":' * 2000, b"\xed\xa0\x80", b" " * 99])
        return content[:at] + more + content[at:]
    if kind == "repeat":
        return content[:at] + content[at : at + 100] * 3 + content[at:]
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 4, 30])):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def fit(folder: Path) -> None:
    """sha256 and sizes of the files as they are."""
    path = folder / "bundle.json"
    about = json.loads(path.read_text())
    for file in about["sha256"]:
        about["sha256"][file], about["sizes"][file] = sha256_of(folder / file), (folder / file).stat().st_size
    path.write_text(json.dumps(about))


def manifest_value(folder: Path, rng: random.Random) -> str:
    about = json.loads((folder / "bundle.json").read_text())
    said = "; ".join(change_somewhere(about, rng) for _ in range(rng.choice([1, 1, 2])))
    (folder / "bundle.json").write_text(json.dumps(about))
    return said


def manifest_of_another_task(folder: Path, rng: random.Random) -> str:
    about = json.loads((folder / "bundle.json").read_text())
    name = rng.choice(sorted(tasks.TASKS))
    labels = rng.choice([[], ["a"], ["a", "b"], ["a", "b", "c"], ["B-x", "O"]])
    about["task"] = {"name": name, "labels": labels, "metric": tasks.find(name)(("B-x", "O")).metric.name}
    about["task"] |= rng.choice([{}, {"thresholds": [0.5] * len(labels)}, {"windows": {"stride": 40}}])
    (folder / "bundle.json").write_text(json.dumps(about))
    return f"{name} of {labels}"


def manifest_bytes(folder: Path, rng: random.Random) -> str:
    path = folder / "bundle.json"
    path.write_bytes(change_bytes(path.read_bytes(), rng))
    return ""


def tokenizer_value(folder: Path, rng: random.Random) -> str:
    path = folder / "tokenizer.json"
    data = json.loads(path.read_text())
    said = "; ".join(change_somewhere(data, rng) for _ in range(rng.choice([1, 1, 3])))
    path.write_text(json.dumps(data))
    fit(folder)
    return said


def tokenizer_bytes(folder: Path, rng: random.Random) -> str:
    path = folder / "tokenizer.json"
    path.write_bytes(change_bytes(path.read_bytes(), rng))
    fit(folder)
    return ""


def tokenizer_part(folder: Path, rng: random.Random) -> str:
    """A normalizer, pre-tokenizer, post-processor or vocabulary that does harm."""
    path = folder / "tokenizer.json"
    data = json.loads(path.read_text())
    part, value = rng.choice(_harmful_parts(rng))
    if part == "vocab":
        vocabulary = data["model"]["vocab"]
        if isinstance(vocabulary, dict):
            vocabulary.pop("[UNK]", None) if value == "unknown" else vocabulary.update({"fine": value})
        else:
            data["model"]["unk_id"] = None if value == "unknown" else value
        data["added_tokens"] = [token for token in data["added_tokens"] if token["content"] != "[UNK]"]
    else:
        data[part] = value
    path.write_text(json.dumps(data))
    fit(folder)
    return f"{part}: {json.dumps(value)[:80]}"


def _harmful_parts(rng: random.Random) -> list[tuple[str, Json]]:
    pattern = rng.choice([{"String": "a"}, {"String": ""}, {"Regex": "."}, {"Regex": "(a+)+$"}, {"Regex": "x*"}])
    longer = {"type": "Replace", "pattern": pattern, "content": rng.choice(["aa", "a" * 50, "a" * 10**6])}
    times = rng.choice([2, 10, 40, 5000])
    table = base64.b64encode(rng.randbytes(rng.choice([3, 100, 2000]))).decode()
    template = [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, *[{"Sequence": {"id": "A", "type_id": 0}}] * times]
    tokens = {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]}}
    processor = {"type": "TemplateProcessing", "single": template, "pair": template, "special_tokens": tokens}
    nested: Json = {"type": "Lowercase"}
    for _ in range(rng.choice([5, 50, 200])):
        nested = {"type": "Sequence", "normalizers": [nested]}
    return [
        ("normalizer", longer),
        ("normalizer", {"type": "Sequence", "normalizers": [longer] * times}),
        ("normalizer", {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "a" * times}] * times}),
        ("normalizer", {"type": "Precompiled", "precompiled_charsmap": table}),
        ("normalizer", nested),
        ("pre_tokenizer", {"type": "Sequence", "pretokenizers": [{"type": "ByteLevel", "use_regex": False}] * times}),
        ("pre_tokenizer", {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": rng.random() < 0.5}),
        ("post_processor", processor),
        ("post_processor", {"type": "Sequence", "processors": [processor] * min(times, 40)}),
        ("padding", {"strategy": {"Fixed": 10**9}, "direction": "Right", "pad_id": 0, "pad_token": "a"}),
        ("truncation", {"max_length": 5, "stride": 4, "strategy": "OnlySecond", "direction": "Left"}),
        ("vocab", "unknown"),
        ("vocab", rng.choice([10**6, 2**32 - 1, 299, 0])),
        ("added_tokens", [{"id": 7, "content": "", "special": True}]),
    ]


def graph_of(folder: Path) -> Path:
    (path,) = (folder / "onnx").glob("*.onnx")
    return path


def graph_bytes(folder: Path, rng: random.Random) -> str:
    path = graph_of(folder)
    path.write_bytes(change_bytes(path.read_bytes(), rng))
    fit(folder)
    return ""


def graph_signature(folder: Path, rng: random.Random) -> str:
    """Other inputs, outputs, types, widths, or what the nodes compute."""
    path = graph_of(folder)
    model = onnx.load(path)
    graph = model.graph
    kind = rng.choice(["input", "output", "drop", "type", "another", "narrow", "nan", "text", "outside", "node"])
    if kind in ("input", "output"):
        value = rng.choice(graph.input if kind == "input" else graph.output)
        for node in graph.node:
            for names in (node.input, node.output):
                names[:] = ["other" if name == value.name else name for name in names]
        value.name = "other"
    elif kind == "drop":
        del graph.node[rng.randrange(len(graph.node)) :]
        del graph.output[rng.choice([0, 1]) :]
    elif kind == "type":
        rng.choice(graph.input).type.tensor_type.elem_type = rng.choice([TensorProto.INT32, TensorProto.STRING])
    elif kind == "another":
        graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, ["batch"]))
    elif kind in ("narrow", "nan", "text"):
        last = graph.node[-1]
        last.output[0] = "before"
        node = {
            "narrow": helper.make_node("ReduceSum", ["before"], ["logits"], keepdims=0),
            "nan": helper.make_node("Div", ["before", "zero"], ["logits"]),
            "text": helper.make_node("Cast", ["before"], ["logits"], to=TensorProto.STRING),
        }[kind]
        graph.node.append(node)
        graph.initializer.append(helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]))
        if kind == "text":
            graph.output[0].type.tensor_type.elem_type = TensorProto.STRING
    elif kind == "outside":
        tensor = graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        place = rng.choice(["/etc/passwd", "../tokenizer.json", "nowhere", "model.onnx"])
        tensor.external_data.add(key="location", value=place)
    else:
        rng.choice(graph.node).op_type = rng.choice(["Neg", "NoSuchOperator", "Shape", "Identity", "Sum"])
    onnx.save(model, path)
    fit(folder)
    return kind


def files_and_links(folder: Path, rng: random.Random) -> str:
    path = folder / rng.choice(["bundle.json", "tokenizer.json", f"onnx/{graph_of(folder).name}", "onnx"])
    kind = rng.choice(["remove", "folder", "circle", "device", "pipe", "empty", "sparse", "link", "no rights"])
    if kind == "no rights":
        path.chmod(0)
        return f"{kind} {path.name}"
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "circle":
        path.symlink_to(path.name)
    elif kind == "device":
        path.symlink_to(rng.choice(["/dev/zero", "/dev/stdin", "/proc/self/mem", "/proc/self/environ"]))
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "sparse":
        with path.open("wb") as file:
            file.truncate(rng.choice([10**8, 10**9, 3 * 10**9, 10**12]))
        about = folder / "bundle.json"
        if path != about and rng.random() < 0.5:  # as if it were meant
            data = json.loads(about.read_text())
            data["sizes"] = {}
            about.write_text(json.dumps(data))
    elif kind == "link":
        path.symlink_to(rng.choice(["/etc/passwd", "../text-classification/bundle.json", "/", "x" * 255]))
    return f"{kind} {path.name}"


def inside(folder: Path, rng: random.Random) -> str:
    """The larger model of a cascade, or what says who is asked."""
    if not (folder / "larger").is_dir():
        return manifest_value(folder, rng)
    if rng.random() < 0.3:
        about = json.loads((folder / "bundle.json").read_text())
        said = change_somewhere({"cascade": about["cascade"]}, rng)
        (folder / "bundle.json").write_text(json.dumps(about))
        return said
    change = rng.choice([manifest_value, manifest_of_another_task, manifest_bytes, tokenizer_value, graph_signature])
    said = change(folder / "larger", rng)
    fit(folder)
    return f"larger, {change.__name__} {said}"


MUTATIONS: list[Mutation] = [
    *(manifest_value, manifest_value, manifest_of_another_task, manifest_bytes),
    *(tokenizer_value, tokenizer_bytes, tokenizer_part, graph_bytes, graph_signature, files_and_links, inside),
]


def answer(folder: Path) -> str:
    """``answered``, ``refused: …`` or a traceback."""
    try:
        bundle = load(folder, threads=1)
        for question in QUESTIONS[: 2 if bundle.task.writes else None]:  # the others fill what writes
            for one in bundle([question]):
                json.dumps(one.as_dict(), ensure_ascii=False, allow_nan=False).encode()
                one.as_line().encode()
    except UserError as error:
        return f"refused: {str(error).encode(errors='strict').decode()[:300]}"
    except BaseException:
        return traceback.format_exc()
    return "answered"


def tried(folder: Path) -> str:
    """What :func:`answer` says in a process of its own, or why it said nothing."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # Rust's panics are loud
        resource.setrlimit(resource.RLIMIT_AS, (8 * 10**9, 8 * 10**9))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        os.write(writing, answer(folder).encode()[:60_000])
        os._exit(0)
    os.close(writing)
    said, late = b"", time.monotonic() + 20 * SECONDS
    while select.select([reading], [], [], max(0.0, late - time.monotonic()))[0]:
        if not (more := os.read(reading, 65_536)):
            break
        said += more
    else:
        os.kill(child, signal.SIGKILL)
    os.close(reading)
    _, status, used = os.wait4(child, 0)
    if used.ru_maxrss / 1000 > MEGABYTES:
        return f"{used.ru_maxrss / 1000:,.0f} MB; {said.decode()}"
    return said.decode() or f"no answer within {SECONDS} s, or a crash (status {os.waitstatus_to_exitcode(status)})"


def main(mutations: int, seed: int) -> int:
    """Prints how many answered and how many were refused, and each that did neither; returns the number of those."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    counts: Counter[str] = Counter()
    faults = 0
    with tempfile.TemporaryDirectory() as scratch:
        bundles = write_bundles(Path(scratch))
        for number in range(mutations):
            rng = random.Random(f"{seed} {number}")
            original, mutation = rng.choice(bundles), rng.choice(MUTATIONS)
            folder = Path(scratch) / "changed"
            shutil.copytree(original, folder)
            what = mutation(folder, rng)
            outcome = tried(folder)
            kind = outcome.partition(":")[0] if outcome.startswith(("answered", "refused: ")) else "FAULT"
            counts[kind] += 1
            counts[f"{mutation.__name__} {kind}"] += 1
            if kind == "FAULT":
                faults += 1
                print(f"--- {number}: {original.name}, {mutation.__name__} {what}\n{outcome}")
            for path in [folder, *folder.rglob("*")]:
                if not path.is_symlink():
                    path.chmod(0o700)
            shutil.rmtree(folder)
    print("\n".join(f"{count:>6} {name}" for name, count in sorted(counts.items())))
    return faults


if __name__ == "__main__":
    sys.exit(min(1, main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)))
