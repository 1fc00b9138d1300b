"""The folder of an embedding student is one that sentence-transformers loads."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from task_worlds import write_world
from transformers import BertModel, DistilBertModel
from workplace import Workplace

from distill import load
from distill.export.sentence_transformers import write_layout
from distill.models.loading import settings_in, vector_size


@pytest.mark.parametrize("how", ["mean", "cls", "max"])
def test_the_layout_names_pooling_and_normalisation(tmp_path: Path, how: str) -> None:
    write_layout(tmp_path, 384, 64, how)
    modules = json.loads((tmp_path / "modules.json").read_text())
    assert [m["type"].rsplit(".", 1)[1] for m in modules] == ["Transformer", "Pooling", "Normalize"]
    assert all((tmp_path / m["path"]).is_dir() for m in modules)
    pooling = json.loads((tmp_path / "1_Pooling/config.json").read_text())
    assert pooling["word_embedding_dimension"] == 384
    on = [name for name, value in pooling.items() if value is True]
    assert on == [f"pooling_mode_{how}_token{'' if how == 'cls' else 's'}"]
    assert json.loads((tmp_path / "sentence_bert_config.json").read_text())["max_seq_length"] == 64


@pytest.mark.parametrize("model", [DistilBertModel, BertModel])
def test_the_size_of_vectors_is_read_of_any_configuration(tmp_path: Path, model: Any) -> None:
    sizes = {"dim": 24, "n_layers": 1, "n_heads": 2} if model is DistilBertModel else {"hidden_size": 24}
    model(model.config_class(vocab_size=9, num_hidden_layers=1, num_attention_heads=2, **sizes)).save_pretrained(
        tmp_path
    )
    assert vector_size(settings_in(tmp_path)) == 24


def test_a_static_student_states_the_size_of_the_vectors_that_its_bundle_gives(
    tmp_path: Path, random_teacher: Path
) -> None:
    world = write_world(tmp_path, "sentence-embedding")
    small = ["seeds=[0]", "arms=[linear,soft]", "train.steps=4", "measure.enabled=false", "threads=1", "name=small"]
    teacher = ["teacher=folder", f"teacher.source.path={random_teacher}", "student=static", "teacher_floor=false"]
    place = Workplace(tmp_path, ["task=sentence_embedding", *world, *teacher, *small])
    assert place.run("student.architecture.embedding_size=12", recipe="embeddings") == 0, place.err
    (vector,) = load(tmp_path / "exports/small", "fp32")(["a gorgeous film"])[0].as_dict()["vectors"]
    pooling = json.loads((tmp_path / "outputs/small/student/1_Pooling/config.json").read_text())
    assert pooling["word_embedding_dimension"] == len(vector) == 12


def test_a_student_gives_the_bundles_vectors_there(tmp_path: Path, overlay: list[str], random_teacher: Path) -> None:
    sentence_transformers = pytest.importorskip(
        "sentence_transformers", reason="sentence-transformers is not installed"
    )
    world = write_world(tmp_path, "sentence-embedding")
    small = ["seeds=[0]", "arms=[linear,soft]", "train.steps=4", "measure.seconds=0.02", "threads=1", "name=small"]
    teacher = ["teacher=folder", f"teacher.source.path={random_teacher}", "student.count=1", "teacher_floor=false"]
    place = Workplace(tmp_path, ["task=sentence_embedding", *world, *teacher, *small])
    assert place.run(recipe="embeddings") == 0, place.err
    texts = ["a gorgeous film", "the dull cast is dull", "x"]
    found = sentence_transformers.SentenceTransformer(str(tmp_path / "outputs/small/student"), device="cpu").encode(
        texts
    )
    expected = [a.as_dict()["vectors"][0] for a in load(tmp_path / "exports/small", "fp32")(texts)]
    np.testing.assert_allclose(found, expected, atol=1e-5)
