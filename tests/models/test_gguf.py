"""Teachers from GGUF files, llama.cpp's format: the weights and the tokenizer that went in come out."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from tiny_gguf import END, MODELS, tiny_model, tokenizer_of, vocabulary_of, write_gguf

from distill import tasks
from distill.config import PretrainedTeacher, Source
from distill.errors import UserError
from distill.models import load_model, load_teacher, save_model
from distill.text import Reading

TEXTS = ["the cast is witty .", "the story is dull .", "the film is tender and the cast is dull ."]
TASK = tasks.build("language-modelling", ())


def teacher_of(file: Path) -> Any:
    return load_teacher(PretrainedTeacher("pretrained", Source(path=str(file))), TASK)


def logits(model: Any, ids: Any) -> Any:
    with torch.no_grad():
        return model(input_ids=torch.as_tensor(ids)).logits


@pytest.mark.parametrize("architecture", MODELS)
@pytest.mark.parametrize("kind", ["F32", "Q8_0"])
def test_the_models_weights_and_tokenizer_come_out_of_the_file(
    architecture: str, kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tokens, merges = vocabulary_of(TEXTS)
    model = tiny_model(architecture, len(tokens))
    file = write_gguf(tmp_path / "tiny.gguf", model, tokens, merges, kind)
    if kind != "F32":  # what the file keeps of the matrices
        quantized = gguf.GGMLQuantizationType[kind]
        for weight in model.state_dict().values():
            if weight.ndim == 2:
                kept = gguf.dequantize(gguf.quantize(weight.numpy(), quantized), quantized)
                weight.copy_(torch.from_numpy(np.array(kept)))
    teacher = teacher_of(file)
    assert teacher.fine_tuned
    expected = tokenizer_of(tokens, merges)
    reading = Reading(teacher.loaded.tokenizer, 32, special_tokens=teacher.loaded.special_tokens)
    assert reading.boundary == tokens.index(END)
    for text in TEXTS:
        ids = [reading.boundary, *expected.encode(text).ids]
        assert reading.prompt(text).tolist() == ids
        assert reading.tokenizer.decode(ids[1:]) == text
        np.testing.assert_allclose(logits(teacher.loaded.model, [ids]), logits(model, [ids]), atol=1e-5)
    save_model(teacher.loaded, tmp_path / "model", 32)
    again = load_model(tmp_path / "model", TASK)
    assert torch.equal(logits(again.model, [ids]), logits(teacher.loaded.model, [ids]))
    assert capfd.readouterr().err == ""


def test_a_file_that_cannot_be_read_is_told_by_its_name(tmp_path: Path) -> None:
    tokens, merges = vocabulary_of(TEXTS)
    file = write_gguf(tmp_path / "tiny.gguf", tiny_model("llama", len(tokens)), tokens, merges)
    whole = file.read_bytes()
    for share in (0.0, 0.01, 0.05, 0.5, 0.99):
        file.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(
            UserError, match=rf"tiny\.gguf: .*; give a whole file \(this one has {file.stat().st_size:,} bytes"
        ):
            teacher_of(file)
    file.write_bytes(whole.replace(b"llama", b"lhasa"))
    with pytest.raises(UserError, match=r"no model can be loaded from .*tiny\.gguf: .*architecture lhasa"):
        teacher_of(file)
