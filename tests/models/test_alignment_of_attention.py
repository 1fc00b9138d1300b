"""The alignment that `benchmarks/alignment.py` shows is the known one."""

import runpy
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
import torch
from transformers import PreTrainedModel

ALIGNMENT = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "alignment.py"))
SOURCE = ["this", "fast", "wolf", "or", "every", "book"]
TARGET = ["ce", "loup", "rapide", "ou", "chaque", "livre"]


def test_known_alignment_leads_from_each_word_to_the_one_it_translates():
    random = Random(0)
    for _ in range(50):
        source, target, alignment = ALIGNMENT["pair"](random)
        assert [ALIGNMENT["FRENCH"][source[place]] for place in alignment] == target
        assert sorted(alignment) == list(range(len(source)))
        assert len({*source}) == len(source)
        for word, following in pairwise(target):
            assert not (word in ALIGNMENT["ADJECTIVES"].values() and following in ALIGNMENT["NOUNS"].values())


@pytest.mark.parametrize("name", ALIGNMENT["NETWORKS"])
def test_weights_add_up_to_one_over_the_words_that_are_there(name):
    random = Random(0)
    pairs = sorted((ALIGNMENT["pair"](random) for _ in range(4)), key=lambda one: len(one.source))
    weights_BLS = ALIGNMENT["weights_of"](ALIGNMENT["NETWORKS"][name]().eval(), pairs)
    assert weights_BLS.shape[1] == 1 + max(len(one.target) for one in pairs)
    torch.testing.assert_close(weights_BLS.sum(-1), torch.ones(weights_BLS.shape[:2]))
    assert not weights_BLS[0, :, len(pairs[0].source) + 1 :].any()


def trained(name: str) -> PreTrainedModel:
    torch.manual_seed(0)
    model = ALIGNMENT["NETWORKS"][name]()
    ALIGNMENT["train"](model)
    return model.eval()


@pytest.mark.slow
def test_a_transformer_gives_most_weight_to_the_word_that_it_translates():
    model, random = trained("Transformer (2017)"), Random("asked")
    found = ALIGNMENT["aligned"](model, [ALIGNMENT["pair"](random) for _ in range(50)])
    assert min(found.values()) > 0.95
    assert ALIGNMENT["write"](model, SOURCE) == TARGET


@pytest.mark.slow
def test_additive_attention_finds_adjectives_at_their_nouns_and_other_words_where_they_stand():
    model, random = trained("additive attention (2014)"), Random("asked")
    pairs = [ALIGNMENT["pair"](random) for _ in range(50)]
    assert ALIGNMENT["aligned"](model, pairs)["others"] > 0.95
    adjectives = ALIGNMENT["ADJECTIVES"].values()
    at_nouns = []
    for one in pairs:
        places = zip(one.target, one.alignment, strict=True)
        at_nouns.append(one._replace(alignment=[place + (word in adjectives) for word, place in places]))
    assert ALIGNMENT["aligned"](model, at_nouns)["adjectives"] > 0.95
    assert ALIGNMENT["write"](model, SOURCE) == TARGET
