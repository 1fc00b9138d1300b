"""Checkpoints that transformers loads with a warning, or not at all: what they are is said, and none becomes a teacher
of random weights."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from little_world import write_bert
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BartConfig,
    BartForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    PreTrainedTokenizerFast,
    XLNetConfig,
    XLNetForSequenceClassification,
)

from distill import tasks
from distill.cli import main
from distill.config import PretrainedTeacher, Source
from distill.errors import UserError
from distill.models import Teacher, load_teacher
from distill.models.answers import check_finite, fault_of_padding, forward_of
from distill.models.longest import first_position, longest_input
from distill.runtime import ALONE, in_order, respond
from distill.text import Example, Reading, check_known

TEXTS = ["a dull film", "the story is witty , truly tender", "clumsy", "a moving drama and a lazy script in one scene"]
LABELS = ("fresh", "rotten")
TASK = tasks.build("text-classification", LABELS)
VECTORS = tasks.build("sentence-embedding", ())


def bert(folder: Path, labels: tuple[str, ...] | None = LABELS, **settings: Any) -> Path:
    return write_bert(folder, TEXTS, labels, initializer_range=0.2, **settings)


def teacher(folder: Path, task: Any = TASK, **settings: Any) -> Teacher:
    return load_teacher(PretrainedTeacher("pretrained", Source(path=str(folder)), **settings), task)


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def rename_weights(folder: Path, change: Any) -> None:
    """Gives each weight the name that ``change`` makes of its own; those of no name are gone."""
    weights = load_file(folder / "model.safetensors")
    save_file(
        {new: w for name, w in weights.items() if (new := change(name))}, folder / "model.safetensors", {"format": "pt"}
    )


def answers(found: Teacher, examples: list[Example], tokens: int = ALONE, task: Any = TASK) -> np.ndarray:
    """[N, C] of a loaded teacher, as the pipeline asks it."""
    reading = Reading(found.loaded.tokenizer, min(found.longest, 64), special_tokens=found.loaded.special_tokens)
    return np.concatenate(in_order(respond(forward_of(found.loaded.model), reading, task, examples, tokens)))


def of_transformers(folder: Path, *columns: list[str]) -> np.ndarray:
    """[N, C], each text by itself through transformers alone."""
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        return torch.cat(
            [model(**tokenizer(*row, return_tensors="pt")).logits for row in zip(*columns, strict=True)]
        ).numpy()


@pytest.mark.parametrize("left", [(), ("tokenizer_config.json",)])
def test_a_folder_without_a_tokenizer_says_so(tmp_path: Path, left: tuple[str, ...]) -> None:
    bert(tmp_path)
    for file in tmp_path.glob("tokenizer*"):
        if file.name not in left:
            file.unlink()
    with pytest.raises(UserError, match="holds no tokenizer"):
        teacher(tmp_path)


@pytest.mark.parametrize("unknown", ["[UNK]", None])
def test_a_tokenizer_that_does_not_know_the_texts_is_refused(unknown: str | None) -> None:
    words = {"[UNK]": 0, "a": 1, "film": 2}
    kind: Any = models.WordLevel(words, unk_token="[UNK]") if unknown else models.BPE({"x": 0}, [])
    tokenizer = Tokenizer(kind)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    reading = Reading(tokenizer, 8)
    with pytest.raises(UserError, match=r"the tokenizer of folder x does not know (75|100)% of the pieces"):
        check_known(reading, [Example("a blurry green tree"), Example(" ")], "folder x")
    if unknown:
        check_known(reading, [Example("a film a film", "a film"), Example("a tree film film film film")], "folder x")
    check_known(reading, [Example(""), Example(" ")], "folder x")


@pytest.mark.parametrize(("prefix", "pickled"), [("module.", False), ("_orig_mod.net.", False), ("module.", True)])
def test_a_prefix_of_a_wrapper_is_taken_off(
    tmp_path: Path, prefix: str, pickled: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = of_transformers(bert(tmp_path), TEXTS)
    rename_weights(tmp_path, lambda name: prefix + name)
    if pickled:
        torch.save(load_file(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
        (tmp_path / "model.safetensors").unlink()
    np.testing.assert_allclose(answers(teacher(tmp_path), list(map(Example, TEXTS))), expected, atol=1e-5)
    assert f"without the prefix '{prefix}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        (lambda name: None if name.startswith("classifier") else name, r"classifier\.bias, classifier\.weight;"),
        (
            lambda name: name.replace("encoder.layer.1.", "encoder.layer.9."),
            r"bert\.encoder\.layer\.1\..* 13 more, and has bert\.",
        ),
        (lambda name: name.replace("bert.", "sentence."), r"bert\.embeddings\.LayerNorm\.bias, .*, and has sentence\."),
    ],
)
def test_a_model_taken_as_it_is_has_all_of_its_weights(tmp_path: Path, change: Any, missing: str) -> None:
    bert(tmp_path)
    rename_weights(tmp_path, change)
    with pytest.raises(UserError, match=rf"lacks weights of BertForSequenceClassification: {missing}"):
        teacher(tmp_path)
    with (tmp_path / "data.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["text", "label"], ["a dull film", "rotten"]])
    assert main(["evaluate", str(tmp_path), "--data", str(tmp_path / "data.csv")]) == 2


def test_what_training_makes_anew_may_be_missing_and_nothing_else(tmp_path: Path) -> None:
    bert(tmp_path, None)
    rename_weights(tmp_path, lambda name: None if name.startswith("pooler") else name)
    assert not teacher(tmp_path).fine_tuned
    teacher(tmp_path, VECTORS)
    rename_weights(tmp_path, lambda name: None if name.startswith("encoder.layer.0.output") else name)
    for task in (TASK, VECTORS):
        with pytest.raises(UserError, match=r"lacks weights of Bert\w+: (bert\.)?encoder\.layer\.0\.output"):
            teacher(tmp_path, task)


def test_a_shape_that_is_not_the_configurations_is_named(tmp_path: Path) -> None:
    bert(tmp_path)
    edit(tmp_path / "config.json", id2label={"0": "fresh", "1": "none", "2": "rotten"})
    with pytest.raises(UserError, match=r"classifier\.weight \(in the file \[2, 32\], by config\.json \[3, 32\]\)"):
        teacher(tmp_path, tasks.build("text-classification", ("fresh", "none", "rotten")))


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_pointer_of_git_lfs_is_recognised(tmp_path: Path, name: str) -> None:
    bert(tmp_path)
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1b\nsize 4379\n")
    with pytest.raises(UserError, match=rf"{name} is a pointer of Git LFS.*git lfs pull"):
        teacher(tmp_path)


def test_whatever_fails_in_loading_is_an_error_of_the_checkpoint(tmp_path: Path) -> None:
    edit(bert(tmp_path / "new") / "tokenizer.json", pre_tokenizer={"type": "NotYetInvented"})
    with pytest.raises(UserError, match=r"no tokenizer can be loaded from .*newer version.*pip install -U tokenizers"):
        teacher(tmp_path / "new")
    bert(tmp_path / "cut")
    weights = (tmp_path / "cut" / "model.safetensors").read_bytes()
    (tmp_path / "cut" / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(UserError, match="no weights can be loaded from"):
        teacher(tmp_path / "cut")
    (bert(tmp_path / "half") / "config.json").write_text('{"model_type": ')
    with pytest.raises(UserError, match="no model can be loaded from"):
        teacher(tmp_path / "half")


def test_of_a_bundle_it_is_said_what_to_give_in_its_place(tmp_path: Path) -> None:
    bert(tmp_path / "small")
    (tmp_path / "small/bundle.json").write_text("{}")
    assert teacher(tmp_path / "small")  # its weights are there, too
    (tmp_path / "small/model.safetensors").unlink()
    with pytest.raises(UserError, match=r"no weights can be loaded from .*it is a bundle.* outputs/small/student$"):
        teacher(tmp_path / "small")


def test_a_tokenizer_with_more_ids_than_word_embeddings_is_refused(tmp_path: Path) -> None:
    bert(tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokenizer.add_tokens(["superb"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    rows = tokenizer.get_vocab_size() - 1
    with pytest.raises(UserError, match=rf"has {rows + 1} ids, but the model {rows} word embeddings"):
        teacher(tmp_path)


def test_an_encoder_decoder_is_refused_at_the_start(tmp_path: Path) -> None:
    bert(tmp_path)
    sizes = {
        f"{side}_{size}": 2 for side in ("encoder", "decoder") for size in ("layers", "attention_heads", "ffn_dim")
    }
    BartForSequenceClassification(BartConfig(vocab_size=20, d_model=8, **sizes)).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"is an encoder-decoder \(bart\); give an encoder"):
        teacher(tmp_path)


@pytest.mark.parametrize(("names", "expected"), [((0, 1), ("0", "1")), ((4, 2), ("4", "2"))])
def test_labels_that_are_numbers_are_their_digits(
    tmp_path: Path, names: tuple[int, ...], expected: tuple[str, ...]
) -> None:
    wanted = of_transformers(bert(tmp_path), TEXTS)
    edit(tmp_path / "config.json", id2label=dict(enumerate(names)), label2id={})
    found = teacher(tmp_path, tasks.build("text-classification", tuple(sorted(expected))))
    order = [expected.index(name) for name in sorted(expected)]
    np.testing.assert_allclose(answers(found, list(map(Example, TEXTS))), wanted[:, order], atol=1e-5)


@pytest.mark.parametrize("name", [None, True, ["a"], " "])
def test_what_cannot_be_a_name_is_no_label(tmp_path: Path, name: Any) -> None:
    edit(bert(tmp_path) / "config.json", id2label={"0": name, "1": "rotten"}, label2id={})
    with pytest.raises(UserError, match="config"):
        teacher(tmp_path)


def test_advice_names_the_setting_that_mends(tmp_path: Path) -> None:
    bert(tmp_path / "three", ("fresh", "neither", "rotten"))
    with pytest.raises(UserError, match=r"no text of the data has: neither; .* task\.labels=\[fresh,neither,rotten\]"):
        teacher(tmp_path / "three")
    edit(bert(tmp_path / "multi") / "config.json", problem_type="multi_label_classification")
    with pytest.raises(UserError, match="problem_type multi_label_classification; set task=multi_label_classification"):
        teacher(tmp_path / "multi", fine_tune="never")


def gpt2(folder: Path, pad: str | None) -> Path:
    """A decoder with a head, whose answer is read at the last token that is not the padding."""
    tokenizer = Tokenizer.from_file(str(bert(folder) / "tokenizer.json"))
    tokenizer.post_processor = None
    tokenizer.save(str(folder / "tokenizer.json"))
    for file in (folder / "tokenizer_config.json", folder / "special_tokens_map.json"):
        file.unlink(missing_ok=True)
    roles = {"unk_token": "[UNK]", "eos_token": "[SEP]", **({"pad_token": pad} if pad else {})}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **roles).save_pretrained(folder)
    torch.manual_seed(0)
    GPT2ForSequenceClassification(
        GPT2Config(
            vocab_size=tokenizer.get_vocab_size(),
            n_embd=32,
            n_layer=2,
            n_head=2,
            n_positions=64,
            initializer_range=0.2,
            pad_token_id=tokenizer.token_to_id(pad) if pad else None,
            bos_token_id=3,
            eos_token_id=3,
            id2label=dict(enumerate(LABELS)),
        )
    ).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("stated", ["[SEP]", "[MASK]"])
def test_texts_are_padded_with_the_id_that_the_model_looks_for(tmp_path: Path, stated: str) -> None:
    """``[PAD]`` is in the vocabulary too, and says nothing to this model."""
    expected = of_transformers(gpt2(tmp_path, "[SEP]"), TEXTS)
    edit(tmp_path / "tokenizer_config.json", pad_token=stated)  # the model's own counts, whatever the tokenizer says
    found = teacher(tmp_path)
    np.testing.assert_allclose(answers(found, list(map(Example, TEXTS)), 10_000), expected, atol=1e-5)
    assert found.loaded.special_tokens["pad_token"] == "[SEP]"


def test_a_model_that_does_not_bear_padding_is_found_out(tmp_path: Path) -> None:
    examples = list(map(Example, TEXTS))

    def fault(folder: Path) -> str:
        found = teacher(folder)
        reading = Reading(found.loaded.tokenizer, 32, special_tokens=found.loaded.special_tokens)
        return fault_of_padding(found.loaded.model, reading, TASK, reading.encode(examples))

    assert fault(bert(tmp_path / "bert")) == ""
    assert "does not answer several texts at once" in fault(gpt2(tmp_path / "no-padding", None))
    xlnet = bert(tmp_path / "xlnet")  # its answer is read at the last place, whatever stands there
    rows = Tokenizer.from_file(str(xlnet / "tokenizer.json")).get_vocab_size()
    settings = {"d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 64, "initializer_range": 0.2}
    XLNetForSequenceClassification(
        XLNetConfig(vocab_size=rows, id2label=dict(enumerate(LABELS)), **settings)
    ).save_pretrained(xlnet)
    assert "answers otherwise where a text is padded" in fault(xlnet)
    assert teacher(xlnet).longest == 64  # the tokenizer's; the model states -1, which is no limit
    assert longest_input(teacher(xlnet).loaded.model, rows) == 10**6


def test_weights_that_are_not_numbers_are_found_out(tmp_path: Path) -> None:
    found = teacher(bert(tmp_path))
    with torch.no_grad():
        found.loaded.model.bert.encoder.layer[0].output.dense.bias[3] = torch.nan
    reading = Reading(found.loaded.tokenizer, 32)
    with pytest.raises(UserError, match="answers with NaN or infinity: its weights are damaged"):
        fault_of_padding(found.loaded.model, reading, TASK, reading.encode([Example("a dull film")]))
    tagging = tasks.build("token-classification", ("O", "B-x"))
    words = reading.encode([Example(("film", "\u0000"))])  # a word without a piece has no answer by right
    assert words[0].word_starts[1] == -1
    check_finite([np.array([[0.0, 1.0], [np.nan, np.nan]])], words, tagging, "it")
    with pytest.raises(UserError, match="it answers with NaN"):
        check_finite([np.array([[np.nan, 1.0], [np.nan, np.nan]])], words, tagging, "it")


@pytest.mark.parametrize("inputs", [["input_ids", "attention_mask"], ["input_ids", "token_type_ids", "attention_mask"]])
def test_token_types_are_those_that_the_checkpoints_tokenizer_gives(tmp_path: Path, inputs: list[str]) -> None:
    edit(bert(tmp_path) / "tokenizer_config.json", model_input_names=inputs)
    seconds = TEXTS[::-1]
    expected = of_transformers(tmp_path, TEXTS, seconds)
    found = answers(teacher(tmp_path), [Example(*pair) for pair in zip(TEXTS, seconds, strict=True)])
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["Data2VecText", "RobertaPreLayerNorm", "IBert", "Esm", "Bert", "OPT"])
def test_the_longest_text_is_found_out_for_any_numbering_of_positions(tmp_path: Path, kind: str) -> None:
    import transformers

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    more: dict[str, Any] = {"Esm": {"mask_token_id": 3}, "OPT": {"ffn_dim": 16, "word_embed_proj_dim": 16}}.get(
        kind, {}
    )
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=30, max_position_embeddings=24, pad_token_id=2, **sizes, **more
    )
    model = getattr(transformers, f"{kind}ForSequenceClassification")(config).eval()
    longest = longest_input(model, 30)
    assert longest == (21 if first_position(model, 30) == 3 else 24)
    with torch.no_grad():
        model(input_ids=torch.full((1, longest), 5), attention_mask=torch.ones((1, longest), dtype=torch.long))
        with pytest.raises((IndexError, RuntimeError)):
            model(input_ids=torch.full((1, longest + 1), 5))


def sentence_folder(folder: Path, pooling: dict[str, Any], where: str = "1_Pooling", more: str = "Normalize") -> Path:
    """An encoder in the layout of sentence-transformers."""
    bert(folder, None)
    parts = [("", "Transformer"), (where, "Pooling"), (f"2_{more}", more)]
    modules = [{"idx": i, "path": p, "type": f"sentence_transformers.models.{k}"} for i, (p, k) in enumerate(parts)]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / where).mkdir()
    (folder / where / "config.json").write_text(json.dumps({"embedding_dimension": 32, **pooling}))
    return folder


POOLED = {
    "cls": lambda states: states[:, 0],
    "mean": lambda states: states.mean(1),
    "max": lambda states: states.max(1).values,
}


@pytest.mark.parametrize(
    ("pooling", "how"),
    [
        ({"pooling_mode": "cls", "include_prompt": True}, "cls"),
        ({"pooling_mode": "max"}, "max"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_mean_sqrt_len_tokens": True, "pooling_mode_mean_tokens": False}, "mean"),
    ],
)
@pytest.mark.parametrize("where", ["1_Pooling", "pool"])
def test_vectors_are_pooled_as_the_folder_says(tmp_path: Path, pooling: dict[str, Any], how: str, where: str) -> None:
    sentence_folder(tmp_path, pooling, where)
    encoder, tokenizer = AutoModel.from_pretrained(tmp_path).eval(), AutoTokenizer.from_pretrained(tmp_path)
    with torch.no_grad():
        states = [encoder(**tokenizer(text, return_tensors="pt")).last_hidden_state for text in TEXTS]
    expected = torch.nn.functional.normalize(torch.cat([POOLED[how](one) for one in states]), dim=-1)
    found = answers(teacher(tmp_path, VECTORS), list(map(Example, TEXTS)), 10_000, VECTORS)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("pooling", "more", "message"),
    [
        ({"pooling_mode": "lasttoken"}, "Normalize", r"by lasttoken \(1_Pooling/config\.json\)"),
        ({"pooling_mode_cls_token": True, "pooling_mode_max_tokens": True}, "Normalize", "by cls and max"),
        ({"pooling_mode": "mean"}, "Dense", r"sentence_transformers\.models\.Dense in '2_Dense'"),
    ],
)
def test_vectors_that_are_not_computed_here_are_refused(
    tmp_path: Path, pooling: dict[str, Any], more: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        teacher(sentence_folder(tmp_path, pooling, more=more), VECTORS)


def test_lower_case_length_and_prompt_of_a_sentence_folder(tmp_path: Path) -> None:
    sentence_folder(tmp_path, {"pooling_mode": "mean"})
    tokenizer = json.loads((tmp_path / "tokenizer.json").read_text())
    edit(tmp_path / "tokenizer.json", normalizer={**tokenizer["normalizer"], "lowercase": False})
    for lower in (False, True):
        settings = {"max_seq_length": 11, "do_lower_case": lower}
        (tmp_path / "sentence_bert_config.json").write_text(json.dumps(settings))
        found = teacher(tmp_path, VECTORS)
        assert found.longest == 11
        a, b = answers(found, [Example("A Dull Film"), Example("a dull film")], task=VECTORS)
        assert np.allclose(a, b, atol=1e-5) == lower
    prompts = {"prompts": {"query": "search: ", "none": ""}, "default_prompt_name": "none"}
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    teacher(tmp_path, VECTORS)
    edit(tmp_path / "config_sentence_transformers.json", default_prompt_name="query")
    with pytest.raises(UserError, match="puts 'search: ' before every text"):
        teacher(tmp_path, VECTORS)
