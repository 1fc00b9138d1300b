"""Students from chosen layers of a teacher, with a trimmed vocabulary, and from random weights."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    Data2VecTextForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    LongformerConfig,
    LongformerForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    MPNetConfig,
    MPNetForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from distill import tasks
from distill.config import Architecture, LayersStudent, RecurrentArchitecture, RecurrentStudent, TransformerStudent
from distill.errors import UserError
from distill.models import (
    EncoderConfig,
    EncoderForSequenceClassification,
    LoadedModel,
    RecurrentConfig,
    RecurrentForSequenceClassification,
    build_student,
    build_transformer,
    parameter_count,
)
from distill.models.students import chosen_layers, keep_vocabulary, layers_student, student_from_layers
from distill.text import Example, Reading, train_tokenizer, trim_vocabulary

LAYERS = 4
VOCABULARY = 60
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "num_hidden_layers": LAYERS,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 24,
    "num_labels": 3,
}
TASK = tasks.build("text-classification", ("a", "b", "c"))

SMALL = RecurrentStudent("recurrent", RecurrentArchitecture("lstm", 2, 16, 8, True))


def _shaken(model: nn.Module) -> Any:
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=random))
    return model.eval()


def bert() -> Any:
    return BertForSequenceClassification(BertConfig(**SIZES))


def bert_tagger() -> Any:
    return BertForTokenClassification(BertConfig(**SIZES))


def distilbert() -> Any:
    return DistilBertForSequenceClassification(
        DistilBertConfig(
            vocab_size=VOCABULARY,
            n_layers=LAYERS,
            dim=32,
            n_heads=4,
            hidden_dim=48,
            max_position_embeddings=24,
            num_labels=3,
        )
    )


def roberta() -> Any:
    return RobertaForSequenceClassification(RobertaConfig(**SIZES, pad_token_id=1))


def mpnet() -> Any:
    return MPNetForSequenceClassification(MPNetConfig(**SIZES, pad_token_id=1))


def modernbert() -> Any:
    ids = {f"{role}_token_id": i for i, role in enumerate(("pad", "bos", "eos", "cls", "sep"))}
    settings = ModernBertConfig(**SIZES, **ids, local_attention=6, attn_implementation="sdpa")
    return ModernBertForSequenceClassification(settings)


def in_repo() -> Any:
    return EncoderForSequenceClassification(EncoderConfig(**SIZES))


KINDS: list[Callable[[], Any]] = [bert, bert_tagger, distilbert, roberta, mpnet, modernbert, in_repo]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def teacher(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(0)
    return _shaken(request.param())


def _inputs(pad: int, low: int = 5) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    mask = (torch.arange(20)[None] < torch.tensor([20, 3, 12])[:, None]).long()
    ids = torch.randint(low, VOCABULARY, (3, 20), generator=random)
    return {"input_ids": ids.masked_fill(mask == 0, pad), "attention_mask": mask}


def _logits(model: Any, inputs: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(**inputs).logits
    return logits if logits.ndim == 2 else logits[inputs["attention_mask"].bool()]


def _stack(model: Any) -> tuple[Any, str]:
    """The module that holds the list of layers, and the list's name, written down by hand."""
    for path in ("bert.encoder.layer", "distilbert.transformer.layer", "roberta.encoder.layer", "mpnet.encoder.layer"):
        if hasattr(model, path.split(".")[0]):
            return model.get_submodule(path.rpartition(".")[0]), "layer"
    return (model.model, "layers") if hasattr(model, "model") else (model.encoder, "blocks")


def _without_other_layers(model: Any, layers: list[int]) -> None:
    """Removes layers from the teacher itself, in place."""
    owner, name = _stack(model)
    setattr(owner, name, nn.ModuleList(getattr(owner, name)[i] for i in layers))
    model.config.num_hidden_layers = len(layers)


def test_all_layers_give_the_teachers_logits(teacher: Any) -> None:
    student = student_from_layers(teacher, list(range(LAYERS))).eval()
    inputs = _inputs(teacher.config.pad_token_id)
    torch.testing.assert_close(_logits(student, inputs), _logits(teacher, inputs))


@pytest.mark.parametrize("layers", [[0], [0, 3], [0, 2, 3]])
def test_chosen_layers_give_the_logits_of_the_teacher_without_the_others(teacher: Any, layers: list[int]) -> None:
    whole = _logits(teacher, _inputs(teacher.config.pad_token_id))
    student = student_from_layers(teacher, layers).eval()
    assert student.config.num_hidden_layers == len(layers)
    assert teacher.config.num_hidden_layers == LAYERS
    inputs = _inputs(teacher.config.pad_token_id)
    torch.testing.assert_close(_logits(teacher, inputs), whole)  # the teacher is as it was
    _without_other_layers(teacher, layers)
    if isinstance(teacher, ModernBertForSequenceClassification):
        teacher.config.layer_types = [teacher.config.layer_types[i] for i in layers]
    expected = _logits(teacher, inputs)
    torch.testing.assert_close(_logits(student, inputs), expected)
    assert (expected - whole).abs().max() > 1e-3


def test_a_student_shares_no_memory_with_its_teacher() -> None:
    teacher = _shaken(bert())
    student = student_from_layers(teacher, [0, 1])
    before = _logits(teacher, _inputs(0))
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.zero_()
    torch.testing.assert_close(_logits(teacher, _inputs(0)), before)
    assert all(parameter.requires_grad for parameter in student.parameters())


def test_layers_that_do_not_fit_the_first_place_are_refused_in_words() -> None:
    """ModernBERT's first layer has no normalisation of its own."""
    with pytest.raises(UserError, match="try to include layer 0"):
        student_from_layers(_shaken(modernbert()), [1, 2])
    teacher = _shaken(modernbert())
    middle = layers_student(LayersStudent("layers", count=2, spread="middle"), teacher)
    first = layers_student(LayersStudent("layers", count=2), teacher)
    assert all(torch.equal(a, b) for a, b in zip(middle.parameters(), first.parameters(), strict=True))


def test_layers_keep_the_order_that_was_asked_for() -> None:
    teacher = _shaken(bert())
    student = student_from_layers(teacher, [3, 0]).eval()
    _without_other_layers(teacher, [3, 0])
    torch.testing.assert_close(_logits(student, _inputs(0)), _logits(teacher, _inputs(0)))


@pytest.mark.parametrize(
    ("layers", "count", "available", "expected"),
    [
        ((), 0, 6, [0, 2, 4]),
        ((), 0, 12, [0, 2, 4, 6, 8, 10]),
        ((), 2, 6, [0, 3]),
        ((), 3, 12, [0, 4, 8]),
        ((), 0, 1, [0]),
        ((), 4, 4, [0, 1, 2, 3]),
        ((), -1, 3, [0, 1, 2]),
        ((5, 0), 0, 6, [5, 0]),
        ((1,), 3, 6, [1]),
    ],
)
def test_layers_are_those_named_or_evenly_spaced(
    layers: tuple[int, ...], count: int, available: int, expected: list[int]
) -> None:
    assert chosen_layers(LayersStudent("layers", layers, count), available) == expected


@pytest.mark.parametrize(
    ("layers", "count", "available", "expected"),
    [
        ((), 0, 6, [1, 3, 5]),
        ((), 0, 12, [1, 3, 5, 7, 9, 11]),
        ((), 2, 6, [1, 4]),
        ((), 1, 6, [3]),
        ((), 3, 12, [2, 6, 10]),
        ((), 0, 1, [0]),
        ((), 4, 4, [0, 1, 2, 3]),
        ((), -1, 3, [0, 1, 2]),
        ((5, 0), 0, 6, [5, 0]),
    ],
)
def test_spread_over_the_middle_they_are_the_middle_of_each_group(
    layers: tuple[int, ...], count: int, available: int, expected: list[int]
) -> None:
    assert chosen_layers(LayersStudent("layers", layers, count, spread="middle"), available) == expected


@pytest.mark.parametrize("spread", ["first", "middle"])
@pytest.mark.parametrize("available", range(1, 25))
def test_any_count_up_to_the_teachers_gives_that_many_different_layers(
    available: int, spread: Literal["first", "middle"]
) -> None:
    for count in range(1, available + 1):
        layers = chosen_layers(LayersStudent("layers", (), count, spread=spread), available)
        assert len(set(layers)) == count
        assert layers == sorted(layers)
        assert layers[0] == 0 or spread == "middle"
        assert layers[-1] < available


@pytest.mark.parametrize(
    ("layers", "count"), [((0, 6), 0), ((-1,), 0), ((1, 1), 0), ((), 7), ((), 12), ((0, 1, 2, 3, 4, 5, 6), 0)]
)
def test_layers_that_the_teacher_does_not_have_are_refused(layers: tuple[int, ...], count: int) -> None:
    with pytest.raises(UserError, match="the teacher has 6 layers; give "):
        chosen_layers(LayersStudent("layers", layers, count), 6)


@pytest.mark.parametrize(
    "kind",
    [
        *(pytest.param(kind, id=kind.__name__) for kind in KINDS if kind is not in_repo),
        pytest.param(in_repo, id="in_repo"),
        pytest.param(
            lambda: RecurrentForSequenceClassification(RecurrentConfig("lstm", VOCABULARY, 32, 16, num_labels=3)),
            id="lstm",
        ),
    ],
)
def test_kept_rows_give_the_same_logits_on_renumbered_ids(kind: Callable[[], Any]) -> None:
    torch.manual_seed(0)
    model = _shaken(kind())
    kept = np.array([0, 1, 2, 3, 4, *range(11, 47, 2), 59])
    inputs = _inputs(model.config.pad_token_id)
    old = torch.from_numpy(kept)
    new = inputs["input_ids"] % len(kept)  # any ids of the small vocabulary; padding keeps its own
    new = torch.where(inputs["attention_mask"] == 1, new.clamp(min=5), inputs["input_ids"])
    expected = _logits(model, {**inputs, "input_ids": old[new]})
    keep_vocabulary(model, kept)
    torch.testing.assert_close(_logits(model, {**inputs, "input_ids": new}), expected)
    assert model.config.vocab_size == model.get_input_embeddings().num_embeddings == len(kept)


def test_ids_of_special_tokens_follow_in_the_configuration() -> None:
    settings = BertConfig(**SIZES, pad_token_id=7, bos_token_id=9, eos_token_id=30)
    model = BertForSequenceClassification(settings)
    keep_vocabulary(model, np.array([1, 7, 9, 20]))
    assert (model.config.pad_token_id, model.config.bos_token_id, model.config.eos_token_id) == (1, 2, None)
    assert model.get_input_embeddings().padding_idx == 1


def test_a_tokenizer_with_more_ids_than_the_teacher_has_rows_is_refused() -> None:
    with pytest.raises(UserError, match="the tokenizer has id 60, but the teacher only 60 word embeddings"):
        keep_vocabulary(bert(), np.array([0, 1, 60]))


@pytest.mark.parametrize(
    "kind",
    [RobertaForSequenceClassification, MPNetForSequenceClassification, Data2VecTextForSequenceClassification],
)
def test_positions_stay_where_they_were_when_the_padding_id_moves(kind: Any, tmp_path: Any) -> None:
    """RoBERTa and MPNet number positions from the padding id + 1: a moved padding id would shift them all."""
    torch.manual_seed(0)
    settings = kind.config_class(**{**SIZES, "max_position_embeddings": 40}, pad_token_id=5)
    model = _shaken(kind(settings))
    kept = np.array([2, 5, 6, 7, 8, 9, 10])  # the padding becomes id 1
    ids = torch.tensor([[2, 6, 9, 10, 8], [2, 7, 5, 5, 5]])
    mask = (ids != 5).long()
    expected = _logits(model, {"input_ids": ids, "attention_mask": mask})
    renumber = {int(old): new for new, old in enumerate(kept)}
    new = torch.tensor([[renumber[i] for i in row] for row in ids.tolist()])
    try:
        keep_vocabulary(model, kept)
    except UserError:
        return  # refusing is as good
    model.save_pretrained(tmp_path)
    again = kind.from_pretrained(tmp_path).eval()
    for one in (model, again):
        torch.testing.assert_close(_logits(one, {"input_ids": new, "attention_mask": mask}), expected)


TEXTS = ["the cat sat on the mat", "a dog sat on the log", "a gorgeous witty movie", "the dog and the movie"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer([Example(text) for text in TEXTS * 2], VOCABULARY)


def test_a_student_from_all_layers_with_a_trimmed_vocabulary_answers_as_its_teacher(tokenizer: Tokenizer) -> None:
    teacher = LoadedModel(_shaken(bert()), tokenizer, {"pad_token": "[PAD]"})
    read = Example("the cat and a movie")
    trimmed = trim_vocabulary(tokenizer, [read])
    assert len(trimmed.kept) < tokenizer.get_vocab_size()
    config = LayersStudent("layers", tuple(range(LAYERS)))
    student = build_student(config, teacher, trimmed.tokenizer, {"pad_token": "[PAD]"}, TASK, trimmed.kept, 16, 0)
    logits = []
    for loaded in (teacher, student):
        (encoded,) = Reading(loaded.tokenizer, 16).encode([read])
        logits.append(_logits(loaded.model.eval(), {"input_ids": torch.from_numpy(encoded.input_ids)[None]}))
    torch.testing.assert_close(logits[1], logits[0])
    assert student.special_tokens == {"pad_token": "[PAD]"}


def test_layers_of_a_teacher_that_is_no_model_are_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match="needs a teacher that is a model"):
        build_student(LayersStudent("layers"), None, tokenizer, {}, TASK, None, 16, 0)


@pytest.mark.parametrize("config", [TransformerStudent("transformer"), SMALL])
@pytest.mark.parametrize("name", ["text-classification", "token-classification"])
def test_a_student_from_random_weights_follows_from_its_seed(tokenizer: Tokenizer, config: Any, name: str) -> None:
    task = tasks.build(name, ("O", "B-x", "I-x"))
    states = [build_student(config, None, tokenizer, {}, task, None, 16, seed).model.state_dict() for seed in (3, 3, 4)]
    assert all(torch.equal(a, b) for a, b in zip(states[0].values(), states[1].values(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(states[0].values(), states[2].values(), strict=True))
    built = build_student(config, None, tokenizer, {}, task, None, 16, 3)
    settings = built.model.config
    assert settings.id2label == {0: "O", 1: "B-x", 2: "I-x"}
    assert settings.vocab_size == tokenizer.get_vocab_size()
    assert settings.pad_token_id == tokenizer.token_to_id("[PAD]")
    assert built.special_tokens["cls_token"] == "[CLS]"
    logits = built.model.eval()(input_ids=torch.tensor([[2, 5, 3]])).logits
    assert logits.shape == ((1, 3) if name == "text-classification" else (1, 3, 3))


def test_the_sizes_of_the_recipe_are_those_of_the_model(tokenizer: Tokenizer) -> None:
    architecture = Architecture(
        layers=3, hidden_size=24, heads=3, intermediate_size=40, norm="post", positions="learned", activation="relu"
    )
    built = build_transformer(architecture, tokenizer, {}, TASK, 16, 0)
    vocabulary, d, f = tokenizer.get_vocab_size(), 24, 40
    block = 4 * (d * d + d) + (d * f + f) + (f * d + d) + 2 * 2 * d
    assert parameter_count(built.model) == (vocabulary + 16 + 2) * d + 2 * d + 3 * block + 3 * (d + 1)
    with pytest.raises(UserError, match="hidden_size must be a multiple of heads"):
        build_transformer(dataclasses.replace(architecture, heads=5), tokenizer, {}, TASK, 16, 0)


def test_an_lstm_has_the_sizes_of_the_recipe(tokenizer: Tokenizer) -> None:
    built = build_student(SMALL, None, tokenizer, {}, TASK, None, 16, 0)
    directions = 2 * (4 * 8 * (16 + 8 + 2)) + 2 * (4 * 8 * (16 + 8 + 2))  # the second layer reads 2 x 8
    assert parameter_count(built.model) == tokenizer.get_vocab_size() * 16 + directions + 3 * 17


def _byte_pairs(texts: list[Example]) -> Tokenizer:
    return train_tokenizer(texts, 400, "bpe")


def _unigram(texts: list[Example]) -> Tokenizer:
    words = sorted({f"▁{word}" for text in texts for word in str(text.text).split()})
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return Tokenizer(models.Unigram([(piece, -1.0) for piece in [*special, "▁z", "a", *words]], unk_id=1))


@pytest.mark.parametrize("trim", [False, True])
def test_a_recurrent_student_reads_with_the_teachers_word_embeddings(trim: bool) -> None:
    texts = [Example("the cat sat on the mat"), Example("a dog sat")]
    tokenizer = train_tokenizer(texts * 3, VOCABULARY)
    teacher = LoadedModel(_shaken(BertForSequenceClassification(BertConfig(**SIZES))), tokenizer, {})
    config = RecurrentStudent("recurrent", RecurrentArchitecture("gru", 1, 16, 8), embeddings="teacher")
    trimmed = trim_vocabulary(tokenizer, texts[1:])
    kept = trimmed.kept if trim else None
    own = Reading(trimmed.tokenizer if trim else tokenizer, 16).tokenizer  # with a maximum length of its own
    student = build_student(config, teacher, own, {}, TASK, kept, 16, 0).model
    old = teacher.model.get_input_embeddings().weight
    assert student.config.embedding_size == 32
    rows = trimmed.kept if trim else np.arange(tokenizer.get_vocab_size())
    torch.testing.assert_close(student.get_input_embeddings().weight, old[torch.from_numpy(rows)])
    with pytest.raises(UserError, match="no model; choose random"):
        build_student(config, None, tokenizer, {}, TASK, None, 16, 0)


@pytest.mark.parametrize("make", [_byte_pairs, _unigram])
def test_word_embeddings_are_matched_by_piece_over_kinds_of_tokenizers(make: Callable[..., Tokenizer]) -> None:
    texts = [Example("the cat sat on the mat"), Example("a dog sat on the cat"), Example("the dog the dog the mat")]
    theirs = train_tokenizer(texts * 3, VOCABULARY)
    teacher = LoadedModel(_shaken(BertForSequenceClassification(BertConfig(**SIZES))), theirs, {})
    own = make([Example("dog of the sea"), *texts, Example("zebra zebra")] * 3)
    config = RecurrentStudent("recurrent", RecurrentArchitecture("gru", 1, 16, 8), embeddings="teacher")
    found = build_student(config, teacher, own, {}, TASK, None, 16, 0).model.get_input_embeddings().weight
    old = teacher.model.get_input_embeddings().weight

    def is_theirs(piece: str, other: str) -> bool:
        return torch.equal(found[own.token_to_id(piece)], old[theirs.token_to_id(other)])

    start = "Ġ" if own.token_to_id("Ġthe") is not None else "▁"
    shared = [word for word in ("the", "cat", "sat", "mat", "dog", "on") if own.token_to_id(start + word) is not None]
    assert len(shared) >= 4
    assert all(is_theirs(start + word, word) for word in shared if theirs.token_to_id(word) is not None)
    assert is_theirs("[PAD]", "[PAD]")
    assert is_theirs("[CLS]", "[CLS]")
    assert not any(torch.equal(found[own.token_to_id(start + "z")], row) for row in old)  # a word's first letter
    assert found.isfinite().all()


def test_lists_that_have_an_entry_for_each_layer_follow_the_chosen_layers() -> None:
    settings = LongformerConfig(**SIZES, attention_window=[4, 8, 4, 16], pad_token_id=1)
    teacher = _shaken(LongformerForSequenceClassification(settings))
    student = student_from_layers(teacher, [0, 3])
    assert student.config.attention_window == [4, 16]
    for own, old in zip(student.longformer.encoder.layer, (0, 3), strict=True):
        expected = teacher.longformer.encoder.layer[old].state_dict()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in own.state_dict().items())
