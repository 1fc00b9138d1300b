"""How fast models write: this project's runtime beside transformers' `generate` and CTranslate2.

`python benchmarks/writing_speed.py [--models NAME …] [--out FOLDER]`. The models have random weights and cannot end a
text, so that all write equally many tokens; `smollm2` has the real ones of `conf/teacher/smollm2.yaml` (93 MB from the
package index, where the cache does not hold them). Each is saved for transformers, exported as this project exports
it, and, where it is an encoder-decoder, converted for CTranslate2.

Each subject has a process of its own with one thread, and all take turns: in each turn one token is written, then all.
Seconds are those of the processor that a process used, so that other work on the machine does not count; the time of
one token is the time to the first, the rest is the rate. Ratios are of medians; their quartiles are over the turns.
Ids go in and come out: no subject makes text of them.

CTranslate2 is no dependency of this project: `pip install --target FOLDER ctranslate2`, then `--ctranslate2 FOLDER`.
Without it its columns are left out.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distill.progress import say

Writer = Callable[[list[list[int]], int, int], list[list[int]]]
"""``write(prompts, beams, tokens)``: the ids behind each prompt, or from each source."""

SUBJECTS = ("distill fp32", "distill int8", "transformers", "CTranslate2 fp32", "CTranslate2 int8")
DEFAULT = ("marian-3+3x256", "gpt2-6x384", "marian-6+6x512")
CONDITIONS = ((1, 1), (1, 4), (32, 1), (32, 4))
"""(batch, beams)"""
TURNS = {1: 31, 32: 5}
"""Of each batch size, one more before them that is not counted."""
PROMPT_TOKENS, NEW_TOKENS = 24, 32
END, NEVER = 0, -1e4
"""The id of the end of a text, and its logit."""


def gpt2(layers: int, width: int) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"n_layer": layers, "n_embd": width, "n_head": width // 64, "n_positions": 256}
    return GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=END, eos_token_id=None))


def marian(layers: int, width: int, vocabulary: int) -> Any:
    """As Marian's models have it, the last id is that of padding, which a text starts with."""
    from transformers import MarianConfig, MarianMTModel

    stacks = {
        f"{stack}_{name}": size
        for stack in ("encoder", "decoder")
        for name, size in (("layers", layers), ("attention_heads", width // 64), ("ffn_dim", 4 * width))
    }
    config = MarianConfig(
        **stacks,
        vocab_size=vocabulary,
        d_model=width,
        max_position_embeddings=256,
        activation_function="swish",
        scale_embedding=True,
        pad_token_id=vocabulary - 1,
        decoder_start_token_id=vocabulary - 1,
        eos_token_id=END,
        forced_eos_token_id=None,
    )
    model = MarianMTModel(config)
    model.final_logits_bias[:, [END, vocabulary - 1]] = NEVER
    return model


def smollm2() -> Any:
    import yaml
    from transformers import AutoModelForCausalLM

    from distill.config import Source
    from distill.models.checkpoints import Checkpoint

    said = yaml.safe_load((Path(__file__).parents[1] / "conf/teacher/smollm2.yaml").read_text(encoding="utf-8"))
    model: Any = Checkpoint.of(Source(**said["source"])).weights(AutoModelForCausalLM, lambda *_: False)
    model.config.eos_token_id = model.generation_config.eos_token_id = None
    return model


MODELS: dict[str, Callable[[], Any]] = {
    "gpt2-6x384": lambda: gpt2(6, 384),
    "marian-6+6x512": lambda: marian(6, 512, 32001),
    "marian-3+3x256": lambda: marian(3, 256, 16001),
    "smollm2": smollm2,
}


def prepare(name: str, folder: Path) -> None:
    """The model in every form that a subject reads."""
    import torch
    from transformers import PreTrainedTokenizerFast

    from distill.config import ExportConfig
    from distill.export.onnx_export import export_graphs
    from distill.export.quantize import VARIANTS, Files
    from distill.models.graphs import graphs_of
    from distill.runtime import graph_file

    torch.manual_seed(0)
    model = MODELS[name]().eval()
    model.save_pretrained(folder / "model")
    graphs = export_graphs(graphs_of(model), folder, ExportConfig())
    VARIANTS["int8"]({role: Files(path, folder / graph_file(role, "int8")) for role, path in graphs.items()}, ())
    if model.config.is_encoder_decoder and importlib.util.find_spec("ctranslate2"):
        from ctranslate2.converters import TransformersConverter
        from tokenizers import Tokenizer, models

        words = ["</s>", "<unk>", *map(str, range(2, model.config.vocab_size - 1)), "<pad>"]
        tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "<unk>"))
        special = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder / "model")
        for quantization in ("float32", "int8"):
            converter = TransformersConverter(str(folder / "model"))
            converter.convert(str(folder / f"ctranslate2-{quantization}"), quantization=quantization)


def by_distill(folder: Path, variant: str) -> Writer:
    from distill.runtime import GenerationSettings, Graphs, generate, graph_file

    config = json.loads((folder / "model" / "config.json").read_text(encoding="utf-8"))
    files = {role: folder / graph_file(role, variant) for role in ("encoder", "decoder")}
    graphs = Graphs({role: path for role, path in files.items() if path.is_file()}, 1)

    def write(prompts: list[list[int]], beams: int, tokens: int) -> list[list[int]]:
        settings = GenerationSettings(tokens, start_id=config.get("decoder_start_token_id"), beams=beams)
        found = {one.row: one.ids for one in generate(graphs, [np.array(p) for p in prompts], settings)}
        return [list(found[row]) for row in range(len(prompts))]

    return write


def by_transformers(folder: Path) -> Writer:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    torch.set_num_threads(1)
    encodes = AutoConfig.from_pretrained(folder / "model").is_encoder_decoder
    kind = AutoModelForSeq2SeqLM if encodes else AutoModelForCausalLM
    model = kind.from_pretrained(folder / "model").eval()

    def write(prompts: list[list[int]], beams: int, tokens: int) -> list[list[int]]:
        ids = torch.tensor(prompts)
        with torch.inference_mode():
            output = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                num_beams=beams,
                max_new_tokens=tokens,
                pad_token_id=model.config.pad_token_id or END,
            )
        written: list[list[int]] = output[:, 1 if encodes else ids.shape[1] :].tolist()
        return written

    return write


def by_ctranslate2(folder: Path, quantization: str) -> Writer:
    import ctranslate2

    path = str(folder / f"ctranslate2-{quantization}")
    translator = ctranslate2.Translator(path, compute_type=quantization, inter_threads=1, intra_threads=1)

    def write(prompts: list[list[int]], beams: int, tokens: int) -> list[list[int]]:
        sources = [list(map(str, prompt)) for prompt in prompts]
        results = translator.translate_batch(sources, beam_size=beams, max_decoding_length=tokens)
        return [list(map(int, result.hypotheses[0])) for result in results]

    return write


def writer_of(subject: str, folder: Path) -> Writer:
    engine, _, variant = subject.partition(" ")
    if engine == "distill":
        return by_distill(folder, variant)
    if engine == "transformers":
        return by_transformers(folder)
    return by_ctranslate2(folder, variant.replace("fp32", "float32"))


def work(subject: str, folder: Path) -> None:
    """What the process of one subject does: it writes what it is asked for, a line each."""
    from distill.measure.memory import peak_resident_set

    write = writer_of(subject, folder)
    for line in sys.stdin:
        asked = json.loads(line)
        wall, cpu = time.perf_counter(), time.process_time()
        ids = write(asked["prompts"], asked["beams"], asked["tokens"])
        taken = {"seconds": time.process_time() - cpu, "wall_seconds": time.perf_counter() - wall}
        print("@" + json.dumps({**taken, "ids": ids, "peak_memory_MB": peak_resident_set().value}), flush=True)


class Subject:
    """The process of one subject."""

    def __init__(self, name: str, folder: Path, environment: dict[str, str]) -> None:
        self.name = name
        command = [sys.executable, __file__, "--work", name, str(folder)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)

    def write(self, prompts: Sequence[Sequence[int]], beams: int, tokens: int) -> dict[str, Any]:
        """What it answers. Raises SystemExit where it ended without an answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"prompts": prompts, "beams": beams, "tokens": tokens}) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("@"):
                answer: dict[str, Any] = json.loads(line[1:])
                return answer
        raise SystemExit(f"{self.name} ended with {self.process.wait()}; its message stands above")

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def take_turns(subjects: list[Subject], prompts: list[list[int]], beams: int) -> dict[str, dict[str, Any]]:
    """What each subject took, turn by turn, and what it wrote last."""
    found: dict[str, dict[str, Any]] = {
        subject.name: {"first_seconds": [], "seconds": [], "wall_seconds": []} for subject in subjects
    }
    for turn in range(TURNS[len(prompts)] + 1):
        for subject in subjects:
            first, whole = (subject.write(prompts, beams, tokens) for tokens in (1, NEW_TOKENS))
            if [len(ids) for ids in whole["ids"]] != [NEW_TOKENS] * len(prompts):
                raise SystemExit(f"{subject.name} did not write {NEW_TOKENS} tokens behind each prompt")
            if turn:
                taken = {"first_seconds": first["seconds"], **{k: whole[k] for k in ("seconds", "wall_seconds")}}
                for key, value in taken.items():
                    found[subject.name][key].append(value)
            found[subject.name] |= {key: whole[key] for key in ("ids", "peak_memory_MB")}
    return found


def figures(found: dict[str, dict[str, Any]], reference: str) -> dict[str, Any]:
    """Of each subject: medians, and how many times the rate of ``reference`` it reaches."""
    rate = {
        name: len(one["ids"]) * (NEW_TOKENS - 1) / (np.array(one["seconds"]) - np.array(one["first_seconds"]))
        for name, one in found.items()
    }
    greedy = found["distill fp32"]["ids"]
    result = {}
    for name, one in found.items():
        over = rate[name] / rate[reference]
        result[name] = {
            "tokens_a_second": float(np.median(rate[name])),
            "first_token_ms": 1000 * float(np.median(one["first_seconds"])),
            "peak_memory_MB": one["peak_memory_MB"],
            f"rate_over_{reference}": {
                "of_medians": float(np.median(rate[name]) / np.median(rate[reference])),
                "quartiles": [float(np.percentile(over, q)) for q in (25, 75)],
            },
            "texts_as_distill_fp32": float(np.mean([a == b for a, b in zip(one["ids"], greedy, strict=True)])),
        }
    return result


def measure(name: str, environment: dict[str, str]) -> Iterator[dict[str, Any]]:
    """The figures of one model under each condition, as they are found."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        subprocess.run([sys.executable, __file__, "--prepare", name, str(folder)], env=environment, check=True)
        vocabulary = json.loads((folder / "model" / "config.json").read_text(encoding="utf-8"))["vocab_size"]
        converted = (folder / "ctranslate2-int8").is_dir()
        names = [n for n in SUBJECTS if converted or not n.startswith("CTranslate2")]
        subjects = [Subject(n, folder, environment) for n in names]
        reference = "CTranslate2 int8" if converted else "transformers"
        for batch, beams in CONDITIONS:
            prompts = np.random.default_rng(0).integers(2, vocabulary - 1, (batch, PROMPT_TOKENS)).tolist()
            found = take_turns(subjects, prompts, beams)
            result = {"model": name, "batch": batch, "beams": beams, "subjects": figures(found, reference)}
            show(result, reference)
            yield result | {"raw": {n: {k: v for k, v in one.items() if k != "ids"} for n, one in found.items()}}
        for subject in subjects:
            subject.end()


def show(result: dict[str, Any], reference: str) -> None:
    """The lines of one condition."""
    print(f"{result['model']}, batch {result['batch']}, {result['beams']} beams")
    print(f"  {'':18}{'tokens/s':>10}{'first, ms':>11}{'MB':>8}{'texts':>7}  rate over {reference} [quartiles]")
    for name, one in result["subjects"].items():
        ratio = one[f"rate_over_{reference}"]
        low, high = ratio["quartiles"]
        print(
            f"  {name:18}{one['tokens_a_second']:10.1f}{one['first_token_ms']:11.1f}{one['peak_memory_MB']:8.0f}"
            f"{100 * one['texts_as_distill_fp32']:6.0f}%  {ratio['of_medians']:.2f} [{low:.2f}, {high:.2f}]",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=DEFAULT)
    parser.add_argument("--ctranslate2", type=Path, help="folder that CTranslate2 was installed into")
    parser.add_argument("--out", type=Path, help="folder for result.json, such as benchmarks/results/writing_speed")
    parser.add_argument("--note", default="", help="what else the machine did, for the result")
    parser.add_argument("--prepare", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work[0], Path(options.work[1]))
        return
    if options.prepare:
        prepare(options.prepare[0], Path(options.prepare[1]))
        return
    from distill.measure import machine, versions

    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    if options.ctranslate2:
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [os.getenv("PYTHONPATH"), str(options.ctranslate2)]))
    test = [sys.executable, "-c", "import ctranslate2; print(ctranslate2.__version__)"]
    found = subprocess.run(test, env=environment, capture_output=True, text=True, check=False).stdout.strip()
    if not found:
        say("CTranslate2 is not installed, and left out: pip install --target FOLDER ctranslate2, then --ctranslate2")
    about = {"note": options.note, "machine": machine(), "versions": {**versions(), "ctranslate2": found or None}}
    content = {**about, "prompt_tokens": PROMPT_TOKENS, "new_tokens": NEW_TOKENS, "results": []}
    for name in options.models:
        for result in measure(name, environment):
            content["results"].append(result)
            if options.out is not None:
                options.out.mkdir(parents=True, exist_ok=True)
                (options.out / "result.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
