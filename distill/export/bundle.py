"""Writing a bundle so that there is never half of one.

It is assembled in a new folder beside its place, ``.NAME.new-PID``, flushed to the disk, and put in place. Where
nothing stands there, that is one rename. Where a bundle stands there, Linux exchanges the two folders in one step
(``renameat2``). Elsewhere it takes two renames, the old bundle to ``.NAME.old`` and the new one into its place: a run
killed between them leaves nothing in place, but the old bundle, whole, in ``.NAME.old``, and :func:`recover` puts it
back. The next write does that first, and removes what a killed run left.
"""

import ctypes
import errno
import glob
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from distill.errors import UserError
from distill.results import to_json
from distill.runtime import LARGER, MANIFEST, Manifest, load, sha256_of, stored, weights_file
from distill.runtime.manifest import TOKENIZER

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@dataclass(frozen=True)
class Content:
    """What a bundle is made of."""

    manifest: Manifest
    """Without sizes and sha256."""
    files: Mapping[str, Path]
    """For a path in the bundle the file to copy, with the weights that stand beside a graph."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """For a path in the bundle the text to write (UTF-8)."""

    @property
    def graphs(self) -> list[str]:
        """Their paths in the bundle."""
        return [file for roles in self.manifest.graphs.values() for file in roles.values()]

    @property
    def weights(self) -> dict[str, Path]:
        """Those that stand beside graphs."""
        return {weights_file(graph): path for graph in self.graphs for path in stored(self.files[graph])[1:]}

    @property
    def size(self) -> int:
        """Bytes of all files."""
        files = {**self.files, **self.weights}
        return sum(path.stat().st_size for path in files.values()) + sum(map(len, self.texts.values()))

    def check(self) -> None:
        """Raises ValueError where the manifest names a file that is not given."""
        if missing := {TOKENIZER, *self.graphs} - {*self.files, *self.texts}:
            raise ValueError(f"the manifest names files that are not given: {sorted(missing)}")

    def write(self, folder: Path, more: Sequence[str] = ()) -> None:
        """All of it, with size and sha256 of every file that is run or read to run it; of ``more``, which stand in the
        folder already, too."""
        for name, source in {**self.files, **self.weights}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / name)
        for name, text in self.texts.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        run = [TOKENIZER, *self.graphs, *self.weights, *more]
        whole = replace(
            self.manifest,
            sha256={name: sha256_of(folder / name) for name in run},
            sizes={name: (folder / name).stat().st_size for name in run},
        )
        (folder / MANIFEST).write_text(to_json(whole), encoding="utf-8")


def write_bundle(
    directory: Path,
    manifest: Manifest,
    files: Mapping[str, Path],
    texts: Mapping[str, str],
    larger: Content | None = None,
) -> None:
    """Puts a whole bundle at ``directory``, in the place of the one that stands there.

    It is made of ``manifest``, ``files`` and ``texts`` as :class:`Content` says; ``larger`` is the second model of a
    cascade, which is a bundle inside of it. Every variant has answered a question before the bundle is put in place.

    Raises UserError where ``directory`` is something else than a bundle, the disk has no room, or a variant does not
    answer; a ValueError where the manifest names a file that is not given. Two runs that write one bundle at the same
    time do not mix their files: one may fail.
    """
    directory, own = directory.resolve(), Content(manifest, files, texts)
    both = [own] if larger is None else [own, larger]
    for content in both:
        content.check()
    check_place(directory)
    recover(directory)
    for leftover in directory.parent.glob(f".{glob.escape(directory.name)}.new-*"):
        shutil.rmtree(leftover)
    if _old(directory).exists():
        shutil.rmtree(_old(directory))
    _check_room(directory, sum(content.size for content in both))
    new = directory.with_name(f".{directory.name}.new-{os.getpid()}")
    new.mkdir(parents=True)
    try:
        if larger is not None:
            larger.write(new / LARGER)
        own.write(new, [] if larger is None else [f"{LARGER}/{MANIFEST}"])
        for variant in manifest.graphs:
            load(new, variant, threads=1)
        for path in [*new.rglob("*"), new]:
            _flush(path)
        _put_in_place(new, directory)
    finally:
        shutil.rmtree(new, ignore_errors=True)  # after an exchange, the old bundle
    shutil.rmtree(_old(directory), ignore_errors=True)


def check_place(directory: Path) -> None:
    """Raises UserError where something that is no bundle stands at ``directory``: nobody's files are written over."""
    if directory.is_dir():
        if (directory / "bundle.json").exists() or not any(directory.iterdir()):
            return
        raise UserError(
            f"{directory} is not empty and not a bundle (it has no bundle.json); give another name=, or move it away"
        )
    if directory.exists():
        raise UserError(f"{directory} is a file, but a bundle is a folder; give another name=, or move it away")


def recover(directory: Path) -> None:
    """Puts the old bundle back where a run was killed while it replaced it without an exchange."""
    if not directory.exists() and _old(directory).is_dir():
        os.rename(_old(directory), directory)


def _old(directory: Path) -> Path:
    return directory.with_name(f".{directory.name}.old")


def _put_in_place(new: Path, directory: Path) -> None:
    if not directory.exists():
        os.rename(new, directory)
    elif not _exchange(new, directory):
        os.rename(directory, _old(directory))
        os.rename(new, directory)
    _flush(directory.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Exchanges two folders in one step; False where this system or file system cannot."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if sys.platform == "linux" else None
    if renameat2 is None:
        return False
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    error = ctypes.get_errno()
    if error in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(error, os.strerror(error), str(other))


def _check_room(directory: Path, needed: int) -> None:
    existing = next(parent for parent in directory.parents if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise UserError(
            f"the bundle takes {needed / 1e6:.1f} MB, but {existing} has {free / 1e6:.1f} MB free; "
            "make room, or choose another place with exports="
        )


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
