"""The training loop, one record per epoch, resumed exactly; and evaluation."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from .checkpoints import Checkpoint, fingerprint, read_history
from .data import make_loader
from .losses import require, total_loss
from .metrics import make_meter
from .progress import clock_time
from .tasks import Task
from .train_config import TrainConfig, learning_rate


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Trainable parameters in two groups: with weight decay, and without.

    Without: 1-d parameters (norms), biases, relative-position tables. Raises ValueError if nothing is trainable.
    """
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if not trained:
        raise ValueError("the model has no trainable parameter; build it with a method that trains something")
    spared = {
        name for name, p in trained if p.ndim <= 1 or name.endswith("bias") or "relative_position_bias_table" in name
    }
    return [
        {"params": [p for name, p in trained if name not in spared], "weight_decay": weight_decay},
        {"params": [p for name, p in trained if name in spared], "weight_decay": 0.0},
    ]


def train(
    model: nn.Module, train_set, val_set, tasks: Mapping[str, Task], config: TrainConfig,
    out_dir: str | Path | None = None, report: Callable[[str], None] = print,
) -> dict:  # fmt: skip
    """Runs `train_epochs` to its end, reports a line per epoch, returns the last epoch's record (never the best's)."""
    record = None
    for record in train_epochs(model, train_set, val_set, tasks, config, out_dir):
        report(describe(record, tasks))
    return record or read_history(out_dir)[-1]


def train_epochs(
    model: nn.Module, train_set, val_set, tasks: Mapping[str, Task], config: TrainConfig,
    out_dir: str | Path | None = None,
) -> Iterator[dict]:  # fmt: skip
    """Trains the model in place, an epoch for each record that is asked for, and hands it over in evaluation mode.

    A record is {"epoch" (from 1), "epochs", "loss", "losses" by task and "lr" of the last step, "metrics" by task or
    None where this epoch is not evaluated, "seconds", "seconds_left"}; the losses are means over the epoch's steps.

    model: model(images (B, 3, S, S), resize=False) -> {task: (B, C, h, w)} at the heads' resolution; losses and meters
        resize, which is cheaper there. What has requires_grad is trained, on the device where it is. `clip_groups()`,
        if it has one, lists the parameters whose gradients are clipped together: several models in one module stay
        independent that way.
    train_set, val_set: of `ptsa_lite.data`; val_set may be None, then nothing is evaluated.
    out_dir: where each epoch leaves a checkpoint. Given the same model, settings and data again, training goes on after
        the last one and ends with the weights of an uninterrupted run, on a CPU bit for bit; a finished training yields
        nothing and restores the weights. Without out_dir nothing is written.

    Raises ValueError where settings and data do not fit or the checkpoint is of another training; FloatingPointError
    if a loss or gradient is not finite, before the step is taken: the last checkpoint stays.
    """
    steps = len(train_set) // config.batch_size
    if not steps:
        raise ValueError(f"batch_size {config.batch_size} exceeds the {len(train_set)} training frames; lower it")
    if config.activation_checkpointing:
        if not hasattr(model, "set_grad_checkpointing"):
            raise ValueError("activation_checkpointing needs a model with set_grad_checkpointing; set it to False")
        model.set_grad_checkpointing(True)
    device = next(model.parameters()).device
    optimizer = torch.optim.AdamW(
        parameter_groups(model, config.weight_decay), lr=learning_rate(0, config, steps), betas=config.betas,
        fused=device.type in ("cpu", "cuda"),  # the same update in a fraction of the time
    )  # fmt: skip
    checkpoint, history = None, []
    if out_dir is not None:
        checkpoint = Checkpoint(Path(out_dir), fingerprint(model, train_set, tasks, config.to_dict()))
        history = checkpoint.restore(model, optimizer)
    model.eval()
    return _epochs(model, train_set, val_set, tasks, config, optimizer, history, checkpoint)


def _epochs(model, train_set, val_set, tasks, config, optimizer, history, checkpoint) -> Iterator[dict]:
    durations = []
    for epoch in range(len(history), config.epochs):
        start = time.perf_counter()
        record = {"epoch": epoch + 1, "epochs": config.epochs}
        record |= _one_epoch(model, train_set, tasks, config, optimizer, epoch, checkpoint)
        due = (epoch + 1) % config.eval_every == 0 or epoch + 1 == config.epochs
        record["metrics"] = (
            evaluate(model, val_set, tasks, config.batch_size, config.workers, config.amp)
            if due and val_set is not None else None
        )  # fmt: skip
        durations.append(time.perf_counter() - start)
        record["seconds"] = durations[-1]
        record["seconds_left"] = sum(durations) / len(durations) * (config.epochs - epoch - 1)
        history.append(record)
        model.eval()
        if checkpoint:
            checkpoint.save(model, optimizer, history)
        yield record


def _one_epoch(model, train_set, tasks, config, optimizer, epoch: int, checkpoint) -> dict:
    device = next(model.parameters()).device
    groups = model.clip_groups() if hasattr(model, "clip_groups") else [
        [p for p in model.parameters() if p.requires_grad]
    ]  # fmt: skip
    loader = make_loader(
        train_set, config.batch_size, seed=config.seed, epoch=epoch, workers=config.workers, drop_last=True
    )
    sums, rate = dict.fromkeys(("loss", *tasks), 0.0), 0.0
    model.train()
    # Every epoch draws from its own seed, so that a checkpoint need not hold the state of the generators.
    with _own_randomness(device, seed=config.seed * 1_000_003 + epoch):
        for i, batch in enumerate(loader):
            rate = learning_rate(epoch * len(loader) + i, config, len(loader))
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad()
            loss, losses = total_loss(tasks, *_forward(model, batch, tasks, device, config.amp))
            loss.backward()
            norms = [nn.utils.clip_grad_norm_(group, config.clip_norm) for group in groups]
            # one transfer a step tells all that the host needs to know
            values = torch.stack([loss.detach(), *(x.detach() for x in losses.values()), *norms]).tolist()
            if not all(map(math.isfinite, values)):
                bad = [name for name, value in zip(losses, values[1:], strict=False) if not math.isfinite(value)]
                raise FloatingPointError(_not_finite(bad, epoch, i, batch, checkpoint))
            optimizer.step()
            for name, value in zip(sums, values, strict=False):
                sums[name] += value
    means = {name: value / len(loader) for name, value in sums.items()}
    return {"loss": means.pop("loss"), "losses": means, "lr": rate}


def evaluate(
    model: nn.Module, dataset, tasks: Mapping[str, Task], batch_size: int, workers: int = 0, amp: str = "float32"
) -> dict[str, float]:
    """The metric of each task over the whole data set; the model's mode and the caller's randomness stay as they were.

    dataset: of `ptsa_lite.data`, without augmentation. amp as in TrainConfig.
    """
    meters = {name: make_meter(task) for name, task in tasks.items()}
    device, mode = next(model.parameters()).device, model.training
    model.eval()
    try:
        with torch.inference_mode(), _own_randomness(device, seed=0):
            for batch in make_loader(dataset, batch_size, workers=workers):
                predictions, batch = _forward(model, batch, tasks, device, amp)
                require(tasks, predictions, batch)
                for name, meter in meters.items():
                    meter.update(predictions[name], batch[name])
    finally:
        model.train(mode)
    return {name: meter.compute() for name, meter in meters.items()}


def describe(record: dict, tasks: Mapping[str, Task]) -> str:
    """One line about an epoch: losses, rate, time, time left, and the metrics where it was evaluated."""
    losses = ", ".join(f"{name} {value:.3f}" for name, value in record["losses"].items())
    line = (
        f"epoch {record['epoch']:{len(str(record['epochs']))}}/{record['epochs']}  loss {record['loss']:.3f} ({losses})"
        f"  lr {record['lr']:.2e}  {clock_time(record['seconds'])}, {clock_time(record['seconds_left'])} left"
    )
    if record["metrics"]:
        line += "  | " + ", ".join(
            f"{name} {tasks[name].metric} {value:.{2 if value >= 1 else 3}f}"
            for name, value in record["metrics"].items()
        )
    return line


def _forward(model, batch, tasks, device, amp: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Predictions by task, and the batch on the model's device."""
    batch = {key: batch[key].to(device, non_blocking=True) for key in ("image", *tasks) if key in batch}
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=amp == "bfloat16"):
        return model(batch["image"], resize=False), batch


@contextmanager
def _own_randomness(device: torch.device, seed: int):
    """Seeds torch's generators for what is done inside; the caller's are as before afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _not_finite(tasks: list[str], epoch: int, step: int, batch, checkpoint) -> str:
    what = f"the loss of {' and '.join(tasks)}" if tasks else "the gradient (of finite losses)"
    frames = batch["index"].tolist() if "index" in batch else "unknown"
    saved = checkpoint and checkpoint.path.exists()
    kept = f"the last good checkpoint is {checkpoint.path}" if saved else "no checkpoint was written"
    return (
        f"{what} is not finite in epoch {epoch + 1}, step {step + 1}, frames {frames}; the step was not taken, {kept}. "
        "Look at these frames' labels, or lower the learning rate"
    )
