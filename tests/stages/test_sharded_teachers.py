"""A teacher of which each process has a part says what the whole one says."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sharded_labels
from little_world import write_bert
from sharded_labels import SCENES, label_all, write_teachers
from small_runs import config_of, run, teacher_in, texts_in
from tokenizers import Tokenizer
from torch import nn

from distill.stages.signal import LabelTexts
from distill.training import loop
from distill.training.devices import Machine

HERE = Path(__file__).parent
SECONDS = 240
FILES = ("logits.npy", "keys.npy", "offsets.npy")


@pytest.fixture(scope="module")
def teachers(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teachers")
    write_teachers(folder, Tokenizer.from_file(str(encoder / "tokenizer.json")))
    return folder


@pytest.fixture(scope="module")
def whole(teachers: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What each teacher says in one process, which has all of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "TOKENS", sharded_labels.TOKENS)
        return label_all(teachers, tmp_path_factory.mktemp("whole"), False)


def launch(processes: int, *words: Any) -> subprocess.CompletedProcess[str]:
    places = [str(HERE), str(HERE.parent), str(HERE.parent.parent), os.environ.get("PYTHONPATH", "")]
    script = [str(HERE / "sharded_labels.py"), *map(str, words)]
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), *script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


@pytest.fixture(scope="module")
def of_two(teachers: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two processes tell of their labels."""
    return labelled_by(2, teachers, tmp_path_factory.mktemp("of-two"))


def labelled_by(processes: int, teachers: Path, outputs: Path) -> list[dict[str, Any]]:
    launched = launch(processes, teachers, outputs)
    assert launched.returncode == 0, launched.stderr[-3000:]
    return [json.loads((outputs / f"rank-{rank}.json").read_text()) for rank in range(processes)]


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
def test_a_teacher_in_parts_says_what_the_whole_one_says(
    teachers: Path, whole: dict[str, Path], of_two: list[dict[str, Any]], tmp_path: Path, processes: int
) -> None:
    ranks = of_two if processes == 2 else labelled_by(processes, teachers, tmp_path)
    for scene, store in whole.items():
        found = Path(ranks[0]["stores"][scene])
        for file in FILES[1:]:
            assert (found / file).read_bytes() == (store / file).read_bytes(), scene
        expected = np.load(store / "logits.npy")
        assert len(expected) >= SCENES[scene][2]
        assert len(expected) == 1 or np.abs(np.diff(expected, axis=0)).max() > 1e-2  # a row in another's place shows
        np.testing.assert_allclose(np.load(found / "logits.npy"), expected, atol=1e-6, rtol=1e-5, err_msg=scene)
    assert len({tuple(rank["passes"]) for rank in ranks}) == 1  # each as often as all others
    assert all(count > 0 for count in ranks[0]["passes"])
    for held in zip(*(rank["held"] for rank in ranks), strict=True):
        (parameters,) = {of_all for _, of_all in held}
        assert sum(own for own, _ in held) == parameters
        assert max(own for own, _ in held) < 1.2 * parameters / processes


@pytest.mark.slow
def test_labels_go_on_where_the_processes_were_killed(
    teachers: Path, of_two: list[dict[str, Any]], tmp_path: Path
) -> None:
    launched = launch(2, teachers, tmp_path, 0, 3)
    assert launched.returncode != 0
    (answers,) = tmp_path.glob("soft-labels-*.partial/work/*.answers/*")
    assert len(list(answers.glob("[0-9]*.npz"))) == 3
    found = labelled_by(2, teachers, tmp_path)
    for scene in SCENES:
        one, other = (Path(told[0]["stores"][scene]) for told in (found, of_two))
        assert one != other
        for file in FILES:
            assert (one / file).read_bytes() == (other / file).read_bytes(), scene
    assert [told["passes"][0] for told in found] == [told["passes"][0] - 3 for told in of_two]


@pytest.mark.slow
def test_a_process_that_dies_within_a_pass_ends_the_others_with_a_message(teachers: Path, tmp_path: Path) -> None:
    launched = launch(2, teachers, tmp_path, 1, 2)  # raises TimeoutExpired where the main one waits for ever
    assert launched.returncode != 0
    raised = re.findall(r"^\[rank0\]: ([\w.]+Error): (.*)$", launched.stderr, re.MULTILINE)
    if not raised:  # the launcher ended it before it noticed
        assert "SIGKILL" in launched.stderr
        return
    assert raised[-1][0] == "distill.errors.UserError"
    assert raised[-1][1].startswith("process 0 of 2 ends, as another one no longer answers")


def test_each_teacher_is_asked_as_its_recipe_says(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of two is spread over processes; an assistant fits each of them."""
    asked = list[nn.Module]()

    @contextmanager
    def counted(machine: Machine, model: nn.Module, kept: Any = None) -> Iterator[Any]:
        asked.append(model)
        yield loop.forward_on(machine, model, kept)

    monkeypatch.setattr("distill.training.sharded.sharded_on", counted)
    monkeypatch.setattr("distill.stages.teaching.processes_of_run", lambda: 2)
    texts = [text for split in ("train", "validation", "test A") for text in texts_in(reviews, split)]
    for i, name in enumerate(("first", "second")):
        write_bert(tmp_path / name, texts, ("fresh", "rotten"), initializer_range=0.2 + 0.1 * i)
    first, second = ({**teacher_in(tmp_path / name), "fine_tune": "never"} for name in ("first", "second"))
    now = run(
        config_of(
            reviews,
            tmp_path,
            "test A",
            teacher=first,
            ensemble={"teachers": [{**second, "sharded": True}]},
            student={"name": "layers", "layers": [1]},
            arms=["linear", "soft", "soft+assistant"],
            assistant=[{"name": "layers", "layers": [0]}],
            export={"variants": ["fp32"], "max_drop": 100},
        )
    )
    labelled = [(stage.model.directory.name.split("-")[0], stage.sharded) for stage, _ in now.of(LabelTexts)]
    assert Counter(labelled) == {("teacher", False): 3, ("teacher", True): 3, ("student", False): 1}
    assert len(asked) == 3
