import dataclasses
import re

import yaml

from distill.report import render_card
from distill.results import Report, TaskInWords


def front_matter(card: str) -> dict[str, object]:
    _, head, _ = card.split("---\n", 2)
    loaded = yaml.safe_load(head)
    assert isinstance(loaded, dict)
    return loaded


def test_front_matter_is_what_the_hub_reads(report: Report) -> None:
    head = front_matter(render_card(report))
    assert head["license"] == "apache-2.0"
    assert head["pipeline_tag"] == "text-classification"
    assert head["metrics"] == ["accuracy"]
    assert "knowledge-distillation" in head["tags"]  # type: ignore[operator]


def test_licence_unknown_to_the_hub_is_other_with_its_name(hostile: Report) -> None:
    head = front_matter(render_card(hostile))
    assert head["license"] == "other"
    assert head["license_name"] == hostile.teacher_licence


def test_results_table_has_a_line_for_each_row(report: Report) -> None:
    lines = [line for line in render_card(report).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 5 + 1 + 5
    assert {line.count("|") for line in lines} == {9}
    assert "| student int8 | 80.4 ± 1.9 | – | – | 3.4 M | 3.60 | 0.94 | 71.0 |" in lines
    assert "| *seed 2, exported* | 80.7 | – | – | – | – | – | – |" in lines


def test_names_break_neither_table_nor_page(hostile: Report) -> None:
    card = render_card(hostile)
    assert "<script" not in re.sub(r"(?s)^---.*?\n---\n", "", card)
    cells = {len(re.findall(r"(?<!\\)\|", line)) for line in card.splitlines() if line.startswith("|")}
    assert len(cells) == 1


def test_energy_stands_with_its_provenance_and_licences_are_named(report: Report) -> None:
    card = render_card(report)
    assert "student int8: 11.5 J per 1,000 texts, estimated\n" in card
    assert "training, students: – in 4 min 12 s, unavailable (no sensor)" in card
    assert "unknown (snippets of reviews, research use)" in card
    assert "student int4 fell and is not in this folder" in card


def test_a_variant_that_not_every_processor_runs_is_named(report: Report) -> None:
    int8 = next(v for v in report.variants if v.model == "student" and v.variant == "int8")
    own = dataclasses.replace(int8, variant="int8_vnni", needs=("avx_vnni", "avx512_vnni"))
    card = render_card(dataclasses.replace(report, variants=(*report.variants, own)))
    assert r"- int8\_vnni runs where the processor has avx\_vnni or avx512\_vnni, and is refused elsewhere." in card
    unshipped = dataclasses.replace(own, shipped=False)
    for others in (report.variants, (*report.variants, unshipped)):
        assert "where the processor has" not in render_card(dataclasses.replace(report, variants=others))


def test_nothing_known_makes_a_card(sparse: Report) -> None:
    card = render_card(sparse)
    assert not re.search(r"\bnan\b", card, flags=re.IGNORECASE)


def test_task_without_a_plain_example_still_says_how_to_use(report: Report) -> None:
    card = render_card(dataclasses.replace(report, task="something-new", task_in_words=TaskInWords()))
    assert "distill predict FOLDER" in card
    assert "pipeline_tag" not in front_matter(card)
    assert "onnxruntime.InferenceSession" not in card
