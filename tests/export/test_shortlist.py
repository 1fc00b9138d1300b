"""A vocabulary shortlist: what is learnt, what the graphs score, and what is written with it."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tiny_writers import OWN_SEQ2SEQ, SEQ2SEQ, tiny_writer

from distill.config.schema import ExportConfig
from distill.export import shortlist as module
from distill.export.onnx_export import export_graphs
from distill.export.quantize import VARIANTS, Files
from distill.export.shortlist import Pairs, Shortlist, learn_shortlist, shortlist_graphs
from distill.models.graphs import graphs_of
from distill.runtime import GenerationSettings, Graphs, generate
from distill.runtime.graphs import NEVER, listed

VOCABULARY, START, END = 60, 0, 2
FAMILIES = [*SEQ2SEQ, *OWN_SEQ2SEQ]
SOURCES = [np.array(ids) for ids in ([5, 17, 9, 2], [31, 7, 2], [44, 45, 46, 5, 12, 2])]
EVERYTHING = Shortlist(np.arange(VOCABULARY)[:, None], np.arange(VOCABULARY))


def some(seed: int = 0) -> Shortlist:
    """Three tokens for each of the source, and five always."""
    table = np.random.default_rng(seed).integers(3, VOCABULARY, size=(VOCABULARY, 3))
    return Shortlist(table, np.array([START, END, 11, 12, 13]))


def shortlisted(fp32: dict[str, Path], shortlist: Shortlist, folder: Path) -> dict[str, Path]:
    files = {role: folder / path.name for role, path in fp32.items()}
    shortlist_graphs(fp32, shortlist, files)
    return files


@pytest.fixture(scope="module", params=FAMILIES)
def exported(request: Any, tmp_path_factory: Any) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("exported")
    return export_graphs(graphs_of(tiny_writer(request.param)), folder, ExportConfig())


def translated(count: int, length: int, seed: int = 0) -> Pairs:
    """Each word w is written as w + 20, in any order, between words that every text has."""
    random = np.random.default_rng(seed)
    sources = [random.choice(np.arange(5, 20), size=length, replace=False) for _ in range(count)]
    return [
        (np.concatenate([[1], ids, [2]]), np.concatenate([[0], random.permutation(ids + 20), [50, 2]]))
        for ids in sources
    ]


def by_dictionaries(pairs: Pairs) -> dict[tuple[int, int], float]:
    """IBM model 1 as in Brown et al., cell by cell."""
    t: dict[tuple[int, int], float] = defaultdict(lambda: 1.0)
    for _ in range(module.ITERATIONS):
        expected: dict[tuple[int, int], float] = defaultdict(float)
        for source, target in pairs:
            for e in target.tolist():
                total = sum(t[f, e] for f in source.tolist())
                for f in source.tolist():
                    expected[f, e] += t[f, e] / total
        of_source: dict[int, float] = defaultdict(float)
        for (f, _), value in expected.items():
            of_source[f] += value
        t = defaultdict(float, {(f, e): value / of_source[f] for (f, e), value in expected.items()})
    return t


@pytest.mark.parametrize("chunk", [10, 2**22])
def test_translations_are_those_of_ibm_model_1(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", chunk)
    pairs = translated(40, 5)
    keys, t = module._translations(pairs, VOCABULARY)
    expected = by_dictionaries(pairs)
    assert {divmod(key, VOCABULARY): p for key, p in zip(keys.tolist(), t, strict=True)} == pytest.approx(expected)


def test_the_translation_of_a_word_is_on_its_shortlist() -> None:
    found = learn_shortlist(translated(60, 6), VOCABULARY, 1, [0, 2])
    assert found.likeliest_VK.shape == (VOCABULARY, 1)
    assert found.likeliest_VK[5:20, 0].tolist() == list(range(25, 40))
    assert found.likeliest_VK[45:49, 0].tolist() == [45, 46, 47, 48]  # never seen: may be copied


def test_special_tokens_and_the_most_frequent_are_always_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FREQUENT", 3)
    assert learn_shortlist(translated(20, 4), VOCABULARY, 2, [0, 2, 7]).frequent.tolist() == [0, 2, 7, 50]


def test_pairs_that_occur_most_often_are_kept_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 80)
    monkeypatch.setattr(module, "CHUNK", 200)
    keys, t = module._translations(translated(60, 6), VOCABULARY)
    assert len(keys) == 80
    assert np.isfinite(t).all()
    assert {source * VOCABULARY + target for source in (1, 2) for target in (0, 2, 50)} <= set(keys.tolist())


HOW: dict[str, dict[str, Any]] = {
    "greedy": {},
    "beams": {"beams": 4},
    "penalty": {"beams": 3, "repetition_penalty": 1.3},
    "sampling": {"temperature": 0.9, "top_k": 20, "seed": 3, "repetition_penalty": 1.2},
}


@pytest.mark.parametrize("how", HOW)
def test_with_all_tokens_on_it_the_same_is_written(exported: dict[str, Path], how: str, tmp_path: Path) -> None:
    settings = GenerationSettings(12, end_ids=(END,), start_id=START, **HOW[how])
    whole, cut = (Graphs(files, 1) for files in (exported, shortlisted(exported, EVERYTHING, tmp_path)))
    assert not whole.shortlisted
    assert cut.shortlisted
    expected, found = ({one.row: one.ids for one in generate(graphs, SOURCES, settings)} for graphs in (whole, cut))
    assert found == expected


@pytest.mark.parametrize("beams", [1, 3])
def test_only_tokens_of_the_shortlist_are_scored(exported: dict[str, Path], beams: int, tmp_path: Path) -> None:
    """Logits are those of the whole output layer; of two sources together both shortlists are scored, and none of
    padding."""
    shortlist = some()
    cut, whole = Graphs(shortlisted(exported, shortlist, tmp_path), 1), Graphs(exported, 1)
    batch = {"input_ids": np.array([[5, 17, 9, 2], [31, 2, 0, 0]]), "attention_mask": np.array([[1] * 4, [1, 1, 0, 0]])}
    batch["target_ids"] = np.array([[0, 30, 58], [0, 59, 2]])
    real = batch["input_ids"][batch["attention_mask"] == 1]
    listed = np.union1d(shortlist.likeliest_VK[real], shortlist.frequent)
    found, expected = cut.target_logits(batch), whole.target_logits(batch)
    np.testing.assert_allclose(found[..., listed], expected[..., listed], atol=1e-5)
    others = np.setdiff1d(np.arange(VOCABULARY), listed)
    assert found.shape == expected.shape
    assert (found[..., others] == NEVER).all()

    settings = GenerationSettings(10, end_ids=(END,), start_id=START, beams=beams)
    for source in SOURCES:
        (one,) = generate(cut, [source], settings)
        assert set(one.ids) <= {*shortlist.likeliest_VK[source].ravel().tolist(), *shortlist.frequent.tolist()}


@pytest.mark.parametrize("variant", ["int8", "int4"])
def test_quantized_variants_keep_the_rest(exported: dict[str, Path], variant: str, tmp_path: Path) -> None:
    files = shortlisted(exported, some(), tmp_path)
    targets = {role: tmp_path / f"{variant}_{path.name}" for role, path in files.items()}
    VARIANTS[variant]({role: Files(files[role], targets[role]) for role in files}, ())
    cut, fp32 = Graphs(targets, 1), Graphs(files, 1)
    batch = {"input_ids": SOURCES[0][None], "attention_mask": np.ones((1, 4), dtype=np.int64)}
    given, exact = (dict(zip(g.outputs["encoder"], g.run("encoder", batch), strict=True)) for g in (cut, fp32))
    assert given["shortlist"].tolist() == exact["shortlist"].tolist()
    settings = GenerationSettings(8, end_ids=(END,), start_id=START, beams=2)
    assert len(list(generate(cut, SOURCES, settings))) == 3


def test_an_embedding_that_is_tied_is_stored_once(tmp_path: Path) -> None:
    exported = export_graphs(graphs_of(tiny_writer("encoder-decoder")), tmp_path / "whole", ExportConfig())
    shortlisted(exported, some(), tmp_path)
    matrices = {
        role: [t.name for t in onnx.load(tmp_path / f"{role}.onnx").graph.initializer if sorted(t.dims) == [16, 60]]
        for role in exported
    }
    assert [len(names) for names in matrices.values()] == [1, 1]


def test_logits_that_are_no_product_are_refused(tmp_path: Path) -> None:
    exported = export_graphs(graphs_of(tiny_writer("Marian")), tmp_path / "whole", ExportConfig())
    model = onnx.load(exported["decoder"])
    last = next(node for node in model.graph.node if "logits" in node.output)
    last.output[0] = "unbounded"
    model.graph.node.append(onnx.helper.make_node("Tanh", ["unbounded"], ["logits"]))
    onnx.save(model, exported["decoder"])
    with pytest.raises(ValueError, match="no product with one matrix"):
        shortlisted(exported, some(), tmp_path)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([5, 4, 60], "each once, ascending"),
        ([4, 4], "each once, ascending"),
        ([], "each once, ascending"),
        ([-1, 4], "ids from -1 to 4"),
        ([4, 2**40], "ids from 4 to"),
    ],
)
def test_ids_that_are_no_shortlist_are_refused(ids: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        listed({"shortlist": np.array(ids, dtype=np.int64)})
