"""One plain loop on accelerate, for teachers and students alike."""

import dataclasses
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from distill.config import TrainConfig
from distill.data.batches import plan_epoch
from distill.errors import UserError
from distill.models.answers import answer_of, forward_of
from distill.objectives import Objective
from distill.progress import track
from distill.results import CurvePoint
from distill.runtime import in_order, respond
from distill.tasks import Task
from distill.tasks.task import Logits
from distill.text import Example, Reading
from distill.training.batching import make_batch
from distill.training.checkpoints import load_checkpoint, save_checkpoint
from distill.training.soft_labels import SoftLabelStore

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class TrainingResult:
    """How a training went. The model holds the weights of the best step."""

    validation: float
    thresholds: tuple[float, ...]
    """What the task chose on validation at the best step; empty where it chooses nothing."""
    best_step: int
    steps: int
    seconds: float
    curve: tuple[CurvePoint, ...]


def predict(
    model: nn.Module,
    encoder: Reading,
    task: Task,
    examples: Sequence[Example],
    accelerator: Accelerator,
    what: str = "",
    tokens: int = 4096,
) -> list[Logits]:
    """Logits of each example, [U, C] of float32, in the order given. The model is put into eval mode.

    Batches have ``tokens`` at most, padding and windows counted; larger ones are slower on a CPU.
    """
    forward = forward_of(model.eval(), accelerator.autocast)
    return in_order(respond(forward, encoder, task, examples, tokens, what))


def score(
    model: nn.Module, encoder: Reading, task: Task, examples: Sequence[Example], accelerator: Accelerator
) -> tuple[float, tuple[float, ...]]:
    """The task's primary metric, and the thresholds it was reached with."""
    units = predict(model, encoder, task, examples, accelerator)
    fitted = task.fit(units, examples)
    return task.metric.score(fitted.predictions(units, examples), task.gold(examples)), fitted.thresholds


def train(
    model: nn.Module,
    encoder: Reading,
    task: Task,
    texts: Sequence[Example],
    validation: Sequence[Example],
    objective: Objective,
    store: SoftLabelStore | None,
    config: TrainConfig,
    learning_rate: float,
    seed: int,
    accelerator: Accelerator,
    what: str,
    directory: Path | None = None,
) -> TrainingResult:
    """Trains ``model`` in place and leaves it with the weights that were best on validation.

    Order of data, dropout and everything else follow from the seed. With a ``directory``, a checkpoint is written there
    from time to time, and a training that was stopped goes on from it. Raises UserError where the loss is not finite.
    """
    torch.manual_seed(seed)
    encoded = task.encode(encoder, texts)
    lengths = [len(e.input_ids) for e in encoded]
    steps_per_epoch = math.ceil(math.ceil(len(texts) / config.batch_size) / config.accumulation)
    steps = config.steps
    evaluate_at = {math.ceil(steps * (i + 1) / config.evaluations) for i in range(config.evaluations)}
    model.to(accelerator.device)
    objective.to(accelerator.device)
    optimizer = torch.optim.AdamW(
        parameter_groups(nn.ModuleList([model, objective]), config.weight_decay),
        lr=learning_rate,
        fused=accelerator.device.type in ("cpu", "cuda"),
    )
    warmup = max(1, round(steps * config.warmup))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, max(0.0, (steps - step) / max(1, steps - warmup)))
    )
    prepared, optimizer = accelerator.prepare(model, optimizer)
    best, best_step, bad, first = -math.inf, 0, 0, 0
    best_weights: dict[str, Tensor] = {}
    thresholds: tuple[float, ...] = ()
    curve: list[CurvePoint] = []
    seconds = 0.0
    checkpoint = None if directory is None else directory / CHECKPOINT
    state = None if checkpoint is None else load_checkpoint(checkpoint)
    if state is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["random"])
        if state["random_cuda"] is not None and torch.cuda.is_available():
            torch.cuda.set_rng_state(state["random_cuda"])
        best, best_step, bad, first = state["best"], state["best_step"], state["bad"], state["step"]
        best_weights, seconds = state["best_weights"], state["seconds"]
        objective.load_state_dict(state["objective"])
        thresholds = tuple(state["thresholds"])
        curve = [CurvePoint(*point) for point in state["curve"]]
    start = saved = time.monotonic()
    loss_sum, loss_steps = (0.0, 0) if state is None else (state["loss_sum"], state["loss_steps"])
    plan: list[Any] = []
    planned_epoch = -1
    for step in track(range(first, steps), what):
        epoch, in_epoch = divmod(step, steps_per_epoch)
        if epoch != planned_epoch:
            plan, planned_epoch = plan_epoch(lengths, config.batch_size, seed, epoch), epoch
        prepared.train()
        micro_batches = []
        for rows in plan[in_epoch * config.accumulation : (in_epoch + 1) * config.accumulation]:
            own = rows[accelerator.process_index :: accelerator.num_processes]
            if len(own):
                micro_batches.append(
                    make_batch([encoded[i] for i in own], [texts[i] for i in own], task, encoder.pad_id, store).to(
                        accelerator.device
                    )
                )
        masks = [objective.masks(batch.labels, batch.unit_mask) for batch in micro_batches]
        counted = torch.zeros(len(objective.terms), device=accelerator.device)
        for masks_of_batch in masks:
            counted += torch.stack([mask.sum() for mask in masks_of_batch])
        # Processes average their gradients, so a sum over all of them is divided by their mean count.
        counts = (accelerator.reduce(counted, "sum") / accelerator.num_processes).tolist()
        step_loss = 0.0
        for batch, masks_of_batch in zip(micro_batches, masks, strict=True):
            with accelerator.autocast():
                logits = answer_of(prepared(**model_inputs(model, batch.inputs)), batch.inputs["attention_mask"])
            loss = objective(batch.units(logits), batch.teacher, batch.labels, masks_of_batch, counts)
            accelerator.backward(loss)
            step_loss += loss.item()
        if not math.isfinite(step_loss):
            raise UserError(
                f"{what}: the loss is {step_loss} at step {step + 1} of {steps} with learning rate {learning_rate:g}; "
                "lower train.learning_rates, or lower train.clip"
            )
        accelerator.clip_grad_norm_([*prepared.parameters(), *objective.parameters()], config.clip)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        loss_sum, loss_steps = loss_sum + step_loss, loss_steps + 1
        if step + 1 in evaluate_at:
            reached, chosen = score(model, encoder, task, validation, accelerator)
            curve.append(CurvePoint(step + 1, loss_sum / loss_steps, reached))
            loss_sum, loss_steps = 0.0, 0
            if reached > best:
                best, best_step, bad, thresholds = reached, step + 1, 0, chosen
                best_weights = {name: t.detach().cpu().clone() for name, t in model.state_dict().items()}
            else:
                bad += 1
            if config.patience and bad >= config.patience:
                break
        if checkpoint is not None and time.monotonic() - saved > config.checkpoint_seconds:
            saved = time.monotonic()
            if accelerator.is_main_process:
                checkpoint.parent.mkdir(parents=True, exist_ok=True)
                save_checkpoint(
                    checkpoint,
                    {
                        "model": model.state_dict(),
                        "objective": objective.state_dict(),
                        "thresholds": list(thresholds),
                        "optimizer": optimizer.state_dict(),
                        "schedule": schedule.state_dict(),
                        "random": torch.get_rng_state(),
                        "random_cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
                        "best": best,
                        "best_step": best_step,
                        "bad": bad,
                        "step": step + 1,
                        "loss_sum": loss_sum,
                        "loss_steps": loss_steps,
                        "best_weights": best_weights,
                        "seconds": seconds + saved - start,
                        "curve": [dataclasses.astuple(point) for point in curve],
                    },
                )
    model.load_state_dict(best_weights)
    model.eval()
    accelerator.unwrap_model(prepared, keep_fp32_wrapper=False)  # takes autocast off the model's forward
    accelerator.free_memory()  # it keeps every prepared model and optimizer otherwise
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    done = curve[-1].step if curve else 0
    return TrainingResult(best, thresholds, best_step, done, seconds + time.monotonic() - start, tuple(curve))


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay on matrices, none on biases and normalisations (vectors)."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]


def model_inputs(model: nn.Module, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Segment ids only for models that have more than one segment."""
    if int(getattr(model.config, "type_vocab_size", 0) or 0) > 1:
        return inputs
    return {name: tensor for name, tensor in inputs.items() if name != "token_type_ids"}


def make_accelerator(device: str, precision: str, threads: int | None) -> Accelerator:
    """The accelerator for ``device`` (cpu or cuda) and ``precision`` (fp32 or bf16)."""
    if threads is not None:
        torch.set_num_threads(threads)
    AcceleratorState._reset_state()  # one process may run in one precision after the other (--multirun)
    return Accelerator(cpu=device == "cpu", mixed_precision="bf16" if precision == "bf16" else "no")


def resolve_device(device: str, precision: str) -> tuple[str, str]:
    """``auto`` made definite: a CUDA GPU where one is there, bf16 where it has it. Raises UserError for a GPU asked for
    that is not there."""
    has_cuda = device != "cpu" and torch.cuda.is_available()
    if device == "cuda" and not has_cuda:
        raise UserError("device=cuda was asked for, but torch sees no CUDA GPU; leave device=auto to use the CPU")
    if precision == "auto":
        precision = "bf16" if has_cuda and torch.cuda.is_bf16_supported() else "fp32"
    return ("cuda" if has_cuda else "cpu"), precision
