"""One training, and what the student minimises in it."""

from dataclasses import dataclass, field, replace
from types import UnionType

from distill.config.data import NO_MATTER
from distill.config.terms import HardTerm, InsideTerm, KlTerm, MseTerm, Points, Term


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
class ObjectiveConfig:
    """What the student minimises: a weighted sum of terms.

    Schedules lead through one training from its start, and balance its terms with each other. They hold for all terms
    or for none: see :meth:`without` and :attr:`steady`."""

    terms: tuple[Term, ...] = (HardTerm("hard", 0.1), KlTerm("kl", 0.9))
    on_policy: float = 1.0
    """Share of the steps in which the arm ``gkd`` learns on what the student writes itself; on the texts in others."""
    replacing: Points = ()
    """Chances, over the steps, that a layer of the student stands in for those of the teacher that it replaces, which
    are run otherwise (BERT-of-Theseus). Empty: the student's layers alone."""
    states_gb: float = field(default=0.0, metadata=NO_MATTER)
    """Terms that look inside of the teacher read what happens there from the disk, where that takes no more GB (10⁹
    bytes) than this: the teacher is asked once about each text. 0: it runs beside the students, in every step."""

    def without(self, kind: type | UnionType) -> "ObjectiveConfig":
        """Without the terms of a kind. Where there are some, those that are left are steady: in the steps that a
        schedule gave to the others, there might be nothing to learn."""
        left = tuple(term for term in self.terms if not isinstance(term, kind))
        return self if len(left) == len(self.terms) else replace(self, terms=left).steady

    @property
    def steady(self) -> "ObjectiveConfig":
        """With each term at its own weight in every step, and the teacher's logits as they are: for a model that was
        trained already, which is trained on, or only looked at."""
        terms = (replace(term, schedule=()) for term in self.terms)
        return replace(self, terms=tuple(replace(t, growth=()) if isinstance(t, MseTerm) else t for t in terms))

    @property
    def along(self) -> bool:
        """Whether the teacher runs along while the student is trained."""
        return self.looks_inside or bool(self.replacing)

    @property
    def compares_answers(self) -> bool:
        """Whether a term with a weight reads the teacher's answers."""
        return any(term.counts and not isinstance(term, HardTerm | InsideTerm) for term in self.terms)

    @property
    def looks_inside(self) -> bool:
        """Whether a term reads more of the teacher than its answers."""
        return any(isinstance(term, InsideTerm) for term in self.terms)

    @property
    def smoothing(self) -> float:
        """Of the hard term; 0 where there is none."""
        return next((term.smoothing for term in self.terms if isinstance(term, HardTerm)), 0.0)
