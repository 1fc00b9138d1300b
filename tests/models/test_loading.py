"""Teachers whose labels are matched by name, and folders that transformers loads."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from tokenizers import Tokenizer
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
    pipeline,
)

from distill import tasks
from distill.config import LayersStudent, PretrainedTeacher, RecurrentStudent, Source, TransformerStudent
from distill.errors import UserError
from distill.models import LoadedModel, build_student, load_model, load_teacher, save_model
from distill.models.checkpoints import Checkpoint
from distill.models.teachers import quoted
from distill.text import Example, Reading, pad, train_tokenizer

TEXTS = ["the cat sat on the mat", "a dog sat on the log", "a gorgeous witty movie", "the dog and the movie"]
LABELS = ("bad", "fine", "good")
TASK = tasks.build("text-classification", LABELS)
ROLES = {f"{r}_token": f"[{r.upper()}]" for r in ("pad", "unk", "cls", "sep", "mask")}
INPUTS = ("input_ids", "token_type_ids", "attention_mask")
SIZES: dict[str, Any] = {
    "num_hidden_layers": 2,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 24,
}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer([Example(text) for text in TEXTS * 2], 80)


def _save(folder: Path, tokenizer: Tokenizer, names: tuple[str, ...] | None, kind: str = "bert") -> Any:
    """A checkpoint written by plain transformers code."""
    torch.manual_seed(0)
    settings: dict[str, Any] = {"vocab_size": tokenizer.get_vocab_size(), "num_labels": 3}
    if names is not None:
        settings |= {"id2label": dict(enumerate(names)), "label2id": {n: i for i, n in enumerate(names)}}
    model: Any
    if kind == "bert":
        model = BertForSequenceClassification(BertConfig(**SIZES, **settings))
    elif kind == "roberta":
        model = RobertaForSequenceClassification(RobertaConfig(**SIZES, **settings, pad_token_id=0))
    elif kind == "distilbert":
        model = DistilBertForSequenceClassification(
            DistilBertConfig(dim=32, n_layers=2, n_heads=4, hidden_dim=48, max_position_embeddings=24, **settings)
        )
    else:
        model = BertModel(BertConfig(**SIZES, **settings))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
        for module in ("classifier", "classifier.out_proj"):
            bias = getattr(dict(model.named_modules()).get(module), "bias", None)
            if bias is not None and len(bias) == 3:
                bias.copy_(torch.tensor([0.5, -0.25, 1.0]))
    model.save_pretrained(folder)
    _save_tokenizer(folder, tokenizer)
    return model.eval()


def _save_tokenizer(folder: Path, tokenizer: Tokenizer, inputs: Sequence[str] = INPUTS, **settings: Any) -> None:
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=20, model_input_names=list(inputs), **{**ROLES, **settings}
    )
    made.save_pretrained(folder)


def _ask(model: Any, tokenizer: Tokenizer) -> Tensor:
    ids = [torch.from_numpy(e.input_ids)[None] for e in Reading(tokenizer, 20).encode([Example(t) for t in TEXTS])]
    with torch.no_grad():
        return torch.cat([model(input_ids=i).logits for i in ids])


def _teacher(folder: Path, **settings: Any) -> PretrainedTeacher:
    return PretrainedTeacher("pretrained", Source(path=str(folder)), **settings)


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert"])
@pytest.mark.parametrize("names", [LABELS, ("good", "bad", "fine"), ("fine", "good", "bad"), ("good", "fine", "bad")])
def test_logits_stand_in_the_order_of_the_datas_labels_whatever_the_checkpoints(
    tokenizer: Tokenizer, tmp_path: Path, kind: str, names: tuple[str, ...]
) -> None:
    original = _ask(_save(tmp_path, tokenizer, names, kind), tokenizer)
    teacher = load_teacher(_teacher(tmp_path), TASK)
    found = _ask(teacher.loaded.model, tokenizer)
    for label in LABELS:
        torch.testing.assert_close(found[:, LABELS.index(label)], original[:, names.index(label)])
    assert teacher.fine_tuned
    assert not teacher.loaded.model.training
    assert teacher.loaded.model.config.id2label == dict(enumerate(LABELS))
    assert teacher.loaded.model.config.label2id == {label: i for i, label in enumerate(LABELS)}


def test_a_map_names_the_checkpoints_labels(tokenizer: Tokenizer, tmp_path: Path) -> None:
    original = _ask(_save(tmp_path, tokenizer, None), tokenizer)
    names = {"LABEL_0": "good", "LABEL_1": "bad", "LABEL_2": "fine"}
    found = _ask(load_teacher(_teacher(tmp_path, label_map=names), TASK).loaded.model, tokenizer)
    for i, label in enumerate(names.values()):
        torch.testing.assert_close(found[:, LABELS.index(label)], original[:, i])


def test_labels_without_a_name_need_a_map(tokenizer: Tokenizer, tmp_path: Path) -> None:
    _save(tmp_path, tokenizer, None)
    with pytest.raises(UserError, match=r"LABEL_0, LABEL_1, LABEL_2: nothing says which is which.*teacher\.label_map"):
        load_teacher(_teacher(tmp_path), TASK)
    with pytest.raises(UserError, match="LABEL_2: nothing says"):
        load_teacher(_teacher(tmp_path, label_map={"LABEL_0": "bad", "LABEL_1": "good"}), TASK)


@pytest.mark.parametrize("names", [("bad", "fine", "great"), ("bad", "fine", "Good"), ("bad", "bad", "good")])
def test_labels_that_differ_from_the_datas_are_shown_side_by_side(
    tokenizer: Tokenizer, tmp_path: Path, names: tuple[str, ...]
) -> None:
    _save(tmp_path, tokenizer, names)
    with pytest.raises(UserError, match=rf"differ from the data's: {', '.join(names)} against bad, fine, good"):
        load_teacher(_teacher(tmp_path), TASK)


def test_a_map_of_a_label_that_is_none_names_the_nearest(tokenizer: Tokenizer, tmp_path: Path) -> None:
    _save(tmp_path, tokenizer, ("bad", "fine", "great"))
    with pytest.raises(UserError, match=r"'grate', which is no label of .*did you mean 'great'\?"):
        load_teacher(_teacher(tmp_path, label_map={"grate": "good"}), TASK)


def test_a_checkpoint_without_a_head_is_to_be_fine_tuned_with_the_tasks_labels(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    bare = _save(tmp_path, tokenizer, None, "bare")
    teacher = load_teacher(_teacher(tmp_path), TASK)
    assert not teacher.fine_tuned
    assert teacher.loaded.model.config.id2label == dict(enumerate(LABELS))
    torch.testing.assert_close(
        teacher.loaded.model.bert.embeddings.word_embeddings.weight, bare.embeddings.word_embeddings.weight
    )
    with pytest.raises(UserError, match="has no head for text-classification"):
        load_teacher(_teacher(tmp_path, fine_tune="never"), TASK)


def test_a_head_of_other_labels_can_be_trained_anew(tokenizer: Tokenizer, tmp_path: Path) -> None:
    _save(tmp_path, tokenizer, None)
    two = tasks.build("text-classification", ("no", "yes"))
    teacher = load_teacher(_teacher(tmp_path, fine_tune="always"), two)
    assert not teacher.fine_tuned
    assert _ask(teacher.loaded.model, tokenizer).shape == (4, 2)


def test_a_head_of_another_task_is_no_head(tokenizer: Tokenizer, tmp_path: Path) -> None:
    _save(tmp_path, tokenizer, LABELS)
    tagging = tasks.build("token-classification", ("O", "B-x"))
    teacher = load_teacher(_teacher(tmp_path), tagging)
    assert not teacher.fine_tuned
    assert type(teacher.loaded.model).__name__ == "BertForTokenClassification"


def test_weights_of_half_precision_are_read_in_float32(tokenizer: Tokenizer, tmp_path: Path) -> None:
    _save(tmp_path, tokenizer, LABELS).half().save_pretrained(tmp_path)
    teacher = load_teacher(_teacher(tmp_path), TASK)
    assert {p.dtype for p in teacher.loaded.model.parameters()} == {torch.float32}


@pytest.mark.parametrize(("kind", "longest"), [("bert", 20), ("roberta", 20)])
def test_the_longest_input_is_what_tokenizer_and_positions_allow(
    tokenizer: Tokenizer, tmp_path: Path, kind: str, longest: int
) -> None:
    model = _save(tmp_path, tokenizer, LABELS, kind)
    assert load_teacher(_teacher(tmp_path), TASK).longest == longest
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **ROLES).save_pretrained(tmp_path)  # states no length
    found = load_teacher(_teacher(tmp_path), TASK).longest
    ids = torch.full((1, found), 5)
    with torch.no_grad():
        model(input_ids=ids)
        with pytest.raises((IndexError, RuntimeError)):
            model(input_ids=torch.full((1, found + 1), 5))


def test_a_folder_without_a_model_or_a_tokenizer_says_so(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        load_teacher(_teacher(tmp_path / "nowhere"), TASK)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty"):
        load_teacher(_teacher(tmp_path / "empty"), TASK)
    _save(tmp_path / "cut", tokenizer, LABELS)
    (tmp_path / "cut" / "model.safetensors").unlink()
    with pytest.raises(UserError, match="no weights can be loaded"):
        load_teacher(_teacher(tmp_path / "cut"), TASK)


STUDENTS: list[Any] = [LayersStudent("layers", (0,)), TransformerStudent("transformer"), RecurrentStudent("recurrent")]


@pytest.mark.parametrize("config", STUDENTS, ids=lambda config: config.name)
def test_a_saved_student_reads_back_and_drops_into_transformers_pipeline(
    tokenizer: Tokenizer, tmp_path: Path, config: Any
) -> None:
    _save(tmp_path / "teacher", tokenizer, LABELS)
    teacher = load_teacher(_teacher(tmp_path / "teacher"), TASK).loaded
    padded = Tokenizer.from_str(tokenizer.to_str())
    padded.enable_padding(length=128)
    student = build_student(config, teacher, padded, ROLES, TASK, None, 20, 0)
    student.model.eval()
    save_model(student, tmp_path / "student", 20)
    expected = _ask(student.model, tokenizer)
    again = load_model(tmp_path / "student", TASK)
    torch.testing.assert_close(_ask(again.model, tokenizer), expected)
    assert not again.model.training
    assert again.special_tokens == ROLES
    assert again.tokenizer.padding is None
    assert again.tokenizer.truncation is None
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "student").eval()
    torch.testing.assert_close(_ask(model, tokenizer), expected)
    ask = pipeline("text-classification", model=str(tmp_path / "student"), top_k=None, device="cpu")
    for text, row in zip(TEXTS, expected.softmax(-1), strict=True):
        found = {answer["label"]: answer["score"] for answer in ask([text])[0]}
        assert found == pytest.approx(dict(zip(LABELS, row.tolist(), strict=True)), abs=1e-5)
    assert not list(tmp_path.glob(".*"))


def test_a_saved_tagger_reads_back(tokenizer: Tokenizer, tmp_path: Path) -> None:
    task = tasks.build("token-classification", ("O", "B-x"))
    student = build_student(RecurrentStudent("recurrent"), None, tokenizer, {}, task, None, 20, 0)
    save_model(student, tmp_path / "student", 20)
    again = load_model(tmp_path / "student", task)
    torch.testing.assert_close(_ask_words(again.model), _ask_words(student.model.eval()))


def _ask_words(model: Any) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(input_ids=torch.tensor([[2, 6, 7, 3]])).logits
    return logits


def test_saving_again_replaces_the_folder(tokenizer: Tokenizer, tmp_path: Path) -> None:
    student = build_student(RecurrentStudent("recurrent"), None, tokenizer, {}, TASK, None, 20, 0)
    save_model(student, tmp_path / "student", 20)
    (tmp_path / "student" / "leftover").write_text("")
    save_model(student, tmp_path / "student", 20)
    assert not (tmp_path / "student" / "leftover").exists()


@pytest.mark.parametrize("config", STUDENTS, ids=lambda config: config.name)
def test_the_saved_tokenizer_gives_transformers_the_same_ids(tokenizer: Tokenizer, tmp_path: Path, config: Any) -> None:
    _save(tmp_path / "teacher", tokenizer, LABELS)
    teacher = load_teacher(_teacher(tmp_path / "teacher"), TASK).loaded
    save_model(build_student(config, teacher, tokenizer, ROLES, TASK, None, 20, 0), tmp_path / "student", 20)
    theirs = AutoTokenizer.from_pretrained(tmp_path / "student")
    assert theirs.model_max_length == 20
    assert theirs.cls_token == "[CLS]"
    found = Checkpoint(str(tmp_path / "student")).tokenizer()
    assert (found.special_tokens, found.longest) == (ROLES, 20)
    for text in [*TEXTS, "", "the unknown xyz " * 20]:
        expected = Reading(tokenizer, 20).encode([Example(text)])[0].input_ids.tolist()
        assert theirs(text, truncation=True)["input_ids"] == expected
        assert Reading(found.tokenizer, 20).encode([Example(text)])[0].input_ids.tolist() == expected


@pytest.mark.parametrize("config", STUDENTS, ids=lambda config: config.name)
def test_a_saved_student_answers_pairs_in_transformers_as_it_does_here(
    tokenizer: Tokenizer, tmp_path: Path, config: Any
) -> None:
    _save(tmp_path / "teacher", tokenizer, LABELS)
    teacher = load_teacher(_teacher(tmp_path / "teacher"), TASK).loaded
    student = build_student(config, teacher, tokenizer, ROLES, TASK, None, 20, 0, paired=True)
    with torch.no_grad():
        for parameter in student.model.parameters():
            parameter.mul_(3)  # answers far from each other
    save_model(student, tmp_path / "student", 20)
    theirs = AutoTokenizer.from_pretrained(tmp_path / "student")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "student").eval()
    first, second = TEXTS[:2]
    encoded = Reading(tokenizer, 20).encode([Example(first, second), Example(second, first)])
    inputs = {name: torch.from_numpy(array) for name, array in pad(encoded, 0).items()}
    with torch.no_grad():
        expected = student.model.eval()(**inputs).logits
        found = model(**theirs([first, second], [second, first], padding=True, return_tensors="pt")).logits
    torch.testing.assert_close(found, expected)
    inputs["token_type_ids"] = torch.zeros_like(inputs["token_type_ids"])
    with torch.no_grad():
        assert (student.model(**inputs).logits - expected).abs().max() > 1e-3


def test_special_tokens_that_the_tokenizer_lacks_are_not_stated(tokenizer: Tokenizer, tmp_path: Path) -> None:
    student = build_student(RecurrentStudent("recurrent"), None, tokenizer, {}, TASK, None, 20, 0)
    roles = {**ROLES, "bos_token": "<s>"}
    save_model(LoadedModel(student.model, tokenizer, roles), tmp_path / "student", 20)
    assert load_model(tmp_path / "student", TASK).special_tokens == ROLES
    assert AutoTokenizer.from_pretrained(tmp_path / "student").bos_token is None


@pytest.mark.parametrize(
    "label", ["fresh", "Ort – Lage", "description, or definition", "thing [entity]", 'a "b"', "it's"]
)
def test_labels_in_a_message_can_be_given_as_they_stand(label: str) -> None:
    (override,) = OverridesParser.create().parse_overrides([f"task.labels=[x,{quoted(label)}]"])
    assert override.value()[1] == label
