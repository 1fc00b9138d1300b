"""DistilBERT's method: the loss by hand, the hook against the whole forward, and that masked tokens are learnt."""

import copy
import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from torch.nn import functional
from transformers import (
    BertConfig,
    BertForMaskedLM,
    DistilBertConfig,
    DistilBertForMaskedLM,
    MPNetConfig,
    MPNetForMaskedLM,
    RobertaConfig,
    RobertaForMaskedLM,
)

from distill.config import PretrainingConfig
from distill.errors import UserError
from distill.models.masked import answers_at
from distill.text import Example, Reading, train_tokenizer
from distill.training import Problem, State, find_machine, train
from distill.training.loop import diverged
from distill.training.planning import Epoch
from distill.training.pretraining import Corpus, masked_problem, masked_score

TEXTS = [Example(f"the {a} {b} sat on the {c}") for a in ("cat", "dog") for b in ("and", "or") for c in ("mat", "log")]


@pytest.fixture(scope="module")
def encoder() -> Reading:
    return Reading(train_tokenizer(TEXTS * 3, 80), 16)


def _bert(encoder: Reading, layers: int = 2, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return BertForMaskedLM(
        BertConfig(
            vocab_size=encoder.vocabulary_size,
            hidden_size=32,
            num_hidden_layers=layers,
            num_attention_heads=2,
            intermediate_size=64,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )


SIZES: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 32,
}
FAMILIES = {
    "bert": lambda: BertForMaskedLM(BertConfig(**SIZES)),
    "distilbert": lambda: DistilBertForMaskedLM(
        DistilBertConfig(vocab_size=60, dim=16, n_layers=1, n_heads=2, hidden_dim=16, max_position_embeddings=32)
    ),
    "roberta": lambda: RobertaForMaskedLM(RobertaConfig(**SIZES)),
    "mpnet": lambda: MPNetForMaskedLM(MPNetConfig(**SIZES)),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_at_masked_tokens_are_those_of_the_whole_forward(family: str) -> None:
    torch.manual_seed(0)
    model = FAMILIES[family]().eval()
    ids = torch.randint(5, 60, (3, 9))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    asked = torch.rand(3, 9) < 0.3
    asked[0, 0] = True
    with torch.no_grad():
        expected = model(input_ids=ids, attention_mask=inputs["attention_mask"], output_hidden_states=True)
        logits, hidden = answers_at(model, inputs, asked)
        after = model(input_ids=ids, attention_mask=inputs["attention_mask"]).logits
    torch.testing.assert_close(logits[0], expected.logits[asked])
    torch.testing.assert_close(hidden, expected.hidden_states[-1])
    torch.testing.assert_close(after, expected.logits)


def test_the_first_step_minimises_the_three_losses_added_up(encoder: Reading) -> None:
    settings = PretrainingConfig(epochs=1, batch_size=8, kl=5.0, mlm=2.0, cosine=1.0, temperature=2.0)
    corpus = Corpus(TEXTS, encoder, 0.3)
    student, teacher = _bert(encoder, 1, 1), _bert(encoder, 2)
    machine = find_machine("cpu", "fp32", 1)
    fresh, before = copy.deepcopy(student), copy.deepcopy(teacher.state_dict())
    result = train(masked_problem(student, teacher, corpus, settings, 0, machine), None, machine)
    assert not teacher.training
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.state_dict().items())

    inputs, asked, original = corpus.masked_rows(Epoch(corpus.lengths, 8, 0, 0)[0], np.random.default_rng([0, 0]))
    known = {name: inputs[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    with torch.no_grad():
        of_student = fresh(**known, output_hidden_states=True)
        of_teacher = teacher(**known, output_hidden_states=True)
    s, t = of_student.logits[asked], of_teacher.logits[asked]
    p = (t / 2).softmax(-1)
    kl = 4 * (p * ((t / 2).log_softmax(-1) - (s / 2).log_softmax(-1))).sum(-1).mean()
    mlm = functional.cross_entropy(s, original[asked])
    real = inputs["attention_mask"].bool()
    cosine = 1 - functional.cosine_similarity(of_student.hidden_states[-1][real], of_teacher.hidden_states[-1][real])
    assert result.curve[0].train_loss == pytest.approx(float(5 * kl + 2 * mlm + cosine.mean()), rel=1e-4)


@pytest.mark.parametrize(("teaches", "key"), [(True, "learning_rate"), (False, "teacher_learning_rate")])
def test_a_pretraining_that_diverges_names_the_one_key_that_mends_it(encoder: Reading, teaches: bool, key: str) -> None:
    machine = find_machine("cpu", "fp32", 1)
    teacher = _bert(encoder) if teaches else None
    problem = masked_problem(_bert(encoder, 1), teacher, Corpus(TEXTS, encoder, 0.3), PretrainingConfig(), 0, machine)
    told = diverged(problem, "the loss is nan", 3, machine)
    assert re.findall(r"student\.pretraining\.(\w+)", told) == [key]
    assert told.endswith(f"with learning rate {getattr(PretrainingConfig(), key):g}; lower student.pretraining.{key}")


def test_masked_tokens_are_learnt_and_the_same_seed_gives_the_same_weights(encoder: Reading) -> None:
    settings = PretrainingConfig(epochs=40, batch_size=4, learning_rate=3e-3)
    corpus = Corpus(TEXTS, encoder, 0.15)
    machine = find_machine("cpu", "fp32", 1)
    teacher = _bert(encoder)
    learns = PretrainingConfig(teacher_epochs=40, teacher_learning_rate=3e-3)
    train(masked_problem(teacher, None, corpus, learns, 0, machine), None, machine)
    made = []
    for _ in range(2):
        student = _bert(encoder, 1, 5)
        before = masked_score(student, corpus, machine)
        train(masked_problem(student, copy.deepcopy(teacher), corpus, settings, 0, machine), None, machine)
        made.append(student.state_dict())
    after = masked_score(student, corpus, machine)
    assert after.cross_entropy < before.cross_entropy / 2
    assert after.accuracy > before.accuracy
    assert after.tokens == before.tokens > 0
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])


def test_a_pretraining_that_was_stopped_goes_on_to_the_weights_of_one_that_was_not(
    encoder: Reading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dropout: the same masks, moments and random numbers."""
    machine, corpus = find_machine("cpu", "fp32", 1), Corpus(TEXTS, encoder, 0.3)
    settings, teacher = PretrainingConfig(epochs=5, batch_size=3, learning_rate=3e-3), _bert(encoder, 2)

    def problem(seed: int) -> Problem:
        student = _bert(encoder, 1, seed)
        student.bert.embeddings.dropout.p = 0.3
        made = masked_problem(student, teacher, corpus, settings, 0, machine)
        return dataclasses.replace(made, budget=dataclasses.replace(made.budget, checkpoint_seconds=-1.0))

    whole, stopped, on = problem(1), problem(1), problem(7)
    expected = train(whole, None, machine)
    assert (expected.steps, expected.best_step, len(expected.curve)) == (15, 15, 10)
    save = State.save

    def save_and_die(state: State, parts: Any) -> None:
        save(state, parts)
        if state.step == 7:
            raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(State, "save", save_and_die)
        with pytest.raises(InterruptedError):
            train(stopped, State(tmp_path), machine)
    result = train(on, State(tmp_path), machine)
    assert [p.train_loss for p in result.curve] == [p.train_loss for p in expected.curve]
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, on.model.state_dict()[name])
    assert not list(tmp_path.iterdir())


def test_a_tokenizer_without_a_mask_token_is_refused(encoder: Reading) -> None:
    other = Tokenizer.from_str(encoder.tokenizer.to_str().replace("[MASK]", "[GAP]"))
    with pytest.raises(UserError, match="no mask token"):
        Corpus(TEXTS, Reading(other, 16), 0.15)
    named = Corpus(TEXTS, Reading(other, 16, special_tokens={"mask_token": "[GAP]"}), 0.15)
    assert named.mask_id == Corpus(TEXTS, encoder, 0.15).mask_id
