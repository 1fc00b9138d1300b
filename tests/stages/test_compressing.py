"""The chosen model is cut and recovers: from what, with what, chosen by what, and what then is exported."""

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from small_runs import SmallRun, config_of, run, teacher_in
from stopped_training import problem_of
from transformers import BertModel

from distill.compression.rounding import rounded
from distill.config import HardTerm, KlTerm, MseTerm, build_config
from distill.errors import UserError
from distill.models import load_model, parameter_count
from distill.models.students import layers_of
from distill.results import Figure, StageCost
from distill.stages.artifacts import Artifact
from distill.stages.compressible import TryCompression, check_compression, try_compression
from distill.stages.compressing import CutModel, RecoverStudent, aside, compress
from distill.stages.context import Run, open_run
from distill.stages.exporting import ExportModel
from distill.stages.findings import Chosen, Compressed
from distill.stages.stage import identity
from distill.stages.students import TrainStudent
from distill.stages.teacher import TrainTeacher
from distill.stages.texts import prepare_student, read_data, read_texts
from distill.tasks import TASKS
from distill.training.devices import Machine
from distill.training.loop import score

STEPS = [{"name": "prune", "layers": 1, "feed_forward_share": 0.5}, {"name": "quantization_aware"}]
TRAIN = {"steps": 4, "evaluations": 2, "batch_size": 16, "learning_rates": [1e-7, 8e-3]}
CPU = Machine("cpu", "fp32", "as asked for", 1)


@pytest.fixture(scope="module")
def runs(reviews: Path, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[SmallRun, SmallRun]:
    """With one test file, and with another. Of the objective a term looks inside of the teacher."""
    folder = tmp_path_factory.mktemp("compressed")

    def recipe(test: str) -> Any:
        return config_of(
            reviews,
            folder,
            test,
            teacher={**teacher_in(encoder), "tries": 1},
            student={"name": "layers", "count": -1, "vocabulary": {"trim": True}},
            objective={"terms": [{"name": "kl", "weight": 1.0}, {"name": "hidden", "weight": 0.1}]},
            arms=["linear", "hard", "soft+transfer"],
            compression={"steps": STEPS, "train": TRAIN},
            measure={"enabled": False},
            report={"show_texts": True},
        )

    return run(recipe("test A")), run(recipe("test B"))


@pytest.fixture
def now(runs: tuple[SmallRun, SmallRun]) -> SmallRun:
    return runs[0]


def chosen_of(now: SmallRun) -> Chosen:
    found: Chosen = now.values["compress"]
    return found


def test_the_recovery_is_the_training_of_the_chosen_arm_from_what_was_left(now: SmallRun) -> None:
    chosen = chosen_of(now)
    seed = now.config.seeds[chosen.index]
    arm = next(
        stage
        for stage, artifact in now.of(TrainStudent)
        if type(stage) is TrainStudent and artifact.identity == chosen.arm.models[chosen.index].identity
    )
    assert (arm.arm, arm.seed) == (chosen.arm.name, seed)
    asked = [stage for stage, _ in now.of(RecoverStudent)]
    assert len(asked) == 4
    for one in asked:
        named = [f.name for f in dataclasses.fields(arm)]
        own = {name for name in named if identity(getattr(one, name)) != identity(getattr(arm, name))}
        assert own <= {"start", "budget", "objective", "beside"}
        assert [type(term) for term in one.objective.terms] == [KlTerm]
        assert (one.budget.steps, one.beside) == (4, None)
    assert [one.rate for one in asked] == [1e-7, 8e-3] * 2


def test_a_recovery_that_diverges_names_its_own_settings(now: SmallRun, tmp_path: Path) -> None:
    problem = problem_of(now.of(RecoverStudent)[0][0], tmp_path)
    assert problem.rate_key == "compression.train.learning_rates"
    assert problem.clip_key == "compression.train.clip"


def test_validation_chooses_and_each_step_goes_on_from_the_best(now: SmallRun) -> None:
    chosen, cuts, recovered = chosen_of(now), now.of(CutModel), now.of(RecoverStudent)
    assert chosen.compressed is not None
    start = chosen.arm.models[chosen.index]
    reached = chosen.arm.results[chosen.index]["validation"]
    places = list[int]()
    for number, (cut, left) in enumerate(cuts):
        assert cut.model == start
        tried = recovered[2 * number : 2 * number + 2]
        assert {stage.start for stage, _ in tried} == {left}
        scores = [artifact.read("result.json")["validation"] for artifact in (*(a for _, a in tried), left)]
        places.append(int(np.argmax(scores)))
        start = (*(a for _, a in tried), left)[places[-1]]
        told = chosen.compressed.steps[number]
        assert (told.before, told.cut, told.recovered) == (reached, left.read("result.json")["validation"], max(scores))
        assert told.learning_rate == (1e-7, 8e-3, None)[places[-1]]
        reached = max(scores)
    assert 1 in places  # the first is not the best everywhere
    assert chosen.model == chosen.compressed.model == start
    assert chosen.thresholds == tuple(start.read("result.json")["thresholds"])
    assert [stage.model for stage, _ in now.of(ExportModel) if stage.who == "student"] == [start]


def test_the_thresholds_are_those_of_what_was_left(tmp_path: Path) -> None:
    cost = StageCost("made", 1.0, Figure(None, "J", "unavailable", "no counter"))
    (tmp_path / "result.json").write_text('{"thresholds": [0.25]}')
    model = Artifact(tmp_path, "recovered", cost)
    arm: Any = SimpleNamespace(results=[{"thresholds": [0.5]}], models=[model])
    assert Chosen(arm, 0).thresholds == (0.5,)
    assert Chosen(arm, 0, Compressed(model, (), ())).thresholds == (0.25,)


def test_a_step_is_what_it_says(now: SmallRun) -> None:
    chosen = chosen_of(now)
    assert chosen.compressed is not None
    (pruning, first), (_, second) = now.of(CutModel)
    trained = load_model(chosen.arm.models[chosen.index].directory / "model", pruning.task).model
    pruned = load_model(first.directory / "model", pruning.task).model
    prune, rounds = chosen.compressed.steps
    assert (len(layers_of(trained)), len(layers_of(pruned))) == (2, 1)
    assert (prune.parameters_before, prune.parameters_after) == (parameter_count(trained), parameter_count(pruned))
    assert prune.what in (
        "1 of 2 layers (0); 32 of 64 feed-forward units a layer",
        "1 of 2 layers (1); 32 of 64 feed-forward units a layer",
    )
    assert rounds.parameters_before == rounds.parameters_after == prune.parameters_after
    rows = pruning.validation.rows(pruning.task, pruning.reading)
    assert score(pruned, rows, CPU)[0] == prune.cut
    before = load_model(second.directory / "model", pruning.task).model
    with rounded(before):
        assert score(before, rows, CPU)[0] == rounds.cut
    last = load_model(chosen.model.directory / "model", pruning.task).model
    with rounded(last):
        assert score(last, rows, CPU)[0] == rounds.recovered
    assert pruning.texts.splits == ("train",)
    assert (pruning.validation.splits, pruning.signal) == (("validation",), None)


def test_another_test_file_changes_no_weight(runs: tuple[SmallRun, SmallRun]) -> None:
    first, second = (chosen_of(one).model.directory / "model" for one in runs)
    weights = [load_model(folder, runs[0].of(CutModel)[0][0].task).model.state_dict() for folder in (first, second)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_the_report_is_of_what_is_left(now: SmallRun) -> None:
    assert now.outcome is not None
    report, chosen = now.outcome.report, chosen_of(now)
    assert chosen.compressed is not None
    assert report.compression == chosen.compressed.steps
    assert sum(cost.stage.startswith("compression: ") for cost in report.costs) == 6
    exported = now.values["export_student"]
    answers = [stage for stage, _ in now.asked if getattr(stage, "who", "") == "compressed student"]
    assert [one.model for one in answers] == [chosen.model]
    texts, task, reading = now.values["read_data"].test, exported.texts.task, exported.texts.reading
    model = load_model(chosen.model.directory / "model", task).model
    for sample, text in zip(report.samples, texts, strict=False):
        ids = torch.tensor([task.encode(reading, [text])[0].input_ids.tolist()])
        with torch.no_grad():
            label = task.labels[int(model(input_ids=ids).logits.argmax())]
        assert sample["student"] == label


def test_what_cannot_be_taken_ends_a_run_before_its_teacher_is_trained(
    reviews: Path, encoder: Path, tmp_path: Path
) -> None:
    config = config_of(
        reviews,
        tmp_path,
        "test A",
        teacher=teacher_in(encoder),
        student={"name": "layers", "count": 1},
        compression={"steps": [{"name": "prune", "layers": 1}]},
    )
    with pytest.raises(UserError, match=r"compression.steps\[0\], of a student: layers is 1, but the model has 1"):
        run(config)
    done = {path.parent.name.partition("-")[0] for path in tmp_path.glob("outputs/artifacts/*/done.json")}
    assert TrainTeacher.name not in done
    assert TryCompression.name not in done


SIZES = {"layers": 1, "hidden_size": 16, "heads": 2, "intermediate_size": 32}
TRIMMED = {"name": "layers", "count": 1, "vocabulary": {"trim": True, "min_count": 3}}


@pytest.mark.parametrize(
    "models",
    [
        {"student": TRIMMED},
        {"student": {**TRIMMED, "width_share": 0.5, "feed_forward_share": 0.5}},
        {
            "student": TRIMMED,
            "teacher": {"name": "transformer", "architecture": SIZES},
            "tokenizer": {"name": "trained", "vocabulary_size": 300},
        },
        {
            "student": {"name": "transformer", "architecture": SIZES},
            "tokenizer": {"name": "trained", "vocabulary_size": 300},
        },
    ],
    ids=["layers", "narrow layers", "layers of a teacher from nothing", "its own tokenizer"],
)
def test_the_model_that_is_tried_has_the_vocabulary_of_the_student(
    models: dict[str, Any], reviews: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of which share of a model is left depends on it."""
    steps = {"steps": [{"name": "prune", "multiplications": 0.9}]}
    config = config_of(reviews, tmp_path, "test A", **{"teacher": teacher_in(encoder), "compression": steps} | models)
    this = open_run(config)
    texts = read_texts(this, read_data(this))
    asked = list[Any]()
    monkeypatch.setattr(TryCompression, "compute", lambda self, *_: asked.append(self))
    try_compression(this, texts)
    own = prepare_student(this, texts, None).reading
    assert own.vocabulary_size != texts.reading.vocabulary_size
    model = asked[0].untrained()
    assert len(model.get_input_embeddings().weight) == model.config.vocab_size == own.vocabulary_size


def test_a_share_that_leaves_room_once_the_vocabulary_is_trimmed_is_not_refused(
    reviews: Path, encoder: Path, tmp_path: Path
) -> None:
    """Of a checkpoint whose vocabulary the texts use little of, and which is most of its parameters."""
    folder = tmp_path / "large"
    shutil.copytree(encoder, folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    pieces = tokenizer["model"]["vocab"]
    pieces |= {f"piece{i}": len(pieces) + i for i in range(6000)}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    model = BertModel.from_pretrained(folder)
    model.resize_token_embeddings(len(pieces))
    model.save_pretrained(folder)

    def attempt(trim: bool) -> None:
        student = {"name": "layers", "count": 1, "vocabulary": {"trim": trim}}
        compression = {"steps": [{"name": "prune", "parameters": 0.4}]}
        made = config_of(
            reviews, tmp_path, "test A", teacher=teacher_in(folder), student=student, compression=compression
        )
        this = open_run(made)
        try_compression(this, read_texts(this, read_data(this)))

    with pytest.raises(
        UserError, match=r"steps\[0\], of a student: parameters is 0.4, .*trim a vocabulary that is whole"
    ):
        attempt(trim=False)
    attempt(trim=True)


@pytest.mark.parametrize(
    ("objective", "left"),
    [
        ("tinybert", (KlTerm("kl", temperature=1.0),)),
        ("annealing", (MseTerm("mse"), HardTerm("hard"))),
        *((name, (HardTerm("hard", 0.1), KlTerm("kl", 0.9))) for name in ("kl", "theseus")),
    ],
)
def test_no_schedule_holds_for_a_model_that_was_trained(objective: str, left: tuple[Any, ...]) -> None:
    """Else half of a recovery with ``objective=tinybert`` would train on nothing, and a step that is told by the
    teacher's answers would find the same loss, 0, whatever it leaves out."""
    file = Path(__file__).parent.parent.parent / "conf" / "objective" / f"{objective}.yaml"
    base: dict[str, Any] = {"name": "x", "recipe": "x", "data": {}, "student": {"name": "layers"}}
    base["teacher"] = {"name": "pretrained", "source": {"hub": "a/b"}}
    found = aside(build_config({**base, "objective": OmegaConf.to_container(OmegaConf.load(file))})).objective
    assert (found.terms, found.replacing) == (left, ())


PRUNE = {"compression": {"steps": [{"name": "prune", "layers": 1}]}}
ROUND = {"compression": {"steps": [{"name": "quantization_aware"}]}}


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        ("text-classification", {**PRUNE, "student": {"name": "recurrent"}}, "a recurrent student has none; set compr"),
        ("text-classification", {**ROUND, "student": {"name": "static"}}, "a static student has none; set compression"),
        ("sentence-embedding", PRUNE, "sentence-embedding answers with vectors, whose size would go with the width"),
        ("text-to-text", PRUNE, "an encoder and a decoder that belong together are not compressed"),
        (
            "language-modelling",
            {"compression": {"steps": [{"name": "low_rank"}]}},
            "models that write, as in language-modelling, are not factorised",
        ),
        ("language-modelling", ROUND, "in language-modelling word embeddings are scores of words, too"),
        ("text-classification", {**ROUND, "export": {"variants": ["fp32"]}}, r"variants is \['fp32'\]; add int8"),
        *(
            (
                "text-classification",
                {**PRUNE, "objective": {"terms": [{"name": "cls"}, *more]}},
                "all of objective.terms look inside of the teacher or have a weight of 0; add one",
            )
            for more in ([], [{"name": "kl", "weight": 0}])
        ),
    ],
)
def test_steps_that_cannot_serve_are_refused(task: str, changes: dict[str, Any], message: str) -> None:
    base: dict[str, Any] = {
        "name": "x",
        "recipe": "x",
        "data": {},
        "teacher": {"name": "pretrained", "source": {"hub": "a/b"}},
        "student": {"name": "layers"},
    }
    with pytest.raises(UserError, match=message):
        check_compression(build_config({**base, **changes}), TASKS[task])
    check_compression(build_config(base), TASKS[task])


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([{"name": "prune"}], r"steps\[0\] is 'prune', but leaves nothing out; set parameters"),
        ([{"name": "prune", "parameters": 0.5, "width_share": 0.5}], "give it or them"),
        ([{"name": "prune", "multiplications": 0.5, "feed_forward_share": 0.5}], "give it or them"),
        (
            [{"name": "prune", "multiplications": 0}],
            r"steps\[0\].multiplications is 0.0; it is a share, above 0 and below",
        ),
        (
            [{"name": "prune", "multiplications": 0.5, "parameters": 0.5}],
            "one of the multiplications; give one of them",
        ),
        ([{"name": "prune", "parameters": 1}], r"steps\[0\].parameters is 1.0; it is a share, above 0 and below 1"),
        ([{"name": "prune", "layers": -1}], r"steps\[0\].layers is -1; give how many"),
        ([{"name": "prune", "width_share": 0}], r"steps\[0\].width_share is 0.0; it is a share"),
        ([{"name": "quantization_aware"}, {"name": "prune", "layers": 1}], "whose roundings are learnt last; move it"),
        (
            [{"name": "low_rank", "feed_forward_share": 1}],
            r"steps\[0\] is 'low_rank' with shares of 1, which leaves all as it is",
        ),
        (
            [{"name": "low_rank"}, {"name": "prune", "layers": 1}],
            "are neither pruned nor factorised again; prune before",
        ),
        ([{"name": "pruning"}], "steps.0..name is 'pruning'; did you mean 'prune'"),
    ],
)
def test_steps_that_contradict_are_refused(steps: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_config(
            {
                "name": "x",
                "recipe": "x",
                "data": {},
                "teacher": {"name": "pretrained", "source": {"hub": "a/b"}},
                "student": {"name": "layers"},
                "compression": {"steps": steps},
            }
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": ["linear", "hard", "soft"]}, r"untrained, all of \['hard', 'soft'\] are the same model; set arms"),
        ({"student": {"name": "transformer"}}, "only layers of the fine-tuned teacher .* know the task untrained"),
        ({"student": {"name": "layers", "start": "checkpoint"}}, "give at least 1, as only layers of the fine-tuned"),
        ({"teacher": {"name": "transformer", "train": {"steps": 0}}}, "teacher.train.steps is 0; give at least 1"),
        ({"compression": {"train": {"steps": 0}}}, "compression.train.steps is 0; give at least 1"),
    ],
)
def test_only_a_copy_of_the_teacher_is_left_untrained(changes: dict[str, Any], message: str) -> None:
    base: dict[str, Any] = {
        "name": "x",
        "recipe": "x",
        "data": {},
        "teacher": {"name": "pretrained", "source": {"hub": "a/b"}},
        "student": {"name": "layers", "count": -1},
        "train": {"steps": 0},
        "arms": ["linear", "soft"],
    }
    assert build_config(base).train.steps == 0
    with pytest.raises(UserError, match=message):
        build_config({**base, **changes})


def test_what_no_training_betters_is_kept_as_it_was_cut(now: SmallRun, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Artifact.read

    def none_is_better(self: Artifact, name: str) -> Any:
        found = read(self, name)
        if self.directory.name.startswith(RecoverStudent.name) and name == "result.json":
            return {**found, "validation": 0.0}
        return found

    monkeypatch.setattr(Artifact, "read", none_is_better)
    this = Run(now.config, CPU)
    kept = compress(this, now.values["keep_states"], dataclasses.replace(chosen_of(now), compressed=None))
    assert kept.compressed is not None
    assert [step.learning_rate for step in kept.compressed.steps] == [None, None]
    assert [step.recovered for step in kept.compressed.steps] == [step.cut for step in kept.compressed.steps]
    assert kept.model.directory.name.startswith(CutModel.name)
    assert kept.thresholds == tuple(kept.model.read("result.json")["thresholds"])
