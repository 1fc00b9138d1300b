"""Text-to-text: targets that are predicted while a model is trained, and written where it is measured."""

import numpy as np
import pytest

from distill.errors import UserError
from distill.metrics import TokenPredictions
from distill.tasks import build, from_section
from distill.tasks.language_modelling import outcome
from distill.tasks.text_to_text import text_of, units_of
from distill.text import Example, Reading, Target, TokenStore, pad, rows_of, train_tokenizer

PAIRS = [("a cat", "eine Katze"), ("a big dog", "ein großer Hund 🙂"), ("", "nichts"), ("the house", "x")]
EXAMPLES = [Example(source, label=Target(target)) for source, target in PAIRS]
TOKENIZER = train_tokenizer([Example(text) for pair in PAIRS for text in pair] * 5, 320, "bpe")
START, END = TOKENIZER.token_to_id("[CLS]"), TOKENIZER.token_to_id("[SEP]")


def target_ids(text: str) -> list[int]:
    return [START, *TOKENIZER.encode(text, add_special_tokens=False).ids, END]


def test_source_and_target_are_read_each_by_itself() -> None:
    read = Reading(TOKENIZER, 12)
    encoded = build("text-to-text", ()).encode(read, EXAMPLES)
    for (source, target), e in zip(PAIRS, encoded, strict=True):
        assert e.input_ids.tolist() == TOKENIZER.encode(source).ids[:12]
        whole = target_ids(target)
        assert e.target_ids.tolist() == (whole if len(whole) <= 12 else [*whole[:11], END])
        assert e.windows == 1


def test_a_stated_first_token_of_the_decoder_stands_before_the_target() -> None:
    read = Reading(TOKENIZER, 12, special_tokens={"decoder_start_token": "[PAD]"})
    pad_id = TOKENIZER.token_to_id("[PAD]")
    e, long = build("text-to-text", ()).encode(read, [Example("a", label=Target(text)) for text in ("x", "x" * 30)])
    assert e.target_ids.tolist() == [pad_id, *target_ids("x")]
    assert len(long.target_ids) == 12
    assert (long.target_ids[0], long.target_ids[-1]) == (pad_id, END)
    same = Reading(TOKENIZER, 12, special_tokens={"decoder_start_token": "[CLS]"})
    assert same.encode_targets(["x"])[0].tolist() == target_ids("x")


def test_a_batch_is_padded_on_both_sides_of_the_pair() -> None:
    read = Reading(TOKENIZER, 12)
    encoded = build("text-to-text", ()).encode(read, EXAMPLES)
    padded = pad(rows_of(encoded), read.pad_id)
    for row, e in enumerate(encoded):
        assert padded["target_ids"][row, : len(e.target_ids)].tolist() == e.target_ids.tolist()
        assert set(padded["target_ids"][row, len(e.target_ids) :]) <= {read.pad_id}
    assert "target_ids" not in pad(read.encode(EXAMPLES), read.pad_id)


def test_targets_come_back_from_a_store(tmp_path: object) -> None:
    encoded = build("text-to-text", ()).encode(Reading(TOKENIZER, 12), [*EXAMPLES, Example("without")])
    TokenStore.write(tmp_path / "store", encoded)  # type: ignore[operator]
    found = TokenStore(tmp_path / "store")  # type: ignore[operator]
    assert [e.target_ids.tolist() for e in found] == [e.target_ids.tolist() for e in encoded]


def test_each_token_of_the_target_is_told_once() -> None:
    task = build("text-to-text", ()).next_token
    assert (task.metric.name, task.predicts_tokens) == ("bits_per_byte", True)
    read = Reading(TOKENIZER, 32)
    encoded = task.encode(read, EXAMPLES)
    ids = pad(rows_of(encoded), read.pad_id)["target_ids"]
    logits = np.random.default_rng(0).normal(size=(*ids.shape, read.vocabulary_size)).astype(np.float32)
    units = task.units(outcome(logits, ids), encoded)
    assert [u[:, 2].tolist() for u in units] == [target_ids(target)[1:] for _, target in PAIRS]
    told = task.predictions(units, EXAMPLES)
    assert all(isinstance(one, TokenPredictions) for one in told)
    assert task.gold(EXAMPLES) == [target for _, target in PAIRS]
    assert task.metric.score(told, task.gold(EXAMPLES)) < 0


def test_what_was_written_is_kept_byte_for_byte() -> None:
    task = build("text-to-text", ())
    assert not task.predicts_tokens
    texts = ["", "großer Hund 🙂", "a\nb"]
    units = [units_of(text) for text in texts]
    assert [u.shape for u in units] == [(len(text.encode()), 1) for text in texts]
    assert task.predictions(units, EXAMPLES[:3]) == texts
    assert [answer.as_dict() for answer in task.answers(units, EXAMPLES[:3])] == [{"text": text} for text in texts]
    assert task.answers(units, EXAMPLES[:3])[2].as_line() == "a b"
    assert text_of(units_of("ß")) == "ß"


def test_metrics_are_those_of_what_was_written() -> None:
    task = build("text-to-text", ())
    assert [m.name for m in task.metrics] == ["bleu", "chrf"]
    gold = task.gold(EXAMPLES)
    assert task.metric.score(gold, gold) == pytest.approx(1.0)
    assert task.metric.score(task.constant(gold), gold) == 0.0
    assert task.agreement(gold, [*gold[:3], "y"]) == pytest.approx(3 / 4)
    assert from_section(build("text-to-text", (), "chrf").section()).metric.name == "chrf"


def test_a_row_without_a_target_is_refused() -> None:
    def fail(message: str) -> UserError:
        return UserError(f"row 3: {message}")

    task = build("text-to-text", ())
    assert task.label_of("Haus", "target", fail) == Target("Haus")
    for value, message in ((None, "no text in column 'target'"), (3.5, "holds 3.5 and no text")):
        with pytest.raises(UserError, match=message):
            task.label_of(value, "target", fail)
