import dataclasses
import math
from typing import Any

import pytest
from example_report import example_report

from distill.results import Estimate, Report


@pytest.fixture
def report() -> Report:
    return example_report()


@pytest.fixture
def hostile() -> Report:
    """Names that HTML, Markdown, rich and matplotlib would take for markup, wherever a report has a string."""
    renamed: Report = _rename(example_report(), lambda text: text + HOSTILE, keep=KEPT)
    return renamed


@pytest.fixture
def sparse() -> Report:
    """What an interrupted or label-less run may leave: NaN, nothing measured, no linear arm."""
    report = example_report()
    nan = Estimate(math.nan, math.nan, math.nan, "none")
    arms = tuple(
        dataclasses.replace(
            arm,
            score=nan,
            gap_recovered=nan,
            agreement=math.nan,
            parameters=None,
            seeds=tuple(dataclasses.replace(s, test=math.nan, validation=math.nan, curve=()) for s in arm.seeds),
        )
        for arm in report.arms[1:]
    )
    variants = tuple(dataclasses.replace(v, score=None, measurement=None, file_bytes=0) for v in report.variants)
    contrasts = tuple(dataclasses.replace(c, difference=nan, p_value=math.nan) for c in report.contrasts)
    data = dataclasses.replace(report.data, majority_share=None, max_length=0)
    return dataclasses.replace(report, arms=arms, variants=variants, contrasts=contrasts, data=data, costs=())


HOSTILE = "<script>alert('x')</script>[red]$x_$|`\"&"
KEPT = {"how", "model", "task", "task_in_words", "exported_arm", "unit"}


def _rename(value: Any, change: Any, keep: set[str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, tuple):
        return tuple(_rename(v, change, keep) for v in value)
    if isinstance(value, dict):
        return {change(k): _rename(v, change, keep) for k, v in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(
            value,
            **{
                f.name: _rename(getattr(value, f.name), change, keep)
                for f in dataclasses.fields(value)
                if f.name not in keep
            },
        )
    return value
