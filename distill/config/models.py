"""What models there are: teachers, students, their sizes, vocabularies and tokenizers, one dataclass a choice."""

from dataclasses import dataclass, field
from typing import Literal

from distill.config.data import NO_MATTER, DataSource, Source
from distill.config.training import TrainConfig


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
    """Each process of the run has a part of its weights, and all answer together: for one too large for a device."""


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
    source: DataSource
    """CSV (with JSON in the cell), JSON Lines or Parquet with the data's text columns and ``column``."""
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
    the teacher, on texts without labels. ``train.tokens`` and ``train.checkpoint_seconds`` hold here, too."""

    texts: tuple[DataSource, ...] = ()
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
    """0: half of the teacher's; -1: all. Of an encoder-decoder, ``layers`` and ``count`` are of its encoder."""
    spread: Literal["first", "middle"] = "first"
    """Which one is taken of each of ``count`` groups of neighbouring layers: of six, two are 0 and 3, or 1 and 4. The
    first of models whose layer 0 is unlike the others (T5, ModernBERT)."""
    decoder_layers: tuple[int, ...] = ()
    """Which layers of the decoder of an encoder-decoder. Empty: ``decoder_count`` of them, evenly spaced."""
    decoder_count: int = 0
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
