"""What a worker process is asked to measure."""

from dataclasses import dataclass

from distill.errors import UserError

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True)
class Specification:
    """A model file and the texts it is measured on: data for a fresh process, which could not be given a function.

    Every figure is of whole passes over the texts, so that two models are measured on the same work: a few hundred
    texts are enough. :func:`distill.results.to_json` and :func:`~distill.results.from_json` write and read it.
    """

    model: str
    """Path of an ONNX file. External data lies beside it."""
    inputs: tuple[str, ...]
    """Those of ``INPUTS`` that the graph takes; of a model that writes also the ``past.…`` that it keeps, and what its
    encoder gives it."""
    token_ids: tuple[tuple[int, ...], ...]
    """Real texts, encoded, not padded."""
    pad_id: int
    threads: int
    """Threads inside an operator. Operators run one after another."""
    seconds: float
    """How long each figure is measured for at least, after warm-up."""
    watts_per_core: float
    """For the estimate of energy where no counter exists."""
    max_length: int
    """In tokens: the longest that the model takes."""
    second_lengths: tuple[int, ...] = ()
    """How many tokens at the end of each text are of the second one of a pair. Empty: no text is a pair."""
    memory_only: bool = False
    """Peak memory alone, with onnxruntime's memory arena off."""
    encoder: str = ""
    """Path of the ONNX file that reads the source, of an encoder-decoder; ``model`` is then its decoder."""
    budget: float = 600.0
    """Seconds that a process may take. Where one pass over all texts would take longer, it is over fewer of them."""

    def __post_init__(self) -> None:
        """Raises UserError where a value cannot be measured with."""
        if not self.token_ids or not all(self.token_ids):
            raise UserError(
                "nothing to measure: there are no texts, or one has no tokens; give texts of at least one token"
            )
        kept = ("past.", "cross.", "encoder_attention_mask") if self.encoder else "past."
        read = {name for name in self.inputs if not name.startswith(kept)}
        if strange := read - set(INPUTS) or ("input_ids" not in read and {"no input_ids"}):
            raise UserError(
                f"the graph takes {sorted(strange)}; inputs are input_ids and some of {', '.join(INPUTS[1:])}"
            )
        if self.second_lengths and len(self.second_lengths) != len(self.token_ids):
            raise UserError(
                f"{len(self.second_lengths)} lengths of second texts are given for {len(self.token_ids)} texts; give "
                "one for each text, or none"
            )
        longest = max(map(len, self.token_ids))
        if longest > self.max_length:
            raise UserError(
                f"a text has {longest} tokens, the model takes {self.max_length}; truncate before measuring"
            )
        for name in ("threads", "seconds", "watts_per_core", "budget"):
            if getattr(self, name) <= 0:
                raise UserError(f"measure.{name} is {getattr(self, name)}; it must be more than 0")

    @property
    def role(self) -> str:
        """Of the graph."""
        return "decoder" if any(name.startswith("past.") for name in self.inputs) else "model"
