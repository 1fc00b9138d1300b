"""Names in a plot stand beside one another, not upon one another."""

import dataclasses
import itertools

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from distill.report.tradeoffs import front, name_points, score_against_latency, score_against_size
from distill.results import Report, TargetResult

CLOSE = [(1.64, 32.9, "int8"), (1.644, 32.8, "int8_shortlist"), (1.87, 32.9, "fp32"), (2.3, 33.1, "int4_shortlist")]


@pytest.mark.parametrize("points", [CLOSE, CLOSE[::-1], [(1, 30, "a"), (1, 30, "b"), (1, 30, "c")]])
def test_no_name_covers_another(points: list[tuple[float, float, str]]) -> None:
    figure = Figure(figsize=(5.4, 3.9), layout="constrained")
    canvas, axes = FigureCanvasAgg(figure), figure.subplots()
    axes.set_xscale("log")
    axes.plot([0.5, 20], [29, 39])
    figure.draw_without_rendering()
    name_points(axes, points, figure.dpi)
    canvas.draw()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert [text.get_text() for text in axes.texts] == [name for _, _, name in sorted(points)]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


def test_a_name_alone_stands_at_its_point() -> None:
    figure = Figure()
    axes = figure.subplots()
    name_points(axes, [(0.5, 0.5, "fp32")], figure.dpi)
    (text,) = axes.texts
    assert text.get_position() == pytest.approx((0, 6))


def test_the_front_is_what_no_other_beats_without_costing_more() -> None:
    points = [(3.0, 0.8), (1.0, 0.7), (2.0, 0.7), (3.0, 0.75), (9.0, 0.8), (20.0, 0.9)]
    beaten = [one for one in points if any(c <= one[0] and s >= one[1] and (c, s) != one for c, s in points)]
    assert front(points) == sorted(set(points) - set(beaten)) == [(1.0, 0.7), (3.0, 0.8), (20.0, 0.9)]


def test_a_target_stands_in_the_plot_of_what_it_limits(report: Report) -> None:
    asked = dataclasses.replace(report, target=TargetResult({"size_mb": 40.0}, (), "student int8", {}, True, ()))
    of_size, of_latency = score_against_size(asked), score_against_latency(asked)
    assert of_size is not None
    assert of_latency is not None
    assert ">target<" in of_size.svg
    assert ">target<" not in of_latency.svg
    assert ">front<" in of_latency.svg
    without = score_against_size(report)
    assert without is not None
    assert ">target<" not in without.svg
