"""Whether a ``tokenizer.json`` does harm: makes texts longer without bound, or takes memory without bound to read."""

import base64
import json
from pathlib import Path
from typing import Any

from tokenizers.normalizers import NFC

PROBE = "".join(map(chr, range(32, 127))) + " é ß ﬁ Ж 日本 가 ཨ 😀 𓀀 ᚠ "
"""Characters of all kinds; at least one of them is in no vocabulary."""
LONGEST = 100
"""How many times as long as it was a text may become."""
STEPS = 64
"""Normalizers that may follow each other; of pre-tokenizers and post-processors a quarter of it."""


def check_tokenizer(path: Path) -> None:
    """Raises ValueError where a tokenizer makes :data:`PROBE` many times as long, or may take any amount of memory.

    It is not run for this. Its normalizers are, one after another, so that one which doubles a text, forty times over,
    is found early.
    """
    said = json.loads(path.read_text(encoding="utf-8"))
    steps = _steps(said.get("normalizer"))
    pre_tokenizers, post_processors = _steps(said.get("pre_tokenizer")), _steps(said.get("post_processor"))
    if max(len(steps), 4 * len(pre_tokenizers), 4 * len(post_processors)) > STEPS:
        raise ValueError(f"it has more than {STEPS} normalizers, or {STEPS // 4} pre-tokenizers or post-processors")
    for template in ("single", "pair"):
        pieces = [piece for step in post_processors for piece in step.get(template, ())]
        texts = [piece["Sequence"]["id"] for piece in pieces if "Sequence" in piece]
        if len(set(texts)) < len(texts):
            raise ValueError("its post-processors repeat a text")
    text = PROBE
    for step in steps:
        table = base64.b64decode(step["precompiled_charsmap"]) if "precompiled_charsmap" in step else bytes(4)
        if int.from_bytes(table[:4], "little") > len(table) - 4:  # of the first part; the library makes room for it
            raise ValueError("its table of characters is damaged")
        added = step.get("content") or step.get("prepend") or ""
        if len(added) <= LONGEST:
            normalizer = NFC()  # any will do: it becomes what the state says
            normalizer.__setstate__(json.dumps(step).encode())
            text = normalizer.normalize_str(text)
        if len(added) > LONGEST or len(text) > LONGEST * len(PROBE):
            raise ValueError(f"it makes a text more than {LONGEST} times as long")


def _steps(part: Any) -> list[dict[str, Any]]:
    """The normalizers, pre-tokenizers or post-processors of a tokenizer, one after another."""
    found, waiting = [], [] if part is None else [part]
    while waiting:
        step = waiting.pop()
        nested = [inner for key in ("normalizers", "pretokenizers", "processors") for inner in step.get(key, ())]
        waiting += reversed(nested)
        found += [] if nested else [step]
    return found
