import dataclasses
import io
import re

import pytest
from example_report import cascade
from rich.cells import cell_len

from distill.formatting import number
from distill.report import compare, print_table
from distill.report.findings import shipped_variant
from distill.results import Figure, Report


def printed(report: Report) -> str:
    stream = io.StringIO()
    print_table(report, stream)
    return stream.getvalue()


def row(text: str, name: str) -> list[str]:
    return next(line for line in text.splitlines() if line.startswith(name)).removeprefix(name).split()


def with_energy(report: Report, energy: Figure) -> Report:
    variants = tuple(
        dataclasses.replace(v, measurement=v.measurement and dataclasses.replace(v.measurement, energy=energy))
        for v in report.variants
    )
    return dataclasses.replace(report, variants=variants)


@pytest.mark.parametrize("kind", ["report", "hostile", "sparse"])
def test_no_line_is_wider_than_100_columns(kind: str, request: pytest.FixtureRequest) -> None:
    lines = printed(request.getfixturevalue(kind)).splitlines()
    assert max(map(cell_len, lines)) == 100


def test_width_does_not_follow_the_terminal(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = printed(report)
    monkeypatch.setenv("COLUMNS", "40")
    assert printed(report) == wide


def test_rows_stand_in_order_with_the_exported_seed_below_its_arm(report: Report) -> None:
    names = [line.strip() for line in printed(report).split("─\n")[1].split("Students' arms")[0].splitlines()]
    starts = [" ".join(name.split()[:2]) for name in names if name]
    assert [s.split()[0] for s in starts[:5]] == ["linear", "teacher", "hard", "soft", "soft+transfer"]
    assert starts[5] == "└ seed"
    assert starts[6:] == ["teacher fp32", "teacher int8", "student fp32", "student int8", "✗ student"]


def test_figures_are_those_of_the_report_and_missing_ones_are_dashes(report: Report) -> None:
    text = printed(report)
    assert row(text, "linear") == ["73.8", "±", "1.4", "–", "77.1", "–", "–", "–", "–", "–"]
    assert row(text, "soft+transfer") == ["80.1", "±", "1.4", "60", "89.7", "800", "3.4", "M", "–", "–", "–"]
    assert row(text, "└ seed 2, exported") == ["80.7", "–", "–", "–", "–", "–", "–", "–"]
    assert row(text, "student int8") == ["80.4", "±", "1.9", "–", "–", "–", "3.4", "M", "3.60", "0.94", "71.0"]


def test_fallen_variant_verdicts_and_warnings_are_said_in_words(report: Report) -> None:
    text = printed(report)
    assert "student int4: gate: loses 4.2 points on validation, at most 1.0 allowed" in text
    assert "soft against hard: no difference shown (+0.5 points [−0.6, +1.6], p = 0.412)" in text
    # the list is wrapped
    assert "[+3.4, +6.6], p < 0.001; 80 % power at 2.3 points)" in " ".join(text.split())
    assert "9 points higher on its training texts" in text
    assert "25.2 times smaller" in text  # 90.8 / 3.6


def test_shipped_variant_that_loses_to_linear_is_warned_of(report: Report) -> None:
    linear = dataclasses.replace(
        report.arms[0], score=dataclasses.replace(report.arms[0].score, value=0.805, low=0.79, high=0.82)
    )
    text = printed(dataclasses.replace(report, arms=(linear, *report.arms[1:])))
    assert (
        "what is shipped loses to linear, which scores 80.5 %: soft+transfer (mean over seeds) 80.1 %, student int8 "
        "80.4 %."
    ) in " ".join(text.split())
    assert "loses to linear" not in printed(report)


def test_it_is_said_that_arms_and_files_are_computed_in_different_precision(report: Report) -> None:
    for why, told in (
        ("cpu, 2 threads, bf16: 2.4 times faster than fp32 in a probe of 3 steps", True),
        ("cpu, 2 threads, fp32: bf16 took 0.95 of its time in a probe of 3 steps", False),
        ("cuda, 1 thread, bf16: as asked for", True),
    ):
        provenance = dataclasses.replace(report.provenance, machine={**report.provenance.machine, "training": why})
        text = " ".join(printed(dataclasses.replace(report, provenance=provenance)).split())
        assert ("arms are computed in bf16, as they were trained, files as onnxruntime runs them" in text) is told


def test_estimates_never_stand_in_the_terminal_table(report: Report) -> None:
    text = printed(report)
    assert "J/1,000" not in text
    assert "19.9" not in text
    assert "11.5" not in text
    assert "Energy was estimated" in text
    variants = tuple(
        dataclasses.replace(
            v,
            measurement=v.measurement
            and dataclasses.replace(v.measurement, memory_peak=Figure(777.0, "MB", "estimated", "guess")),
        )
        for v in report.variants
    )
    assert "777" not in printed(dataclasses.replace(report, variants=variants))


def test_measured_energy_has_a_column(report: Report) -> None:
    text = printed(with_energy(report, Figure(33.3, "J per 1,000 texts", "measured", "RAPL")))
    assert "J/1,000" in text
    assert row(text, "student int8")[-1] == "33.3"
    assert max(map(cell_len, text.splitlines())) == 100
    assert "Energy was estimated" not in text


def test_long_names_are_shortened_in_their_middle_and_keep_to_one_line(report: Report) -> None:
    name = "soft+transfer+hidden-states-of-every-layer (rate 1e-3)"
    arms = (*report.arms[:2], dataclasses.replace(report.arms[2], name=name), *report.arms[3:])
    text, short = printed(dataclasses.replace(report, arms=arms)), printed(report)
    table_lines = text[: text.index("Students'")].splitlines()
    assert len(table_lines) == len(short[: short.index("Students'")].splitlines())
    line = next(line for line in table_lines if "(rate 1e-3)" in line)
    assert "…" in line
    assert line.startswith("soft+transfer…")


def test_nothing_known_prints_dashes_and_no_nan(sparse: Report) -> None:
    text = printed(sparse)
    assert "nan" not in text.lower()
    assert "–" in row(text, "hard")


def test_names_are_not_taken_for_rich_markup(hostile: Report) -> None:
    assert "[red]" in printed(hostile)


def test_compare_puts_runs_side_by_side_in_100_columns(report: Report, hostile: Report, sparse: Report) -> None:
    stream = io.StringIO()
    slower = dataclasses.replace(
        report,
        name="quickstart-student-lstm",
        provenance=dataclasses.replace(report.provenance, machine={"processor": "another"}),
    )
    compare([report, slower, hostile, sparse], stream)
    text = stream.getvalue()
    assert max(map(cell_len, text.splitlines())) == 100
    assert row(text, "quickstart ") == [
        "73.8",
        "84.2",
        "80.1",
        "±",
        "1.4",
        "60",
        "80.4",
        "int8",
        "3.60",
        "0.94",
        "71.0",
    ]
    assert "measured on different machines" in text


def test_compare_of_like_runs_warns_of_nothing(report: Report) -> None:
    stream = io.StringIO()
    compare([report, report], stream)
    assert "Warnings" not in stream.getvalue()


def test_compare_says_of_runs_of_other_splits_that_they_are(report: Report) -> None:
    def of(seed: int) -> Report:
        settings = {**report.provenance.settings, "data": {"split_seed": seed, "labelled": 9 + seed}}
        return dataclasses.replace(report, provenance=dataclasses.replace(report.provenance, settings=settings))

    stream = io.StringIO()
    compare([of(0), of(7)], stream)
    assert "the runs differ in data.split_seed: their test texts may be others" in stream.getvalue()


def test_compare_shows_what_a_bundle_answers_with(report: Report) -> None:
    both = dataclasses.replace(report, name="both", cascade=cascade())
    variants = tuple(dataclasses.replace(v, shipped=v.model == "teacher") for v in report.variants)
    teacher = dataclasses.replace(report, name="other", variants=variants)
    stream = io.StringIO()
    compare([both, teacher], stream)
    found = both.cascade
    assert found is not None
    of_both, of_teacher = (row(stream.getvalue(), name) for name in ("both ", "other "))
    assert of_both[6:] == ["83.5", "cascade", number(found.size.value), "–", "–"]
    assert of_teacher[7:9] == ["teacher", "int8"]
    print_table(teacher, stream)
    assert f"seed {report.exported_seed}, not shipped" in stream.getvalue()


def test_control_characters_of_a_report_do_not_reach_a_terminal(report: Report) -> None:
    stream = io.StringIO()
    hostile = dataclasses.replace(report, name="a\x1b[2J", warnings=("b\x9b31m", *report.warnings))
    print_table(hostile, stream)
    compare([hostile], stream)
    assert "a\ufffd[2J" in stream.getvalue()
    assert not re.search(r"[\x1b\x9b]", stream.getvalue())


def test_standard_output_is_the_default(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    print_table(report)
    assert "soft+transfer" in capsys.readouterr().out


def test_a_reader_that_has_seen_enough_is_the_commands_matter(report: Report) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        print_table(report, Closed())


def test_the_headline_is_about_a_variant_that_runs_everywhere(report: Report) -> None:
    (small_one,) = (v for v in report.variants if v.model == "student" and v.variant == "int8")
    smaller = dataclasses.replace(
        small_one, variant="int8_vnni", needs=("avx512_vnni",), measurement=None, file_bytes=small_one.file_bytes // 2
    )
    with_it = dataclasses.replace(report, variants=(*report.variants, smaller))
    found = shipped_variant(with_it)
    assert found is not None
    assert found.variant == "int8"
