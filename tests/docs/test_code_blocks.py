"""Every code block of README and docs that can run is run, against a world in miniature."""

import csv
import dataclasses
import json
import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from writing_bundles import write_translating_bundle, write_writing_bundle

from distill.cli import main
from distill.config import Config
from distill.config.compose import recipe_names, run_with_hydra
from distill.export.bundle import Content, write_bundle
from distill.runtime import Cascade, read_manifest
from distill.sources import validate
from distill.stages.checks import check_choices, check_task, sources_of

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OTHER_PROGRAMS = {".", ".ci/run", "accelerate", "git", "mypy", "pip", "pre-commit", "pytest", "python", "sphinx-build"}
"""Not run here: what they start is run by tests of its own, or it installs something."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    language: str
    text: str

    @property
    def commands(self) -> Iterator[list[str]]:
        """The words of each command, without comments and prompts."""
        for line in self.text.splitlines():
            if self.language == "console" and not line.startswith("$ "):
                continue  # what was printed
            for command in line.removeprefix("$ ").split(" && "):
                if words := shlex.split(command, comments=True):
                    yield words


BLOCKS = [Block(page.name, *found) for page in PAGES for found in FENCE.findall(page.read_text(encoding="utf-8"))]
COMMANDS = [(block.page, words) for block in BLOCKS if block.language in ("sh", "console") for words in block.commands]
ASKED = [(page, words) for page, words in COMMANDS if words[0] == "distill"]
RUNS = [one for one in ASKED if one[1][1] in ("run", "compress", "search")]


def named(cases: list[tuple[str, list[str]]]) -> list[object]:
    """Each command once, whatever number of pages name it; those that export are slow."""
    seen = {
        " ".join(words): pytest.param(
            words, id=f"{page}: {' '.join(words)}", marks=pytest.mark.slow if words[1] == "export" else ()
        )
        for page, words in reversed(cases)
    }
    return list(reversed(seen.values()))


def write_table(path: Path, header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """A CSV file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def write_cascade(alone: Path, together: Path) -> None:
    """A bundle that asks itself where it is unsure."""
    manifest = dataclasses.replace(read_manifest(alone), sha256={}, sizes={})
    files = {name: alone / name for name in read_manifest(alone).sha256}
    unsure = dataclasses.replace(manifest, cascade=Cascade(0.9, 0.5))
    write_bundle(together, unsure, files, {"config.json": "{}"}, Content(manifest, files))


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, overlay: list[str], reviews_csv: Path) -> Path:
    """A folder with what the pages name: a finished quickstart, tables, a classifier, a recipe of one's own."""
    folder = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["run", "quickstart", *overlay, "seeds=[0]", "train.learning_rates=[1e-3]", "name=quickstart"]) == 0
    shutil.copytree(folder / "outputs/quickstart", folder / "outputs/other")
    shutil.copytree(folder / "outputs/quickstart/student", folder / "my-classifier")
    with reviews_csv.open(encoding="utf-8") as file:
        rows = [(row["text"], row["label"]) for row in csv.DictReader(file)]
    for name in ("labelled.csv", "reviews.csv"):
        write_table(folder / name, ("text", "label"), rows)
    (folder / "texts.txt").write_text("".join(f"{text} again\n" for text, _ in rows), encoding="utf-8")
    pairs = [(text, f"{text} too", str(int(label == "fresh"))) for text, label in rows]
    write_table(folder / "train.csv", ("sentence1", "sentence2", "same"), pairs[:300])
    write_table(folder / "test.csv", ("sentence1", "sentence2", "same"), pairs[300:])
    with (folder / "answers.jsonl").open("w", encoding="utf-8") as answers:
        for text, _ in rows:
            answers.write(json.dumps({"text": text, "probabilities": {"fresh": 0.3, "rotten": 0.7}}) + "\n")
    write_writing_bundle(folder / "exports/language_model", "decoder")
    write_translating_bundle(folder / "exports/translation", "lstm encoder-decoder")
    manifest = folder / "exports/translation/bundle.json"
    columns = {"columns": {"text": "source", "label": "target"}}
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), **columns}))
    for suffix, line in (("en", "a mess\nfine\n"), ("de", "ein Durcheinander\nfein\n")):
        (folder / f"test.{suffix}").write_text(line, encoding="utf-8")
    (folder / "test.jsonl").write_text('{"source": "a mess", "target": "ein Durcheinander"}\n', encoding="utf-8")
    write_cascade(folder / "exports/quickstart", folder / "exports/cascade")
    recipe = next(block.text for block in BLOCKS if block.language == "yaml" and block.page == "own-data.md")
    (folder / "my.yaml").write_text(recipe, encoding="utf-8")
    return folder


@pytest.fixture
def here(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the world, as the working directory."""
    shutil.copytree(world, tmp_path / "world")
    monkeypatch.chdir(tmp_path / "world")
    return tmp_path / "world"


def test_blocks_are_found_and_each_language_is_known() -> None:
    assert {block.language for block in BLOCKS} <= {"sh", "console", "python", "yaml", "text"}
    assert len(ASKED) > 15
    assert {words[0] for _, words in COMMANDS} <= {"distill"} | OTHER_PROGRAMS


@pytest.mark.parametrize("words", named([one for one in ASKED if one not in RUNS]))
def test_command_of_a_page_works(words: list[str], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--seconds", "0.05"] if words[1] == "measure" else []
    assert main([*words[1:], *options]) == 0
    assert capsys.readouterr().out


@pytest.mark.parametrize("words", named([one for one in RUNS if one[1][1] == "run"]))
def test_run_of_a_page_composes(words: list[str], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    composed: list[object] = []
    flags = [word for word in words[3:] if word.startswith("--")]
    overrides = [word for word in words[3:] if "=" in word]
    run_with_hydra(words[2], overrides, [flag for flag in flags if flag == "--multirun"], composed.append)
    assert len(composed) == (2 if "--multirun" in flags else 1)


@pytest.mark.slow
@pytest.mark.parametrize("words", named(RUNS))
def test_run_of_a_page_leaves_a_bundle(words: list[str], here: Path, overlay: list[str]) -> None:
    left_out: tuple[str, ...] = ()
    if words[2] not in recipe_names():  # a classifier, or a recipe with data of its own
        left_out = ("data", "teacher=", "teacher.source", "teacher.t")
    elif words[2] == "language_model":  # its teacher is trained from nothing
        left_out = ("teacher=", "teacher.source")
    elif any(word.startswith("teacher=") for word in words):
        left_out = ("teacher=", "teacher.source", *(("teacher.t",) if "teacher=probabilities" in words else ()))
    if words[1] == "search":  # which looks for rates itself
        left_out = (*left_out, "train.learning_rates")
    own = [o for o in overlay if not o.startswith(left_out)] if left_out else overlay
    shutil.rmtree("exports")
    fewer = ["--trials", "1"] if words[1] == "search" else []
    assert main([*words[1:], *own, *fewer]) in (0, 1)  # 1: a target that was not met
    if "--cfg" not in words:
        assert list(Path("exports").glob("*/bundle.json"))


@pytest.mark.parametrize(
    "block", [pytest.param(b, id=b.page) for b in BLOCKS if b.language == "python" and "distill.run" not in b.text]
)
def test_python_of_a_page_runs(block: Block, here: Path) -> None:
    exec(compile(block.text, block.page, "exec"), {})


@pytest.mark.slow
@pytest.mark.parametrize(
    "block", [pytest.param(b, id=b.page) for b in BLOCKS if b.language == "python" and "distill.run" in b.text]
)
def test_python_of_a_page_that_runs_a_recipe(
    block: Block, here: Path, overlay: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import distill

    whole = distill.run
    monkeypatch.setattr(distill, "run", lambda recipe, overrides: whole(recipe, [*overlay, *overrides, "name=x"]))
    exec(compile(block.text, block.page, "exec"), {})


@pytest.mark.parametrize("block", [pytest.param(b, id=b.page) for b in BLOCKS if b.language == "yaml"])
def test_recipe_of_a_page_composes_and_can_be_run(block: Block, here: Path) -> None:
    Path("page.yaml").write_text(block.text, encoding="utf-8")
    composed: list[Config] = []
    run_with_hydra("page.yaml", [], [], composed.append)
    check_task(composed[0])
    check_choices(composed[0])
    for where, source in sources_of(composed[0]).items():
        validate(source, where)
