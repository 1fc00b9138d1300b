"""The main job, top to bottom: data, teacher, signal, students, compression, evaluation, graphs, measurement, report.

Each line is a stage, or a few that belong together, in ``distill/stages``: values in, values out. Heavy imports stand
inside the stages, so that a run with nothing to do ends in seconds.
"""

from datetime import UTC, datetime

from distill.config import Config
from distill.results import Search
from distill.stages.assistants import train_assistants
from distill.stages.augmentation import augment_texts
from distill.stages.checks import check_before
from distill.stages.choosing import choose_transfer
from distill.stages.comparison import evaluate
from distill.stages.compressible import try_compression
from distill.stages.compressing import compress
from distill.stages.context import Lesson, open_run
from distill.stages.cross_fitting import cross_fit
from distill.stages.delivery import Outcome, deliver
from distill.stages.ensemble import mix_teachers
from distill.stages.exporting import export_student, export_teacher, variant_results
from distill.stages.findings import Findings
from distill.stages.floor import fit_floor, train_static
from distill.stages.importance import rank_parts
from distill.stages.looking import look_inside
from distill.stages.pretraining import look_at_corpora, pretrain_student
from distill.stages.reporting import make_report
from distill.stages.signal import ask_teacher, label_by_teacher, write_by_teacher
from distill.stages.states import keep_states
from distill.stages.streaming import label_stream, sieve_stream
from distill.stages.students import choose, train_arms
from distill.stages.switching import join_models, switch_over
from distill.stages.target import meet_target
from distill.stages.teacher import prepare_teacher
from distill.stages.texts import prepare_student, read_data, read_texts, settle_arms
from distill.stages.vectors import make_vectors

__all__ = ["Outcome", "run"]


def run(config: Config, search: Search | None = None) -> Outcome:
    """The main job; ``search`` is what chose this recipe, where something did."""
    started = datetime.now(UTC)
    check_before(config)
    this = open_run(config)
    dataset = read_data(this)
    this = settle_arms(this, dataset)
    texts, sieved = read_texts(this, dataset), sieve_stream(this, dataset)
    look_at_corpora(this, texts)
    try_compression(this, texts)
    teacher = prepare_teacher(this, texts)
    texts = augment_texts(this, texts, teacher)
    signal = cross_fit(this, texts, ask_teacher(this, texts, teacher))
    signal = mix_teachers(this, texts, signal)
    texts = label_by_teacher(choose_transfer(this, texts, signal), signal)
    teachers = export_teacher(this, texts, signal)
    written = write_by_teacher(this, texts, teacher)
    own = prepare_student(this, texts, written)
    pretrained, vectors = pretrain_student(this, texts), make_vectors(this, own, signal)
    streamed = label_stream(this, texts, own, signal, sieved)
    importance, assistants = rank_parts(this, texts, signal), train_assistants(this, texts, signal)
    lesson = Lesson(own, signal, pretrained, written, vectors, importance, assistants, streamed)
    lesson = keep_states(this, lesson)
    arms = train_arms(this, lesson)
    chosen = compress(this, lesson, choose(arms))
    linear, static = fit_floor(this, texts), train_static(this, texts, signal, streamed)
    comparison = evaluate(this, lesson, linear, static, arms)
    made = (*teachers, export_student(this, lesson, chosen))
    target, exported, variants = meet_target(this, lesson, made, variant_results(this, made), linear, static)
    joined = join_models(this, teachers, exported, variants)
    switched = switch_over(this, signal, comparison, exported, joined)
    inside = look_inside(this, texts, lesson, chosen)
    findings = Findings(lesson, linear, static, arms, comparison, chosen, variants, inside, joined, switched, target)
    report = make_report(this, findings, started, search)
    return deliver(this, report, findings, exported)
