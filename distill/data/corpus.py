"""Texts to learn a language on, before any task."""

from collections.abc import Sequence

from distill.config.data import DataConfig, TaskConfig
from distill.config.models import PretrainingConfig
from distill.data.examples import load_texts
from distill.data.variants import normal_form, pieces_of
from distill.text.example import Example


def load_corpus(config: PretrainingConfig, training: Sequence[Example], held_out: Sequence[Example]) -> list[Example]:
    """The texts of ``config.texts``, or those of ``training`` where none are named; each once and alone, no variant of
    them in ``held_out``, at most ``config.limit``.

    Ordered by a digest of their content, which is as good as shuffled and the same at every run.
    Raises UserError as ``load_texts`` does.
    """
    found = list(training)
    if config.texts:
        columns = DataConfig(text=config.text, label=None)
        found = [e for source in config.texts for e in load_texts(source, columns, TaskConfig(), "student.pretraining")]
    known = {normal_form(piece) for e in held_out for piece in pieces_of(e)}
    unique = dict.fromkeys(p for e in found for p in pieces_of(e) if p.strip() and normal_form(p) not in known)
    order = sorted(unique, key=lambda text: Example(text).key)
    return [Example(text) for text in order[: config.limit]]
