"""From plain values to dataclasses: what is wrong is named with its key and the nearest right one."""

import dataclasses
from typing import Any

import pytest
from small_recipe import small_recipe

from distill.config import (
    Config,
    DataConfig,
    HardTerm,
    HiddenTerm,
    KlTerm,
    ObjectiveConfig,
    PretrainedTeacher,
    RecurrentStudent,
    Source,
    TrainConfig,
    TransformerStudent,
    build,
    build_config,
)
from distill.errors import UserError


def test_a_recipe_becomes_its_dataclasses_and_defaults_fill_the_rest() -> None:
    config = build_config(
        small_recipe(
            student={"name": "transformer", "architecture": {"layers": 3}},
            objective={"terms": [{"name": "hard", "weight": 1}, {"name": "kl", "temperature": 4}]},
            train={"learning_rates": ["5e-5", 1e-3], "steps": 3},
            seeds=[4, 5],
        )
    )
    assert config.data == DataConfig(train=Source(path="x.csv"))
    assert config.teacher == PretrainedTeacher("pretrained", Source(path="folder"))
    assert isinstance(config.student, TransformerStudent)
    assert config.student.architecture.layers == 3
    assert config.objective == ObjectiveConfig((HardTerm("hard", 1.0), KlTerm("kl", 1.0, 4.0)))
    assert config.train == TrainConfig(learning_rates=(5e-5, 1e-3), steps=3)
    assert config.seeds == (4, 5)


def test_layers_and_schedules_are_pairs() -> None:
    term = {"name": "hidden", "layers": [[1, 3], [-1, -1]], "schedule": [[0, 1], [0.5, 0]]}
    (built,) = build_config(small_recipe(objective={"terms": [term]})).objective.terms
    assert built == HiddenTerm("hidden", layers=((1, 3), (-1, -1)), schedule=((0.0, 1.0), (0.5, 0.0)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trian": {}}, r"unknown key 'trian'; did you mean 'train'\?"),
        ({"train": {"step": 3}}, r"unknown key 'train\.step'; did you mean 'steps'\?"),
        ({"data": {"train": {"pth": "x"}}}, r"unknown key 'data\.train\.pth'; did you mean 'path'\?"),
        (
            {"student": {"name": "recurrent", "vocabulary": {"trimm": True}}},
            r"unknown key 'student\.vocabulary\.trimm'; did you mean 'trim'\?",
        ),
        ({"student": {"name": "recurrent", "count": 2}}, r"unknown key 'student\.count'"),
        (
            {"objective": {"terms": [{"name": "kl", "temprature": 2}]}},
            r"unknown key 'objective\.terms\[0\]\.temprature'; did you mean 'temperature'\?",
        ),
        ({"student": {"name": "recurent"}}, r"student\.name is 'recurent'; did you mean 'recurrent'\?"),
        ({"objective": {"terms": [{"name": "kll"}]}}, r"objective\.terms\[0\]\.name is 'kll'; did you mean 'kl'\?"),
        (
            {"student": {"layers": 2}},
            r"student is .*expected a mapping with a name, one of layers, transformer, recurrent",
        ),
        ({"student": "lstm"}, r"student is 'lstm'; expected a mapping with a name"),
        ({"student": None}, r"student is None; expected a mapping with a name"),
        ({"device": "gpu"}, r"device is 'gpu'"),
        ({"arms": ["linear", "sotf"]}, r"arms\[1\] is 'sotf'; did you mean 'soft'\?"),
        ({"train": {"steps": "three"}}, r"train\.steps is 'three'; expected a whole number"),
        ({"train": {"steps": True}}, r"train\.steps is True; expected a whole number"),
        ({"train": {"batch_size": 1.5}}, r"train\.batch_size is 1\.5; expected a whole number"),
        ({"train": {"batch_size": True}}, r"train\.batch_size is True; expected a whole number"),
        ({"train": {"batch_size": None}}, r"train\.batch_size is None; expected a whole number"),
        ({"teacher_floor": "no"}, r"teacher_floor is 'no'; expected true or false"),
        ({"teacher_floor": 1}, r"teacher_floor is 1; expected true or false"),
        ({"data": {"text": ["a"]}}, r"data\.text is \['a'\]; expected a text"),
        ({"data": {"text": None}}, r"data\.text is None; expected a text"),
        ({"data": {"label_map": ["a"]}}, r"data\.label_map is \['a'\]; expected a mapping such as \{a: b\}"),
        ({"data": {"label_map": {False: "bad"}}}, r"data\.label_map has the key False; YAML reads .* write 'no', with"),
        ({"data": {"label_map": {None: "bad"}}}, r"data\.label_map has the key None; YAML reads yes, no, on"),
        ({"data": {"label_map": {"0": True}}}, r"data\.label_map\.0 is True; expected a text; YAML reads"),
        ({"data": {"drop_labels": [False]}}, r"data\.drop_labels\[0\] is False; expected a text; YAML reads"),
        ({"task": {"labels": [False, True]}}, r"task\.labels\[0\] is False; expected a text; YAML reads"),
        ({"data": "x.csv"}, r"data is 'x\.csv'; expected a mapping"),
        ({"train": [1]}, r"train is \[1\]; expected a mapping"),
        ({"teacher": {"name": "pretrained"}}, r"'teacher\.source' is missing; set it in the recipe"),
        ({"data": {"train": {"wheel": [None]}}}, r"data\.train\.wheel\[0\] is None; expected a text"),
    ],
)
def test_what_is_wrong_is_named_with_its_path_and_the_mend(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_config(small_recipe(**changes))


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, (600, (3e-5, 1e-4, 3e-4), 10, 3)),
        ({"steps": 40}, (40, (3e-5, 1e-4, 3e-4), 10, 3)),
        ({"steps": 40, "learning_rates": [1e-4], "patience": 0}, (40, (1e-4,), 10, 0)),
    ],
)
def test_what_a_recipe_does_not_say_of_a_training_is_as_where_that_stands(
    given: dict[str, Any], found: tuple[Any, ...]
) -> None:
    values = small_recipe()
    values["teacher"]["train"] = given
    train = build_config(values).teacher.train  # type: ignore[union-attr]
    assert (train.steps, train.learning_rates, train.evaluations, train.patience) == found
    assert build_config(small_recipe() | {"train": {"steps": 40}}).train.learning_rates == TrainConfig().learning_rates
    recovery = build_config(small_recipe() | {"compression": {"train": {"steps": 40}}}).compression.train
    assert (recovery.steps, recovery.learning_rates) == (40, (2e-4, 5e-4))


@pytest.mark.parametrize("key", ["data", "teacher", "student", "name"])
def test_a_required_key_that_is_missing_is_named(key: str) -> None:
    values = small_recipe()
    del values[key]
    with pytest.raises(UserError, match=f"'{key}' is missing"):
        build_config(values)


def test_a_recipe_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(UserError, match="the recipe is 3; expected a mapping"):
        build(Config, 3, "")


def test_one_value_stands_for_a_list_of_one_and_numbers_for_texts() -> None:
    config = build_config(
        small_recipe(seeds=3, data={"train": {"path": "x", "wheel": "w"}, "text": 0, "label_map": {0: 1}})
    )
    assert config.seeds == (3,)
    assert config.data.train == Source(path="x", wheel=("w",))
    assert config.data.text == "0"
    assert config.data.label_map == {"0": "1"}


def test_a_config_written_as_json_builds_again() -> None:
    config = build_config(small_recipe(train={"steps": 3}, data={"train": {"path": "x"}, "label_map": {"0": "bad"}}))
    assert build_config(dataclasses.asdict(config)) == config


def test_choices_told_apart_by_name_become_their_own_dataclass() -> None:
    config = build_config(small_recipe())
    assert isinstance(config.student, RecurrentStudent)
    assert build(TrainConfig, {}, "train") == TrainConfig()
