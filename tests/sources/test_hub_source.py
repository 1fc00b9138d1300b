import datasets
import pytest

from distill.config.data import Source
from distill.errors import UserError
from distill.sources import hub_splits, load_hub_dataset


def test_unreachable_hub_names_the_other_ways(monkeypatch):
    def unreachable(*args: object, **kwargs: object) -> None:
        raise ConnectionError("Couldn't reach 'nobody/nothing' on the Hub\nlong tail")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    monkeypatch.setattr(datasets, "get_dataset_split_names", unreachable)
    for call in (lambda s: load_hub_dataset(s, "train"), hub_splits):
        with pytest.raises(UserError, match=r"nobody/nothing cannot be had.*Couldn't reach") as caught:
            call(Source(hub="nobody/nothing"))
        assert "wheel: …" in str(caught.value)
        assert "long tail" not in str(caught.value)


def test_subset_and_revision_reach_the_hub(monkeypatch):
    asked = []
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **kwargs: asked.append((args, kwargs)))
    load_hub_dataset(Source(hub="nyu-mll/glue", subset="sst2", revision="abc"), "validation")
    assert asked == [(("nyu-mll/glue", "sst2"), {"split": "validation", "revision": "abc"})]
