"""What the figures of a report mean: titles and units of metrics, agreement by task, windows."""

from distill.report.formatting import percent
from distill.results import Report

TITLES = {
    "f1": "F1",
    "micro_f1": "micro F1",
    "macro_f1": "macro F1",
    "entity_f1": "entity F1",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "negative_log_likelihood": "negative log-likelihood",
    "out_of_scope_auroc": "out-of-scope AUROC",
}
"""Metrics whose title is more than their name with spaces."""

CORRELATIONS = ("pearson", "spearman")

AGREEMENT = {
    "token-classification": "same tag as the teacher, word by word",
    "multi-label-classification": "same set of labels as the teacher",
    "question-answering": "same answer text as the teacher",
    "regression": "Pearson correlation with the teacher's numbers, × 100",
    "sentence-embedding": "Pearson correlation with the teacher's similarities, × 100",
}
"""What is compared with the teacher; in other tasks the answer."""


def metric_title(name: str) -> str:
    """The metric as people read it: ``macro_f1`` is ``macro F1``."""
    return TITLES.get(name, name.replace("_", " "))


def metric_unit(name: str, task: str) -> str:
    """``%``; ``× 100`` for correlations and areas, which are no shares of anything; ``nats``."""
    if name == "negative_log_likelihood":
        return "nats"
    if name in (*CORRELATIONS, "out_of_scope_auroc"):
        return "× 100"
    return agreement_unit(task) if name == "agreement" else "%"


def score_unit(report: Report) -> str:
    """The unit of the primary metric."""
    return metric_unit(report.metric, report.task)


def score_in_words(report: Report, fraction: float | None) -> str:
    """``86.3 %``, or ``86.3`` where the primary metric is a correlation."""
    return percent(fraction) + (" %" if score_unit(report) == "%" else "")


def metric_in_words(report: Report) -> str:
    """The primary metric in a sentence: ``accuracy``, or ``Pearson correlation × 100``."""
    title = metric_title(report.metric)
    if report.metric in CORRELATIONS:
        title += " correlation"
    return title if score_unit(report) == "%" else f"{title} × 100"


def agreement_in_words(task: str) -> str:
    """What agreement compares."""
    return AGREEMENT.get(task, "same answer as the teacher")


def agreement_unit(task: str) -> str:
    """``%`` of answers, or ``× 100`` where agreement is a correlation."""
    return "× 100" if "correlation" in agreement_in_words(task) else "%"


def windows_share(report: Report) -> int | None:
    """Tokens that neighbouring windows of a long text share; None where long texts are cut, as texts to embed are."""
    stride: int | None = report.provenance.settings.get("data", {}).get("stride")
    return None if report.task == "sentence-embedding" else stride
