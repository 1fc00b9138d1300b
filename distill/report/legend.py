"""What the figures of a report mean: titles and units of metrics."""

from distill.formatting import score
from distill.results import Report, scale_of

TITLES = {
    "f1": "F1",
    "micro_f1": "micro F1",
    "macro_f1": "macro F1",
    "entity_f1": "entity F1",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "bleu": "BLEU",
    "chrf": "chrF",
    "next_token_accuracy": "next-token accuracy",
    "negative_log_likelihood": "negative log-likelihood",
    "out_of_scope_auroc": "out-of-scope AUROC",
}
"""Metrics whose title is more than their name with spaces."""

CORRELATIONS = ("pearson", "spearman")


def metric_title(name: str) -> str:
    """The metric as people read it: ``macro_f1`` is ``macro F1``."""
    return TITLES.get(name, name.replace("_", " "))


def metric_unit(name: str, report: Report) -> str:
    """``%``; ``× 100`` for correlations and areas, which are no shares of anything; ``nats``; empty where there is
    none."""
    if name == "negative_log_likelihood":
        return "nats"
    return report.task_in_words.agreement_unit if name == "agreement" else scale_of(name).unit


def score_unit(report: Report) -> str:
    """The unit of the primary metric."""
    return metric_unit(report.metric, report)


def score_in_words(report: Report, fraction: float | None) -> str:
    """``86.3 %``, or ``86.3`` where the primary metric is a correlation, ``0.912`` where it is in bits per byte."""
    return score(fraction, report.scale) + (" %" if score_unit(report) == "%" else "")


def metric_in_words(report: Report) -> str:
    """The primary metric in a sentence: ``accuracy``, ``Pearson correlation × 100``, or ``perplexity (lower is
    better)``."""
    title = metric_title(report.metric)
    if report.metric in CORRELATIONS:
        title += " correlation"
    if report.scale.lower_is_better:
        title += " (lower is better)"
    return f"{title} × 100" if score_unit(report) == "× 100" else title
