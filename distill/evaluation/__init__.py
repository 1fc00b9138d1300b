"""The arms side by side: intervals, paired tests, verdicts."""

from distill.evaluation.contrasts import contrast, paired_difference, randomisation_test, verdict
from distill.evaluation.intervals import bootstrap_seeds, gap_recovered, wilson

__all__ = [
    "bootstrap_seeds",
    "contrast",
    "gap_recovered",
    "paired_difference",
    "randomisation_test",
    "verdict",
    "wilson",
]
