"""Families of encoders and decoders, random and tiny: what is asked of a teacher is what transformers answers."""

import csv
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from little_world import review, word_pieces
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerFast
from workplace import Workplace

from distill import load, tasks
from distill.config import PretrainedTeacher, Source
from distill.models import load_teacher
from distill.models.answers import fault_of_padding, forward_of
from distill.runtime import ALONE, in_order, respond
from distill.text import Example, Reading

pytestmark = pytest.mark.slow

LABELS = ("fresh", "neither", "rotten")
TASK = tasks.build("text-classification", LABELS)
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 66,
    "initializer_range": 0.2,
    "id2label": dict(enumerate(LABELS)),
    "label2id": {name: i for i, name in enumerate(LABELS)},
}
BYTES = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "type_vocab_size": 1}
"""Of families that read bytes, as RoBERTa does; the others read word pieces, with the padding id 0."""
DECODER = {"pad_token_id": 0}
GROUPED = {**DECODER, "num_key_value_heads": 2}
ROLES = {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
DISENTANGLED = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "type_vocab_size": 0}
GROUPS = {f"{part}_groups": 1 for part in ("q", "k", "v", "post_attention", "intermediate", "output")}
FAMILIES: dict[str, dict[str, Any]] = {
    "Albert": {"embedding_size": 16},
    "Bert": {},
    "BigBird": {"attention_type": "original_full"},
    "Bloom": {**DECODER, "n_layer": 2, "n_head": 2},
    "Camembert": BYTES,
    "ConvBert": {"embedding_size": 32, "conv_kernel_size": 3},
    "Data2VecText": BYTES,
    "Deberta": DISENTANGLED,
    "DebertaV2": {**DISENTANGLED, "position_buckets": 16},
    "DistilBert": {},
    "Electra": {"embedding_size": 16},
    "Ernie": {},
    "Esm": {**BYTES, "mask_token_id": 4, "position_embedding_type": "absolute"},
    "EuroBert": GROUPED,
    "FNet": {},
    "Gemma": {**GROUPED, "head_dim": 16},
    "GPT2": DECODER,
    "GPTNeoX": DECODER,
    "IBert": BYTES,
    "LayoutLM": {},
    "Llama": DECODER,
    "Longformer": {**BYTES, "attention_window": 16},
    "Luke": {**BYTES, "entity_vocab_size": 5, "entity_emb_size": 8},
    "MegatronBert": {},
    "MobileBert": {"embedding_size": 32, "intra_bottleneck_size": 32, "num_feedforward_networks": 1},
    "ModernBert": {**ROLES, "local_attention": 8},
    "MPNet": {"pad_token_id": 1},
    "NomicBert": {},
    "OPT": {**DECODER, "ffn_dim": 64, "word_embed_proj_dim": 32},
    "Phi": DECODER,
    "Qwen2": {**GROUPED, "vocab_size": 400},  # its tokenizer's class adds <|endoftext|>
    "RemBert": {"input_embedding_size": 16, "output_embedding_size": 16},
    "Roberta": BYTES,
    "RobertaPreLayerNorm": BYTES,
    "RoCBert": {"enable_pronunciation": False, "enable_shape": False},
    "RoFormer": {},
    "SqueezeBert": {"embedding_size": 32, **GROUPS},
    "XLM": {"emb_dim": 32, "n_layers": 2, "n_heads": 2, "pad_index": 0, "pad_token_id": 0},
    "XLMRobertaXL": BYTES,
    "XLNet": {"d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 64},
    "Xmod": {**BYTES, "languages": ["en_XX"], "default_language": "en_XX"},
}
UNPADDED = {"ConvBert", "FNet", "XLNet"}
"""Families whose answers depend on padding."""
NOT_EXPORTED = {"FNet", "Longformer"}
"""Families that have no graph for every length."""
LAYERLESS = {"Albert", "Esm", "XLM"}
"""Families whose layers are shared, counted in a weight outside of them, or spread over several lists: their students
are of another kind."""
NO_SUCH_SETTING = {"XLNet": ("num_hidden_layers", "max_position_embeddings")}
ODD = [
    "",
    "film",
    "Ünïcødé ☃ zzyzx 漢字",
    "a tender , witty and moving drama " * 30,
    "the story is dull from start to end",
    "what a fresh script",
]


def byte_pairs(texts: list[str]) -> Tokenizer:
    """A byte-level tokenizer with RoBERTa's special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400, show_progress=False, special_tokens=special, initial_alphabet=alphabet
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return tokenizer


def write_family(family: str, folder: Path, texts: list[str], **changes: Any) -> Path:
    """A classifier of random weights with its tokenizer, as ``save_pretrained`` writes them."""
    bytewise = FAMILIES[family].get("pad_token_id") == 1
    tokenizer = byte_pairs(texts) if bytewise else word_pieces(texts)
    settings = {"vocab_size": tokenizer.get_vocab_size(), **SIZES, **FAMILIES[family], **changes}
    marks = ("<{}>", "</s>", "<s>") if bytewise else ("[{}]", "[SEP]", "[CLS]")
    roles = {f"{role}_token": marks[0].format(role if bytewise else role.upper()) for role in ("pad", "unk", "mask")}
    roles |= {"sep_token": marks[1], "cls_token": marks[2]}
    for name in NO_SUCH_SETTING.get(family, ()):
        del settings[name]
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**settings)
    getattr(transformers, f"{family}ForSequenceClassification")(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=100, **roles).save_pretrained(folder)
    return folder


def of_transformers(folder: Path, texts: list[str], max_length: int) -> np.ndarray:
    """[N, C], each text by itself through transformers alone."""
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        asked = [tokenizer(text, truncation=True, max_length=max_length, return_tensors="pt") for text in texts]
        return torch.cat([model(**one).logits for one in asked]).numpy()


@pytest.fixture(scope="module")
def texts() -> list[str]:
    generator = random.Random(3)
    return [review(generator)[0] for _ in range(200)]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_teacher_answers_odd_texts_as_in_transformers(family: str, texts: list[str], tmp_path: Path) -> None:
    folder = write_family(family, tmp_path, texts)
    teacher = load_teacher(PretrainedTeacher("pretrained", Source(path=str(folder)), fine_tune="never"), TASK)
    loaded, longest = teacher.loaded, min(teacher.longest, 66)
    reading = Reading(loaded.tokenizer, longest, special_tokens=loaded.special_tokens)
    encoded = reading.encode([Example(text) for text in ODD])
    fault = fault_of_padding(loaded.model, reading, TASK, encoded)
    assert bool(fault) == (family in UNPADDED), fault
    found = in_order(respond(forward_of(loaded.model), reading, TASK, encoded, ALONE if fault else 10_000))
    expected = of_transformers(folder, ODD, longest)
    assert expected.std() > 0.05
    np.testing.assert_allclose(np.concatenate(found), expected, atol=2e-4)


def place_with(family: str, folder: Path, texts: list[str]) -> Workplace:
    """``teacher``, a classifier of two labels, with ``labelled.csv`` and ``texts.txt`` beside it."""
    write_family(
        family, folder / "teacher", texts, id2label={0: "fresh", 1: "rotten"}, label2id={"fresh": 0, "rotten": 1}
    )
    generator = random.Random(4)
    with (folder / "labelled.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *(review(generator)[:2] for _ in range(120))])
    (folder / "texts.txt").write_text("\n".join(texts[:100]) + "\n")
    return Workplace(folder, [])


LABELLED = ("--labelled", "labelled.csv")


@pytest.mark.parametrize(
    ("family", "labelled", "why"),
    [
        ("FNet", (), "answers otherwise where a text is padded to the length of another"),
        ("FNet", LABELLED, "answers otherwise where a text is padded to the length of another"),
        ("XLNet", (), "answers otherwise where a text is padded to the length of another"),
        ("Longformer", LABELLED, "the teacher does not run in ONNX"),
        ("Albert", LABELLED, "the layers of AlbertForSequenceClassification were not found"),
        ("Esm", LABELLED, "do not fit a smaller one of its kind"),
    ],
)
def test_a_family_whose_layers_make_no_student_is_refused_before_training(
    family: str, labelled: tuple[str, ...], why: str, texts: list[str], tmp_path: Path
) -> None:
    place = place_with(family, tmp_path, texts)
    command = ["compress", "teacher", "--texts", "texts.txt", *labelled, "student=half", "teacher_floor=false"]
    assert place.distill(*command) == 2
    assert why in place.err
    assert "choose student=transformer or student=lstm" in place.err
    assert "student soft" not in place.err


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_compressed_to_a_bundle(family: str, texts: list[str], tmp_path: Path) -> None:
    place = place_with(family, tmp_path, texts)
    student = ["student=lstm" if family in UNPADDED | NOT_EXPORTED | LAYERLESS else "student=half"]
    if family == "IBert":  # whose word embeddings are no plain table
        student.append("student.vocabulary.trim=false")
    quick = ["train.steps=6", "train.evaluations=1", "train.learning_rates=[1e-3]", "threads=1", "export.max_drop=100"]
    quick.append("precision=fp32")  # Deberta and Xmod do not compute in bf16, which a processor may choose
    command = ["compress", "teacher", "--texts", "texts.txt", *LABELLED, *student]
    status = place.distill(*command, *quick, "measure.enabled=false", "teacher_floor=false", "name=small")
    assert status == 0, place.err
    fallen = [v for v in place.report().variants if v.parity is not None and not v.parity.passed]
    assert [v.model for v in fallen] == (["teacher"] if family in UNPADDED | NOT_EXPORTED else [])
    bundle = load(tmp_path / "exports" / "small", "fp32")
    expected = of_transformers(tmp_path / "outputs" / "small" / "student", ODD, bundle.manifest.max_length)
    np.testing.assert_allclose(np.concatenate(bundle.logits(list(map(Example, ODD)))), expected, atol=2e-4)
