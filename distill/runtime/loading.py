"""Loading a bundle of any kind."""

from numbers import Integral
from pathlib import Path

from distill.errors import UserError, nearest
from distill.runtime.bundle import Bundle, WritingBundle
from distill.runtime.cascade import CascadeBundle
from distill.runtime.manifest import Manifest, read_manifest


def load(
    directory: str | Path, variant: str | None = None, threads: int | None = None, sha256: str | None = None
) -> Bundle:
    """Loads a bundle: its default variant, or the one named, with ``threads`` of onnxruntime, or as many as there are
    cores.

    All that ``bundle.json`` says is checked, and its tokenizer and graph answer a question before this returns. Sizes
    of files are bounded, texts that a tokenizer makes much longer are refused; but a graph can loop, and take any time
    and memory that it likes: load what you trust. ``sha256`` is the digest of a ``bundle.json`` that you trust, which
    names those of all other files.

    Raises UserError where the folder is no bundle, is incomplete or was altered, has no such variant, or one that this
    processor does not run, and for ``threads`` that are no whole number from 1 on.
    """
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, Integral) or threads < 1):
        raise UserError(f"threads is {threads!r}; give a whole number, at least 1, or None for all cores")
    path = Path(directory)
    try:
        manifest = read_manifest(path, sha256)
        if variant is not None and variant not in manifest.graphs:
            raise UserError(f"{path} has no variant '{variant}'{nearest(variant, manifest.graphs)}")
        return kind_of(manifest)(path, manifest, variant or manifest.default_variant, threads)
    except OSError as error:
        raise UserError(f"{error.filename or path} cannot be read: {error.strerror or error}") from error


def kind_of(manifest: Manifest) -> type[Bundle]:
    """What a bundle is at work."""
    if manifest.cascade is not None:
        return CascadeBundle
    return Bundle if manifest.generation is None else WritingBundle
