"""What `pip install .` alone gives: predictions, without torch; recipes and configuration inside the package."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from distill.cli import main

ROOT = Path(__file__).resolve().parent.parent
Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A fresh environment with the base install, made from a copy of the repository; runs a program of it elsewhere."""
    folder = tmp_path_factory.mktemp("base")
    ignore = shutil.ignore_patterns(".*", "outputs", "exports", "*.egg-info", "__pycache__", "build")
    shutil.copytree(ROOT, folder / "clone", ignore=ignore)
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    (folder / "elsewhere").mkdir()
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}

    def run(program: str, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [folder / "venv/bin" / program, *arguments],
            cwd=folder / "elsewhere",
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )

    done = run("python", "-m", "pip", "install", "--quiet", str(folder / "clone"))
    assert done.returncode == 0, done.stderr
    shutil.rmtree(folder / "clone")
    return run


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, overlay: list[str]) -> Path:
    folder = tmp_path_factory.mktemp("made")
    quick = ["arms=[linear,hard]", "seeds=[0]", "train.learning_rates=[1e-3]", "measure.enabled=false", "name=base"]
    places = [f"outputs={folder / 'outputs'}", f"exports={folder / 'exports'}"]
    assert main(["run", "quickstart", *overlay, *quick, *places]) == 0
    return folder / "exports/base"


def test_base_install_is_small(installed: Run) -> None:
    packages = {p["name"].lower() for p in json.loads(installed("python", "-m", "pip", "list", "--format=json").stdout)}
    assert {"distill", "numpy", "onnxruntime", "tokenizers"} <= packages
    assert not packages & {"torch", "transformers", "datasets", "hydra-core", "scikit-learn", "rich", "onnx", "pyarrow"}


def test_base_install_predicts_as_the_whole_one_does(
    installed: Run, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["a gorgeous film", "", "a dull story"]
    done = installed("distill", "predict", str(bundle), "--json", stdin="\n".join(texts) + "\n")
    assert done.returncode == 0, done.stderr
    assert main(["predict", str(bundle), *texts, "--json"]) == 0
    assert done.stdout == capsys.readouterr().out
    call = f"from distill import load; print(load({str(bundle)!r})(['a gorgeous film'])[0].label)"
    assert installed("python", "-c", call).stdout.strip() == json.loads(done.stdout.splitlines()[0])["label"]


def test_base_install_measures(installed: Run, bundle: Path) -> None:
    done = installed("distill", "measure", str(bundle), "--variant", "int8", "--seconds", "1")
    assert done.returncode == 0, done.stderr
    assert "latency p50" in done.stdout


def test_base_install_evaluates(installed: Run, bundle: Path, reviews_csv: Path) -> None:
    done = installed("distill", "evaluate", str(bundle), "--data", str(reviews_csv), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["texts"] == 400


def test_recipes_are_in_the_package(installed: Run) -> None:
    done = installed("distill", "recipes")
    assert done.returncode == 0, done.stderr
    assert {"compress", "quickstart", "rotten_tomatoes"} <= set(done.stdout.split())
    launched = (
        "import os, sys; from distill import cli; os.environ['WORLD_SIZE'] = '2'; sys.argv[1:] = ['recipes']; cli.run()"
    )
    assert installed("python", "-c", launched).stdout == done.stdout
    call = (
        "import distill, pathlib; print(sorted(p.name for p in pathlib.Path(distill.__file__).parent.glob('conf/*')))"
    )
    assert "config.yaml" in installed("python", "-c", call).stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "quickstart"],
        ["compress", "MODEL", "--texts", "FILE"],
        ["report", "RUN"],
        ["evaluate", "MODEL", "--data", "FILE"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_what_needs_the_extra_says_so(
    installed: Run, bundle: Path, random_teacher: Path, reviews_csv: Path, arguments: list[str]
) -> None:
    places = {"MODEL": str(random_teacher), "FILE": str(reviews_csv), "RUN": str(bundle)}
    done = installed("distill", *(places.get(a, a) for a in arguments))
    assert done.returncode == 2, done.stderr
    assert "install distill[train]" in done.stderr
    assert "Traceback" not in done.stderr


def test_measure_works_or_says_what_it_needs(installed: Run, bundle: Path) -> None:
    done = installed("distill", "measure", str(bundle), "--seconds", "0.05")
    assert done.returncode == 0 or "install distill[train]" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
