"""Students of language models: layers of the teacher, a part of its vocabulary, models from random weights."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tiny_writers import OWN_SEQ2SEQ, SEQ2SEQ
from torch import nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MarianConfig,
    MarianMTModel,
    T5Config,
    T5ForConditionalGeneration,
)

from distill.config import Architecture, LayersStudent, RecurrentArchitecture
from distill.errors import UserError
from distill.models import build_recurrent, build_transformer
from distill.models.students import (
    chosen_decoder_layers,
    chosen_layers,
    keep_vocabulary,
    layers_student,
    student_from_layers,
)
from distill.tasks import build
from distill.text import Example, Reading, train_tokenizer

TASK = build("language-modelling", ())


def llama(tied: bool) -> Any:
    torch.manual_seed(0)
    sizes: Any = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 4}
    heads: Any = {"num_attention_heads": 4, "num_key_value_heads": 2, "bos_token_id": 1, "eos_token_id": 2}
    return LlamaForCausalLM(LlamaConfig(**sizes, **heads, tie_word_embeddings=tied)).eval()


def gpt2() -> Any:
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=16, n_layer=4, n_head=2, n_positions=32)).eval()


def in_repo(tied: bool) -> Any:
    from distill.models.transformer.decoder import DecoderConfig, DecoderForCausalLM

    torch.manual_seed(0)
    sizes: Any = {"vocab_size": 50, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
    return DecoderForCausalLM(DecoderConfig(**sizes, num_hidden_layers=4, tie_word_embeddings=tied)).eval()


def marian() -> Any:
    """With a buffer that is added to its logits."""
    torch.manual_seed(0)
    sizes: Any = {f"{part}_{what}": 2 for part in ("encoder", "decoder") for what in ("layers", "attention_heads")}
    sizes |= {"encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "pad_token_id": 0, "eos_token_id": 19}
    settings = MarianConfig(vocab_size=30, d_model=16, **sizes, decoder_start_token_id=17, forced_eos_token_id=19)
    model = MarianMTModel(settings).eval()
    model.final_logits_bias += torch.randn(1, 30)
    return model


def t5() -> Any:
    torch.manual_seed(0)
    ends: Any = {"pad_token_id": 0, "eos_token_id": 19, "decoder_start_token_id": 17}
    sizes: Any = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    return T5ForConditionalGeneration(T5Config(vocab_size=30, **sizes, **ends)).eval()


def encoder_decoder(name: str, encoder_layers: int, decoder_layers: int) -> Any:
    torch.manual_seed(0)
    if name == "encoder-decoder":
        settings, kind, sizes = OWN_SEQ2SEQ[name]
        counts = {"num_hidden_layers": encoder_layers, "num_decoder_layers": decoder_layers}
        return kind(settings(**{**sizes, **counts})).eval()
    keys = ("num_layers", "num_decoder_layers") if name == "T5" else ("encoder_layers", "decoder_layers")
    sizes = {key: value for key, value in SEQ2SEQ[name].items() if not key.endswith("_layers")}
    sizes |= dict(zip(keys, (encoder_layers, decoder_layers), strict=True))
    kind = transformers.MarianMTModel if name == "Marian" else getattr(transformers, f"{name}ForConditionalGeneration")
    return kind(getattr(transformers, f"{name}Config")(**sizes)).eval()


TEACHERS: dict[str, Callable[[], Any]] = {
    "llama, tied": lambda: llama(True),
    "llama": lambda: llama(False),
    "gpt2": gpt2,
    "in-repo, tied": lambda: in_repo(True),
    "in-repo": lambda: in_repo(False),
}


def logits(model: Any, ids: Any) -> Any:
    with torch.no_grad():
        return model(input_ids=torch.as_tensor(ids)).logits


@pytest.mark.parametrize("name", TEACHERS)
def test_a_part_of_the_vocabulary_gives_the_logits_of_its_pieces(name: str) -> None:
    teacher = TEACHERS[name]()
    kept = np.array([0, 1, 2, 7, 9, 30, 49])
    before = logits(teacher, [[1, 7, 30, 49]])[..., kept]
    student = student_from_layers(teacher, [0, 1, 2, 3]).eval()
    keep_vocabulary(student, kept)
    torch.testing.assert_close(logits(student, [[1, 3, 5, 6]]), before, rtol=1e-5, atol=1e-5)
    assert student.config.vocab_size == len(kept)
    assert teacher.get_input_embeddings().num_embeddings == 50


@pytest.mark.parametrize("make", [marian, t5])
def test_a_part_of_an_encoder_decoders_vocabulary_gives_the_logits_of_its_pieces(make: Any, tmp_path: Path) -> None:
    teacher, kept = make(), np.array([0, 1, 3, 7, 17, 19, 29])
    ids, begun = torch.tensor([[7, 29, 1]]), torch.tensor([[17, 3]])
    with torch.no_grad():
        expected = teacher(input_ids=ids, decoder_input_ids=begun).logits[..., kept]
    student = copy.deepcopy(teacher)
    keep_vocabulary(student, kept)
    student.save_pretrained(tmp_path)
    for one in (student, type(student).from_pretrained(tmp_path).eval()):
        with torch.no_grad():
            found = one(input_ids=torch.tensor([[3, 6, 1]]), decoder_input_ids=torch.tensor([[4, 2]])).logits
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        for settings in (one.config, one.generation_config):
            assert (settings.decoder_start_token_id, settings.eos_token_id) == (4, 5), type(settings)


def test_a_trimmed_student_stops_at_every_end_of_text_that_its_teacher_had() -> None:
    teacher = llama(False)
    teacher.config.eos_token_id = teacher.generation_config.eos_token_id = [18, 19, 20]
    student = student_from_layers(teacher, [0])
    keep_vocabulary(student, np.array([0, 1, 2, 18, 20]))
    assert student.config.eos_token_id == student.generation_config.eos_token_id == [3, 4]
    assert teacher.generation_config.eos_token_id == [18, 19, 20]


def test_what_a_teacher_must_not_write_its_trimmed_student_does_not_write_either() -> None:
    teacher = marian()
    teacher.generation_config.update(bad_words_ids=[[29], [7, 1], [2]], suppress_tokens=[3, 4], max_new_tokens=5)
    student = student_from_layers(teacher, [0, 1]).eval()
    keep_vocabulary(student, np.array([0, 1, 3, 7, 17, 19, 29]))
    settings = student.generation_config
    assert (settings.bad_words_ids, settings.suppress_tokens) == ([[6], [3, 1]], [2])
    written = student.generate(torch.tensor([[3, 6, 1]]), do_sample=True)
    assert not {2, 6} & set(written[0].tolist())


@pytest.mark.parametrize("name", TEACHERS)
def test_it_is_trained_saved_and_read_again(name: str, tmp_path: Any) -> None:
    student = student_from_layers(TEACHERS[name](), [0, 2]).eval()
    keep_vocabulary(student, np.arange(40))
    tied = student.config.tie_word_embeddings
    head = student.get_output_embeddings()
    if head is not None:
        assert (head.weight is student.get_input_embeddings().weight) == tied
    student(input_ids=torch.tensor([[1, 3, 5]])).logits.sum().backward()
    with torch.no_grad():
        for parameter in student.parameters():
            if parameter.grad is not None:
                parameter -= 0.01 * parameter.grad.clamp(-1, 1)
    expected = logits(student, [[1, 3, 5]])
    student.save_pretrained(tmp_path)
    again = type(student).from_pretrained(tmp_path).eval()
    torch.testing.assert_close(logits(again, [[1, 3, 5]]), expected)


def test_layers_without_others_are_those_of_the_teacher() -> None:
    teacher = llama(True)
    student = student_from_layers(teacher, [1, 3])
    for own, theirs in zip(student.model.layers, (teacher.model.layers[1], teacher.model.layers[3]), strict=True):
        for one, other in zip(own.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize(("name", "middle"), [("Bart", [[1], [1, 3]]), ("T5", [[0], [0, 2]])])
def test_layers_of_the_middle_are_taken_where_the_first_can_be_spared(name: str, middle: list[list[int]]) -> None:
    student, teacher = LayersStudent("layers", spread="middle"), encoder_decoder(name, 3, 4)
    settings = teacher.config
    found = [chosen_layers(student, 3, settings.model_type), chosen_decoder_layers(student, settings)]
    assert found == middle
    layers_student(student, teacher)


@pytest.mark.parametrize("name", ["Bart", "Marian", "T5", "encoder-decoder"])
@pytest.mark.parametrize(
    ("student", "encoder", "decoder"),
    [
        (LayersStudent("layers"), [0], [0, 2]),
        (LayersStudent("layers", count=-1, decoder_count=1), [0, 1, 2], [0]),
        (LayersStudent("layers", layers=(0, 2), decoder_layers=(0, 3, 1)), [0, 2], [0, 3, 1]),
        (LayersStudent("layers", count=-1, decoder_count=-1), [0, 1, 2], [0, 1, 2, 3]),
    ],
)
def test_layers_of_an_encoder_and_of_a_decoder_are_those_of_the_teacher_without_the_others(
    student: LayersStudent, encoder: list[int], decoder: list[int], name: str, tmp_path: Path
) -> None:
    teacher = encoder_decoder(name, 3, 4)
    made = layers_student(student, teacher).eval()
    made.save_pretrained(tmp_path)
    again = type(made).from_pretrained(tmp_path).eval()
    for part, chosen in ((teacher.get_encoder(), encoder), (teacher.get_decoder(), decoder)):
        lists = [name for name, module in part.named_modules() if isinstance(module, nn.ModuleList)]
        every = list(part.get_submodule(lists[0]))
        part.set_submodule(lists[0], nn.ModuleList([every[i] for i in chosen]))
    asked: Any = {"input_ids": torch.tensor([[7, 29, 1]]), "decoder_input_ids": torch.tensor([[0, 3, 8]])}
    with torch.no_grad():
        for one in (made, again):
            torch.testing.assert_close(
                one(**asked).logits, teacher(**asked, use_cache=False).logits, rtol=1e-5, atol=1e-5
            )
    written = [one.generate(torch.tensor([[7, 29, 1]]), max_new_tokens=6, use_cache=True) for one in (made, again)]
    assert torch.equal(*written)


@pytest.mark.parametrize(
    ("student", "message"),
    [
        (
            LayersStudent("layers", decoder_count=5),
            "student.decoder_count is 5, but the teacher's decoder has 4 layers",
        ),
        (LayersStudent("layers", decoder_layers=(1, 4)), r"student.decoder_layers is \[1, 4\], but the teacher's"),
        (
            LayersStudent("layers", decoder_layers=(1,)),
            r"\[0\] and decoder_layers \[1\] of T5.* \(try to include layer 0",
        ),
    ],
)
def test_layers_that_a_decoder_does_not_have_or_cannot_spare_are_refused(student: LayersStudent, message: str) -> None:
    with pytest.raises(UserError, match=message):
        layers_student(student, encoder_decoder("T5", 3, 4))


TOKENIZER = train_tokenizer([Example("the cat sat on the mat")] * 5, 300, "bpe")


def test_sizes_and_ends_of_models_from_random_weights() -> None:
    reading = Reading(TOKENIZER, 16)
    transformer = build_transformer(Architecture(layers=3), TOKENIZER, {}, TASK, 16, 0).model
    assert transformer.config.num_hidden_layers == 3
    recurrent = build_recurrent(RecurrentArchitecture(layers=2, hidden_size=64), TOKENIZER, {}, TASK, 16, 0).model
    assert recurrent.lm_head is not None  # its words have another size than its states
    same = build_recurrent(RecurrentArchitecture(embedding_size=64, hidden_size=64), TOKENIZER, {}, TASK, 16, 0).model
    assert same.lm_head is None
    for model in (transformer, recurrent, same):
        assert model.config.eos_token_id == model.config.bos_token_id == reading.boundary
        assert model.config.vocab_size == reading.vocabulary_size


@pytest.mark.parametrize("name", ["language-modelling", "text-to-text", "text-classification"])
def test_first_weights_spread_as_the_recipe_says(name: str) -> None:
    task = build(name, ("no", "yes") if name == "text-classification" else ())
    wide = build_transformer(Architecture(initializer_range=0.08), TOKENIZER, {}, task, 16, 0).model
    matrices = torch.cat([p.detach().flatten() for p in wide.parameters() if p.dim() == 2])
    assert float(matrices.std()) == pytest.approx(0.08, rel=0.02)
