"""The weights that `benchmarks/attention.py` shows are those that the models compute with."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, DistilBertConfig, GPT2Config, PretrainedConfig

from distill.errors import UserError
from distill.models import LoadedModel, RecurrentConfig, save_model
from distill.models.attention import attention_weights, tokens_of
from distill.models.recurrent import RecurrentModel
from distill.models.transformer import EncoderConfig, EncoderModel
from distill.text import Example, Reading, train_tokenizer

ATTENTION = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "attention.py"))


def saved(model: torch.nn.Module, random_teacher: Path, folder: Path) -> Path:
    """With the teacher's tokenizer."""
    reading = Reading.from_file(random_teacher / "tokenizer.json", 32)
    save_model(LoadedModel(model, reading.tokenizer, {"pad_token": "[PAD]"}), folder, 32)
    return folder


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_weights_of_blocks_of_the_repository(norm: str, positions: str) -> None:
    torch.manual_seed(0)
    config = EncoderConfig(vocab_size=50, hidden_size=16, intermediate_size=32, norm=norm, positions=positions)
    model = EncoderModel(config).eval()
    ids_BL = torch.randint(1, 50, (2, 7))
    mask_BL = torch.tensor([[1] * 7, [1] * 4 + [0] * 3])
    inputs = {"input_ids": ids_BL, "attention_mask": mask_BL}
    weights = attention_weights(model, inputs)
    assert len(weights) == 2
    for layer, weights_BHLL in enumerate(weights):
        assert not weights_BHLL[1, :, :, 4:].any()
        torch.testing.assert_close(weights_BHLL.sum(-1), torch.ones(2, 2, 7))
        # the layer's attention does with these weights what it does by itself
        attention, seen = model.encoder.blocks[layer].attention, []
        handle = attention.output.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0]))
        values = []
        other = attention.value.register_forward_hook(lambda _, __, value, values=values: values.append(value))
        model(**inputs)
        handle.remove()
        other.remove()
        v_BHLK = values[0].unflatten(-1, (2, -1)).transpose(1, 2)
        torch.testing.assert_close(seen[0], (weights_BHLL @ v_BHLK).transpose(1, 2).flatten(2))


def test_a_checkpoint_and_layers_of_it_are_drawn_beside_each_other(random_teacher: Path, tmp_path: Path) -> None:
    teacher = ATTENTION["attention_of"](random_teacher, "a gorgeous movie")
    assert teacher.weights_NHLL.shape[0] == 2
    assert teacher.tokens[0] == "[CLS]"
    np.testing.assert_allclose(teacher.weights_NHLL.sum(-1), 1, atol=1e-5)
    model = AutoModel.from_pretrained(random_teacher)
    model.encoder.layer = model.encoder.layer[:1]
    model.config.num_hidden_layers = 1
    student = ATTENTION["attention_of"](saved(model, random_teacher, tmp_path / "student"), "a gorgeous movie")
    np.testing.assert_allclose(student.weights_NHLL[0], teacher.weights_NHLL[0], atol=1e-6)
    figure = ATTENTION["draw"]({"teacher": teacher, "student": student}, head=1)
    shown = [axis for axis in figure.axes if axis.images]
    assert [axis.get_title() for axis in shown] == ["teacher, layer 1", "teacher, layer 2", "student, layer 1"]
    np.testing.assert_array_equal(shown[1].images[0].get_array(), teacher.weights_NHLL[1, 1])


@pytest.mark.parametrize(
    "config",
    [
        DistilBertConfig(vocab_size=3000, dim=16, hidden_dim=32, n_layers=2, n_heads=2),
        GPT2Config(vocab_size=3000, n_embd=16, n_layer=2, n_head=2),
        EncoderConfig(vocab_size=3000, hidden_size=16, intermediate_size=32),
    ],
    ids=lambda config: config.model_type,
)
def test_models_that_know_no_token_types_and_models_of_the_repository(
    config: PretrainedConfig, random_teacher: Path, tmp_path: Path
) -> None:
    folder = saved(AutoModel.from_config(config), random_teacher, tmp_path / "model")
    found = ATTENTION["attention_of"](folder, "a gorgeous movie")
    assert found.weights_NHLL.shape[:2] == (2, 2)
    np.testing.assert_allclose(found.weights_NHLL.sum(-1), 1, atol=1e-5)


def test_a_model_without_attention_is_refused(random_teacher: Path, tmp_path: Path) -> None:
    model = RecurrentModel(RecurrentConfig(vocab_size=3000))
    with pytest.raises(UserError, match="no attention to look at"):
        ATTENTION["attention_of"](saved(model, random_teacher, tmp_path / "lstm"), "a movie")
    with pytest.raises(UserError, match=r"no tokenizer\.json"):
        ATTENTION["attention_of"](tmp_path, "a movie")


def test_tokens_are_shown_as_what_they_say() -> None:
    reading = Reading(train_tokenizer([Example("Ein kleines Mädchen klettert")] * 5, 300, "bpe"), 20)
    ids = reading.tokenizer.encode("Ein Mädchen ü").ids
    assert tokens_of(reading, ids) == ("[CLS]", "Ein", "Mädchen", "Ġ", "Ã", "¼", "[SEP]")
