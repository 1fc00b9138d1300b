"""What a model reads with, to a folder and back, and the identity that fingerprints are made of."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from distill.errors import UserError
from distill.text import Example, Reading, train_tokenizer

CORPUS = [Example(text) for text in ("the cat sat on the mat, unbelievably!", "a dog sat on the unbelievable log.")] * 3
ROLES = {"cls_token": "[CLS]", "mask_token": "[MASK]"}


@pytest.fixture(scope="module", params=["wordpiece", "bpe", "unigram"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return train_tokenizer(CORPUS, 300, request.param)


def test_a_folder_gives_back_what_was_saved(tokenizer: Tokenizer, tmp_path: Path) -> None:
    reading = Reading(tokenizer, 9, 3, ROLES)
    reading.save(tmp_path / "made" / "anew")
    again = Reading.load(tmp_path / "made" / "anew")
    assert (again.max_length, again.pad_id, again.special_tokens) == (9, 3, ROLES)
    assert again.special_count == reading.special_count == 3  # [CLS] first [SEP] second [SEP]
    examples = [Example("the cat"), Example("", "a dog"), Example("log " * 30)]
    for one, other in zip(reading.encode(examples), again.encode(examples), strict=True):
        assert one.input_ids.tolist() == other.input_ids.tolist()
    assert again.identity == reading.identity
    assert sorted(path.name for path in (tmp_path / "made" / "anew").iterdir()) == ["reading.json", "tokenizer.json"]


def test_each_part_changes_the_identity_and_reading_with_it_does_not(tokenizer: Tokenizer) -> None:
    reading = Reading(tokenizer, 9, 3, ROLES)
    other = Tokenizer.from_str(tokenizer.to_str())
    other.add_special_tokens(["<new>"])
    changed = [
        Reading(other, 9, 3, ROLES),
        Reading(tokenizer, 10, 3, ROLES),
        Reading(tokenizer, 9, 4, ROLES),
        Reading(tokenizer, 9, 3, {**ROLES, "mask_token": "[UNK]"}),
        Reading(tokenizer, 9, 3),
    ]
    assert len({reading.identity, *(one.identity for one in changed)}) == 1 + len(changed)
    assert Reading(tokenizer, 9, 3, dict(reversed(ROLES.items()))).identity == reading.identity
    used = Reading(tokenizer, 9, 3, ROLES)
    used.encode([Example("the cat " * 30)], 2)
    used.encode([Example("the cat", "a dog " * 20)], 1)
    assert used.identity == reading.identity
    padded = Tokenizer.from_str(tokenizer.to_str())
    padded.enable_padding(length=128, pad_id=3)
    padded.enable_truncation(128)
    assert Reading(padded, 9, special_tokens=ROLES).identity == reading.identity  # its own padding is not used


def test_another_process_finds_the_same_identity(tokenizer: Tokenizer, tmp_path: Path) -> None:
    reading = Reading(tokenizer, 9, special_tokens=ROLES)
    reading.save(tmp_path)
    program = (
        "import sys, pathlib; from distill.text import Reading; print(Reading.load(pathlib.Path(sys.argv[1])).identity)"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == reading.identity


@pytest.mark.parametrize("content", [None, "", "[]", '{"max_length": 9}', '{"max_length": null, "pad_id": 0}'])
def test_a_folder_without_its_settings_is_said_to_be_none(
    tokenizer: Tokenizer, tmp_path: Path, content: str | None
) -> None:
    Reading(tokenizer, 9).save(tmp_path)
    (tmp_path / "reading.json").unlink()
    if content is not None:
        (tmp_path / "reading.json").write_text(content)
    with pytest.raises(UserError, match=r"reading\.json does not say how texts are read"):
        Reading.load(tmp_path)


def test_a_folder_without_its_tokenizer_names_the_file(tokenizer: Tokenizer, tmp_path: Path) -> None:
    Reading(tokenizer, 9).save(tmp_path)
    (tmp_path / "tokenizer.json").write_text(json.dumps({}))
    with pytest.raises(UserError, match=r"tokenizer\.json is not a tokenizer"):
        Reading.load(tmp_path)
