"""ONNX variants, their gates, and their figures."""

import json
from pathlib import Path
from typing import Any

from distill.results import Gate, Measurement, Parity, VariantResult, from_json, to_json
from distill.stages.artifacts import Artifact, load_units, plain, save_units
from distill.stages.context import Exported, Run, Texts, graph_file
from distill.tasks.task import Logits
from distill.text import rows_of

EXPORT_ROOMS = ("export", "runtime", "text", "tasks", "models", "evaluation", "metrics")
EXPORT_LIBRARIES = ("torch", "transformers", "onnx", "onnxruntime", "tokenizers")


def export(this: Run, model: Artifact, texts: Texts, what: str) -> Exported:
    """ONNX in every variant, parity against torch, gates against fp32, and answers on validation and test."""
    config, task, dataset = this.config, texts.task, texts.dataset

    def compute(directory: Path) -> None:
        from distill.evaluation import paired_difference
        from distill.evaluation.summary import statistics
        from distill.export.gate import gate
        from distill.export.onnx_export import export_onnx, graph_inputs
        from distill.export.parity import check_parity
        from distill.export.quantize import VARIANTS
        from distill.models import load_model
        from distill.runtime import ALONE, Graph, in_order, respond

        loaded = load_model(model.directory / "model", task)
        inputs = graph_inputs(loaded.model)
        source = directory / graph_file("fp32")
        source.parent.mkdir(exist_ok=True)
        export_onnx(loaded.model, source, config.export, inputs, task.outputs)
        questions = [*dataset.validation[:24]]
        parity = check_parity(
            loaded.model,
            Graph(source),
            texts.encoder,
            task,
            questions,
            texts.encoder.vocabulary_size,
            config.export.tolerance,
        )
        answers: dict[str, list[Logits]] = {}
        gates: dict[str, Gate] = {}
        for variant in config.export.variants:
            file = directory / graph_file(variant)
            if variant != "fp32":
                VARIANTS[variant](source, file)
            graph = Graph(file)
            for split, examples in (("validation", dataset.validation), ("test", dataset.test)):
                # One at a time: int8 scales activations over a batch, and an answer must not depend on its neighbours.
                named = f"{what} {variant} on {split}"
                units = in_order(respond(graph.forward(task), texts.encoder, task, examples, ALONE, named))
                save_units(directory / f"{split}-{variant}.npz", units)
                if split == "validation":
                    answers[variant] = units
            if variant != "fp32":
                both = [statistics(task, answers[v], dataset.validation)[None] for v in ("fp32", variant)]
                same = task.agreement(*(task.predictions(answers[v], dataset.validation) for v in ("fp32", variant)))
                drop = paired_difference(task.metric, both[0], both[1])
                gates[variant] = gate(drop, same, config.export.max_drop)
        (directory / "exported.json").write_text(
            json.dumps({"inputs": inputs, "parity": plain(parity), "gates": plain(gates)})
        )

    artifact = this.artifacts.stage(
        "export",
        f"export of the {what}",
        {
            "model": model.fingerprint,
            "export": config.export,
            "data": dataset.fingerprint,
            "task": task.section(),
            "tokenizer": texts.encoder.tokenizer.to_str(),
        },
        EXPORT_ROOMS,
        EXPORT_LIBRARIES,
        compute,
    )
    left = artifact.read("exported.json")
    gates = {name: from_json(Gate, json.dumps(gate)) for name, gate in left["gates"].items()}
    return Exported(artifact, from_json(Parity, json.dumps(left["parity"])), gates, tuple(left["inputs"]))


def variant_result(this: Run, exported: Exported, texts: Texts, name: Any, variant: str) -> VariantResult:
    """Accuracy of a variant on test, and its figures from a fresh process."""
    from distill.evaluation import score_over_seeds
    from distill.evaluation.summary import statistics

    units = load_units(exported.artifact.directory / f"test-{variant}.npz")
    score = score_over_seeds(texts.task.metric, statistics(texts.task, units, texts.dataset.test)[None])
    file = exported.file(variant)
    return VariantResult(
        model=name,
        variant=variant,
        shipped=name == "student" and exported.shipped(variant),
        parity=exported.parity if variant == "fp32" else None,
        gate=exported.gates.get(variant),
        score=score,
        measurement=measure_variant(this, exported, texts, name, variant) if this.config.measure.enabled else None,
        file_bytes=file.stat().st_size,
    )


def measure_variant(this: Run, exported: Exported, texts: Texts, name: str, variant: str) -> Measurement:
    """Size, latency, memory and energy on this machine."""
    settings = this.config.measure
    from distill.measure import Specification, machine, measure

    def compute(directory: Path) -> None:
        encoded = rows_of(texts.task.encode(texts.encoder, texts.dataset.test[:256]))
        specification = Specification(
            model=str(exported.file(variant).resolve()),
            inputs=exported.inputs,
            token_ids=tuple(tuple(map(int, e.input_ids)) for e in encoded),
            pad_id=texts.encoder.pad_id,
            threads=settings.threads,
            seconds=settings.seconds,
            watts_per_core=settings.watts_per_core,
            max_length=texts.encoder.max_length,
            second_lengths=tuple(e.second_length for e in encoded),
        )
        (directory / "measurement.json").write_text(to_json(measure(specification)))

    artifact = this.artifacts.stage(
        "measure",
        f"measure the {name} in {variant}",
        {
            "model": exported.artifact.fingerprint,
            "variant": variant,
            "measure": settings,
            "machine": machine(),
        },
        ("measure", "runtime"),
        ("onnxruntime",),
        compute,
    )
    return from_json(Measurement, (artifact.directory / "measurement.json").read_text())
