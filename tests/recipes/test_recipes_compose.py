"""The recipes with every choice of teacher, student and objective are configurations that the schema takes."""

import itertools
from pathlib import Path

import pytest

from distill.config import Config, LayersStudent
from distill.config.compose import folder, run_with_hydra
from distill.models.students import chosen_layers


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (folder("conf") / group).glob("*.yaml"))


MUST = {
    "teacher=folder": ["teacher.source.path=somewhere"],
    "teacher=hub": ["teacher.source.hub=some/where"],
    "teacher=probabilities": ["teacher.source.path=somewhere.jsonl"],
}


@pytest.mark.parametrize("recipe", ["quickstart", "rotten_tomatoes", "compress"])
def test_recipe_composes_with_each_teacher_and_student(recipe: str) -> None:
    composed: list[Config] = []
    teachers, students = choices("teacher"), choices("student")
    pairs = list(zip(teachers, itertools.cycle(students), strict=False))  # each choice once
    pairs += [("transformer", "lstm"), ("probabilities", "transformer")]
    pairs = list(dict.fromkeys(pairs))
    for teacher, student in pairs:
        overrides = [f"teacher={teacher}", f"student={student}", *MUST.get(f"teacher={teacher}", [])]
        run_with_hydra(recipe, [*overrides, "data=files", "data.train.path=x.csv"], [], composed.append)
        config = composed[-1]
        expected = {
            "half": "layers",
            "narrow": "layers",
            "thin": "layers",
            "same": "layers",
            "layers_quick": "layers",
            "layers_long": "layers",
            "layers_three": "layers",
            "lstm": "recurrent",
            "gru": "recurrent",
            "rnn": "recurrent",
            "deep_encoder": "transformer",
            "encoder_decoder": "transformer",
            "decoder": "transformer",
        }.get(student, student)
        assert config.student.name == expected
        trained = teacher in ("transformer", "lstm", "probabilities")
        assert config.tokenizer.name == ("trained" if trained else "teacher")
    assert len(composed) == len(pairs)
    assert len({config.name for config in composed}) == len(pairs)


TERMS_OF = {
    "annealing": ["mse", "hard"],
    "attention": ["hard", "kl", "attention"],
    "cka": ["hard", "kl", "hidden"],
    "cosine": ["cosine"],
    "distribution": ["kl"],
    "dkd": ["hard", "dkd"],
    "hard": ["hard"],
    "hidden": ["hard", "kl", "hidden"],
    "hinton": ["hard", "kl"],
    "jsd": ["jsd"],
    "kl": ["hard", "kl"],
    "minilm": ["hard", "kl", "attention", "relations"],
    "minilmv2": ["hard", "kl", "relations"],
    "mse": ["hard", "mse"],
    "pkd": ["hard", "kl", "cls"],
    "reverse_kl": ["reverse_kl"],
    "skewed_kl": ["skewed_kl"],
    "theseus": ["hard", "kl"],
    "tinybert": ["hidden", "attention", "kl"],
    "words": ["hard", "kl"],
}


@pytest.mark.parametrize("objective", choices("objective"))
def test_objective_is_one_choice(objective: str) -> None:
    composed: list[Config] = []
    recipe = "embeddings" if objective == "cosine" else "quickstart"
    run_with_hydra(recipe, [f"objective={objective}"], [], composed.append)
    assert [term.name for term in composed[0].objective.terms] == TERMS_OF[objective]


@pytest.mark.parametrize("student", ["lstm", "transformer"])
def test_student_from_random_weights_brings_its_own_learning_rates(student: str) -> None:
    rates = {}
    for choice in ("layers", student):
        run_with_hydra(
            "quickstart", [f"student={choice}"], [], lambda c, choice=choice: rates.update({choice: c.train})
        )
    assert max(rates[student].learning_rates) > max(rates["layers"].learning_rates)
    assert rates[student].steps > rates["layers"].steps


@pytest.mark.parametrize(
    ("recipe", "layers"),
    [("clinc150", [1, 4]), ("stsb", [1, 4]), ("snips", [1, 4]), ("quickstart", [0, 3]), ("rotten_tomatoes", [0, 2, 4])],
)
def test_which_of_six_layers_the_students_of_a_recipe_start_from(recipe: str, layers: list[int]) -> None:
    composed: list[Config] = []
    run_with_hydra(recipe, [], [], composed.append)
    student = composed[0].student
    assert isinstance(student, LayersStudent)
    assert chosen_layers(student, 6) == layers


def test_own_recipe_lies_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "a=b, my own.yml"
    path.write_text("defaults:\n  - override /student: lstm\ndata:\n  train: {path: x.csv}\nseeds: [7]\n")
    composed: list[Config] = []
    run_with_hydra(str(path), [], [], composed.append)
    assert (composed[0].seeds, composed[0].student.name, composed[0].name) == ((7,), "recurrent", "a-b-my-own")
