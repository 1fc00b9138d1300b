"""Scores of predictions, as per-example statistics and reducers over them; calibration. numpy alone."""

from distill.metrics.calibration import brier, expected_calibration_error, negative_log_likelihood
from distill.metrics.classification import accuracy, macro_f1
from distill.metrics.metric import Metric, Statistics
from distill.metrics.tokens import entities, entity_f1, token_accuracy

__all__ = [
    "Metric",
    "Statistics",
    "accuracy",
    "brier",
    "entities",
    "entity_f1",
    "expected_calibration_error",
    "macro_f1",
    "negative_log_likelihood",
    "token_accuracy",
]
