"""Scores of predictions, as per-example statistics and reducers over them; calibration; detection. numpy alone."""

from distill.metrics.calibration import brier, expected_calibration_error, negative_log_likelihood
from distill.metrics.classification import accuracy, macro_f1
from distill.metrics.detection import auroc
from distill.metrics.language import TokenPredictions, bits_per_byte, next_token_accuracy, perplexity
from distill.metrics.metric import Metric, Statistics
from distill.metrics.multilabel import micro_f1, multilabel_macro_f1, subset_accuracy
from distill.metrics.regression import pearson, spearman
from distill.metrics.spans import span_exact_match, span_f1
from distill.metrics.tokens import entities, entity_f1, token_accuracy
from distill.metrics.translation import bleu, chrf

__all__ = [
    "Metric",
    "Statistics",
    "TokenPredictions",
    "accuracy",
    "auroc",
    "bits_per_byte",
    "bleu",
    "brier",
    "chrf",
    "entities",
    "entity_f1",
    "expected_calibration_error",
    "macro_f1",
    "micro_f1",
    "multilabel_macro_f1",
    "negative_log_likelihood",
    "next_token_accuracy",
    "pearson",
    "perplexity",
    "span_exact_match",
    "span_f1",
    "spearman",
    "subset_accuracy",
    "token_accuracy",
]
