"""What `benchmarks/scale.py`, `labelling.py`, `states.py` and `kills.py` count is what they say they count."""

import csv
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from distill.training.signal import Along, StoredInside

Load = Callable[[str], ModuleType]


def test_made_up_texts_are_as_many_and_as_long_as_said_and_differ(benchmark: Load, tmp_path: Path) -> None:
    benchmark("scale").write_texts(tmp_path / "train.csv", 300)
    with (tmp_path / "train.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    lengths = [len(row["text"].split()) for row in rows]
    assert len({row["text"] for row in rows}) == 300
    assert (min(lengths), max(lengths)) == (10, 30)
    assert {row["label"] for row in rows} == {"good", "bad"}


def test_the_clock_sees_what_one_stage_holds_for_a_while(benchmark: Load) -> None:
    scale = benchmark("scale")
    clock = scale.Clock("second")

    def hold() -> None:
        held = bytearray(200_000_000)
        held[::4096] = b"x" * len(held[::4096])
        time.sleep(0.2)

    threads = threading.active_count()
    assert clock("first", lambda: 7) == 7
    with pytest.raises(scale.Enough):
        clock("second", hold)
    assert clock.found["anonymous_MB"] - clock.found["held_MB"] == pytest.approx(200, abs=30)
    assert clock.found["seconds"] >= 0.2
    assert threading.active_count() == threads


def test_work_of_labelling_is_what_torch_counts(benchmark: Load) -> None:
    from transformers import BertConfig, BertModel

    labelling = benchmark("labelling")
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 256}
    config = BertConfig(vocab_size=50, attn_implementation="eager", **sizes)  # the fused attention is not counted
    model = BertModel(config, add_pooling_layer=False).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.ones(3, 9, dtype=torch.long), torch.ones(3, 9, dtype=torch.long))
    assert labelling.products_of([9] * 3, 2, 64) == counter.get_total_flops()
    weights = labelling.linear_layers(2, 64)
    with FlopCounterMode(display=False) as counter:
        assert labelling.multiply(weights, 27) == counter.get_total_flops()
    assert labelling.multiply(weights, 27) == labelling.products_of([9] * 3, 2, 64) - 3 * 2 * 4 * 9 * 9 * 64


def test_changes_of_files_are_told_from_reading(benchmark: Load, tmp_path: Path) -> None:
    kills = benchmark("kills")
    file = tmp_path / "exports" / "a.json"
    writing = [
        ("open", (file, "w", 0)),
        ("open", (str(file), None, os.O_WRONLY)),
        ("os.rename", (file, tmp_path, -1, -1)),
    ]
    assert [kills.change_of(*one).path for one in writing] == [str(file)] * 3
    assert all(kills.change_of(*one).of_bundle for one in writing)
    reading = [("open", (file, "rb", 0)), ("open", (3, "w", 0)), ("import", ("json",)), ("os.listdir", (tmp_path,))]
    assert [kills.change_of(*one) for one in reading] == [None] * 4


def test_stages_are_told_from_progress(benchmark: Load) -> None:
    is_stage = benchmark("kills").is_stage
    assert is_stage("teacher, seed 0, learning rate 0.003")
    assert not any(
        map(is_stage, ["", " open /a", "warning: few", "teacher: 3/9, 0:10 left", "teacher: 9/9 in 0:11", "texts: 4"])
    )


def test_reports_are_compared_without_times_alone(benchmark: Load) -> None:
    kills = benchmark("kills")
    one = {"arms": [{"score": 0.5, "seconds": 1.0}], "costs": [3], "name": "a"}
    other = {"arms": [{"score": 0.25, "seconds": 2.0}], "costs": [], "name": "a"}
    assert kills.without_times(one) == {"arms": [{"score": 0.5}], "name": "a"}
    assert kills.differences(*map(kills.without_times, (one, other))) == ["/arms/0/score: 0.5 and 0.25"]
    assert kills.differences(one, one) == []


@pytest.mark.slow
def test_a_run_that_is_killed_a_few_times_comes_to_the_same_end() -> None:
    script = Path(__file__).parents[2] / "benchmarks" / "kills.py"
    done = subprocess.run([sys.executable, str(script), "--kills", "6"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^6 kills .*, [2-9] ends, all alike$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize(("objective", "numbers"), [("minilmv2", 3 * 16), ("hidden", 3 * 16)])
def test_states_are_counted_by_the_token(
    benchmark: Load, objective: str, numbers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = benchmark("states")
    for name, value in {"LAYERS": 4, "WIDTH": 16, "HEADS": 2, "VOCABULARY": 50, "TEXTS": 64, "KEPT": 2}.items():
        monkeypatch.setattr(module, name, value)
    asked: list[type] = []
    for kind in (Along, StoredInside):
        monkeypatch.setattr(kind, "of", lambda *given, of=kind.of, kind=kind: (asked.append(kind), of(*given))[1])
    line = module.compare(objective, 64, 4, tmp_path)
    assert f" {2 * numbers} bytes a token" in line
    assert asked[::2] == [Along, StoredInside, Along, StoredInside, Along]  # in turns, each first every other step
    assert asked[1::2] == [StoredInside, Along, StoredInside, Along, StoredInside]
