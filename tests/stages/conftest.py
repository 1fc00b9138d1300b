"""Small runs that many tests look at: each is made twice, with one test file and with another."""

from pathlib import Path

import pytest
from small_runs import SmallRun, config_of, run, teacher_in, write_data, write_teacher

Pair = tuple[SmallRun, SmallRun]
"""The same recipe, with test files A and B."""


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Splits for text classification."""
    folder = tmp_path_factory.mktemp("reviews")
    write_data(folder, "text-classification")
    return folder


@pytest.fixture(scope="session")
def reviews_with_labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Splits for multi-label classification."""
    folder = tmp_path_factory.mktemp("labels")
    write_data(folder, "multi-label-classification")
    return folder


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory, reviews: Path) -> Path:
    """A checkpoint that is not fine-tuned."""
    return write_teacher(tmp_path_factory.mktemp("encoder"), reviews)


@pytest.fixture(scope="session")
def of_layers(tmp_path_factory: pytest.TempPathFactory, reviews: Path, encoder: Path) -> Pair:
    """A student from the last layer of a fine-tuned checkpoint, with a trimmed vocabulary and texts without labels."""
    changes = {
        "teacher": teacher_in(encoder),
        "student": {"name": "layers", "layers": [1], "vocabulary": {"trim": True}},
        "arms": ["linear", "hard", "soft", "soft+transfer", "pseudo+transfer"],
        "export": {"max_drop": 100, "variants": ["fp32", "int8", "int8_static"]},
    }
    folder = tmp_path_factory.mktemp("of-layers")
    a, b = (run(config_of(reviews, folder / test, f"test {test}", **changes)) for test in "AB")
    return a, b


@pytest.fixture(scope="session")
def of_trained_tokenizer(tmp_path_factory: pytest.TempPathFactory, reviews: Path, encoder: Path) -> Pair:
    """A student that reads with a tokenizer of its own."""
    changes = {
        "teacher": {**teacher_in(encoder), "tries": 1},
        "tokenizer": {"name": "trained", "vocabulary_size": 300},
        "student": {"name": "recurrent", "architecture": {"embedding_size": 16, "hidden_size": 16}},
        "arms": ["linear", "hard", "soft"],
        "export": {"variants": ["fp32"]},
    }
    folder = tmp_path_factory.mktemp("of-trained-tokenizer")
    a, b = (run(config_of(reviews, folder / test, f"test {test}", **changes)) for test in "AB")
    return a, b


@pytest.fixture(scope="session")
def of_labels(tmp_path_factory: pytest.TempPathFactory, reviews_with_labels: Path) -> Pair:
    """Multi-label classification, whose thresholds are chosen on validation; every model is trained from nothing."""
    small = {"layers": 1, "hidden_size": 16, "heads": 2, "intermediate_size": 32}
    changes = {
        "task": {"name": "multi-label-classification"},
        "tokenizer": {"name": "trained", "vocabulary_size": 300},
        "teacher": {"name": "transformer", "architecture": small},
        "student": {"name": "transformer", "architecture": small},
        "arms": ["linear", "hard", "soft+transfer", "pseudo+transfer"],
        "export": {"variants": ["fp32"]},
    }
    folder = tmp_path_factory.mktemp("of-labels")
    a, b = (run(config_of(reviews_with_labels, folder / test, f"test {test}", **changes)) for test in "AB")
    return a, b


@pytest.fixture(scope="session", params=["of_layers", "of_trained_tokenizer", "of_labels"])
def both(request: pytest.FixtureRequest) -> Pair:
    """Each of the pairs of runs."""
    found: Pair = request.getfixturevalue(request.param)
    return found
