"""The arms side by side: intervals, paired tests, verdicts."""

from distill.evaluation.contrasts import Compared, contrast, paired_difference, verdict
from distill.evaluation.intervals import gap_recovered, score_over_seeds, wilson

__all__ = [
    "Compared",
    "contrast",
    "gap_recovered",
    "paired_difference",
    "score_over_seeds",
    "verdict",
    "wilson",
]
