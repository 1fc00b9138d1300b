"""Chains of steps, told apart by ``name``: of making texts, and of compressing a trained model."""

from dataclasses import dataclass
from typing import Literal

from distill.config.training import TrainConfig


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
    multiplications: float | None = None
    """The same of the multiply-accumulate operations that a token takes in linear layers, which latency follows."""


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
