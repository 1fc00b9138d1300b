"""The report of a run: on the terminal, as HTML, as a model card. Reads results, computes none."""

from distill.report.findings import losses_to_floors
from distill.report.html import render_html
from distill.report.model_card import render_card
from distill.report.search import print_search
from distill.report.target import missed_in_words
from distill.report.terminal import compare, print_table

__all__ = [
    "compare",
    "losses_to_floors",
    "missed_in_words",
    "print_search",
    "print_table",
    "render_card",
    "render_html",
]
