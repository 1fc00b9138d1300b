"""What tells one state of a source from another, so that nothing is computed from files that have changed since."""

import os
from pathlib import Path
from typing import Any

from distill.config.data import DataSource, Source
from distill.errors import UserError
from distill.sources.source import locate


def identity_of(source: Source) -> dict[str, Any]:
    """What the source holds, in plain JSON values: the state of its files, the commit of its revision on the hub, or
    the sha256 of its wheels.

    A file's state is its name, size and time of change; of two files whose lines belong together it matters which is
    the source. Where a folder lies does not matter, and neither does what is said of its licence. Raises UserError
    where the source is not there.
    """
    sides = {"suffixes": list(source.suffixes)} if source.suffixes else {}
    if source.wheel:
        return {"sha256": list(source.sha256), "inside": source.inside, "member": source.member, **sides}
    if source.hub:
        if isinstance(source, DataSource):
            commit = commit_of(source.hub, source.revision, "dataset", ".gitattributes")
            return {"hub": source.hub, "subset": source.subset, "commit": commit}
        return {"hub": source.hub, "commit": commit_of(source.hub, source.revision, "model", "config.json")}
    if pair := files_beginning(source):
        return {"files": [state_of(file, file.parent) for file in pair], **sides}
    path = locate(source)
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {"files": [state_of(file, path) for file in files if file.is_file()], **sides}


def files_beginning(source: Source) -> list[Path]:
    """The files of both suffixes, packed or not, whose names begin with the path; none where it is a folder."""
    path = Path(os.path.expanduser(source.path or ""))
    if not source.suffixes or path.exists() or not path.parent.is_dir():
        return []
    beginnings = tuple(f"{path.name}.{suffix}." for suffix in source.suffixes)
    return sorted(file for file in path.parent.iterdir() if f"{file.name}.".startswith(beginnings))


def state_of(file: Path, root: Path) -> list[Any]:
    """Name below ``root``, bytes and time of change in ns."""
    status = file.stat()
    return [file.relative_to(root).as_posix(), status.st_size, status.st_mtime_ns]


def commit_of(hub: str, revision: str | None, kind: str, file: str) -> str:
    """The commit that a revision of a ``model`` or ``dataset`` on the hub, which has this file, stands for now; without
    a network, the one that was downloaded."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return Path(hf_hub_download(hub, file, revision=revision, repo_type=kind)).parent.name
    except (
        HFValidationError,
        EntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
        LocalEntryNotFoundError,
    ) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"hub {hub} at {revision or 'main'} cannot be had: {reason}") from error
    except (HfHubHTTPError, OSError) as error:
        raise UserError(f"hub {hub} at {revision or 'main'} cannot be reached: {error}") from error
