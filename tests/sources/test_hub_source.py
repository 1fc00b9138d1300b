import datasets
import huggingface_hub
import pytest

from distill.config.data import DataSource, Source
from distill.errors import UserError
from distill.sources import hub_splits, identity_of, load_hub_dataset


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


def test_a_data_set_is_looked_up_among_data_sets_and_a_model_among_models(monkeypatch):
    """Neither has the file of the other."""
    files = {"model": "config.json", "dataset": ".gitattributes"}

    def download(hub: str, file: str, *, revision: str | None, repo_type: str) -> str:
        assert file == files[repo_type]
        return f"/hub/{repo_type}s--{hub}/snapshots/commit-of-{revision}/{file}"

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    data = DataSource(hub="someone/texts", subset="some", revision="v1")
    assert identity_of(data) == {"hub": "someone/texts", "subset": "some", "commit": "commit-of-v1"}
    assert identity_of(Source(hub="someone/bert")) == {"hub": "someone/bert", "commit": "commit-of-None"}


def test_an_id_that_is_none_is_refused_in_words():
    for hub in ("https://huggingface.co/google-bert/bert-base-uncased", "my models/bert"):
        with pytest.raises(UserError, match="cannot be had: Repo id must"):
            identity_of(Source(hub=hub))
