"""The training loop, one record per epoch, resumed exactly; and evaluation. In one process or in several."""

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from ptsa_lite.data import make_loader
from ptsa_lite.data.loading import EpochLoader
from ptsa_lite.data.on_device import on_device
from ptsa_lite.losses import require
from ptsa_lite.metrics import make_meter
from ptsa_lite.recipe import TrainConfig, learning_rate
from ptsa_lite.tasks import Task

from . import distributed
from .checkpoints import Checkpoint, fingerprint, read_history
from .formats import number_format
from .step import Stepper, autocast, parameter_groups, to_device


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
        independent that way. Of several processes (`distributed.processes`) each brings the same model.
    train_set, val_set: of `ptsa_lite.data`; val_set may be None, then nothing is evaluated.
    out_dir: where each epoch leaves a checkpoint. Given the same model, settings and data again, training goes on after
        the last one and ends with the weights of an uninterrupted run, on a CPU bit for bit; a finished training yields
        nothing and restores the weights. Without out_dir nothing is written.

    Raises ValueError where settings and data do not fit or the checkpoint is of another training; FloatingPointError
    if a loss or gradient is not finite, before the step is taken: the last checkpoint stays.
    """
    if not isinstance(config, TrainConfig) or not isinstance(tasks, Mapping):
        raise ValueError("give tasks as a map {name: Task}, and config as TrainConfig(epochs=3, ...)")
    config = replace(config, amp=number_format(config.amp, next(model.parameters()).device))
    _check(model, train_set, config)
    if config.gradient_checkpointing:
        model.set_grad_checkpointing(True)
    stepper = Stepper(model, tasks, config, parameter_groups(model, config.weight_decay))
    checkpoint, history = None, []
    if out_dir is not None:
        checkpoint = Checkpoint(Path(out_dir), fingerprint(model, train_set, tasks, config.to_dict()))
        history = checkpoint.restore(model, stepper)
    model.eval()
    return _epochs(model, train_set, val_set, tasks, config, stepper, history, checkpoint)


def _check(model: nn.Module, train_set, config: TrainConfig) -> None:
    sample = train_set[0] if len(train_set) else {"image": torch.empty(0)}
    image = sample.get("image") if isinstance(sample, Mapping) else None
    if not isinstance(image, torch.Tensor):
        words = "a sample of the training set must map image and tasks to tensors, as those of open_dataset do"
        raise ValueError(f"{words} (sets joined by `datasets` do not; take torch.utils.data.ConcatDataset)")
    if image.numel() and getattr(getattr(model, "backbone", None), "SIZED", False):
        made, given = tuple(model.img_size), tuple(image.shape[-2:])
        if made != given:
            raise ValueError(
                f"the training frames are {given} and the model is made for {made}: give both one img_size"
            )
    if len(train_set) < config.batch_size:
        raise ValueError(f"batch_size {config.batch_size} exceeds the {len(train_set)} training frames; lower it")
    if config.batch_size % (distributed.size() * config.accumulate):
        raise ValueError(
            f"batch_size {config.batch_size} is that of all {distributed.size()} processes and all {config.accumulate} "
            "parts of a step (accumulate) together; make it a multiple of their product"
        )
    if config.gradient_checkpointing and not hasattr(model, "set_grad_checkpointing"):
        raise ValueError("gradient_checkpointing needs a model with set_grad_checkpointing; set it to False")


def _epochs(model, train_set, val_set, tasks, config, stepper, history, checkpoint) -> Iterator[dict]:
    if len(history) == config.epochs:
        return
    train_set, val_set = (on_device(frames, stepper.device) for frames in (train_set, val_set))
    loader = EpochLoader(
        train_set, config.batch_size, config.seed, config.workers, (distributed.rank(), distributed.size()),
        pin=stepper.device.type == "cuda",
    )  # fmt: skip
    stepper.expect((config.epochs - len(history)) * len(loader))
    durations = []
    for epoch in range(len(history), config.epochs):
        start, last = time.perf_counter(), epoch + 1 == config.epochs
        model.train()
        record = {"epoch": epoch + 1, "epochs": config.epochs, **_one_epoch(loader, config, stepper, epoch, checkpoint)}
        model.eval()
        record["metrics"] = None
        if val_set is not None and (last or (epoch + 1) % config.eval_every == 0):
            size = config.batch_size // config.accumulate
            record["metrics"] = evaluate(model, val_set, tasks, size, config.workers, config.amp)
        durations.append(time.perf_counter() - start)
        record["seconds"] = durations[-1]
        record["seconds_left"] = sum(durations) / len(durations) * (config.epochs - epoch - 1)
        history.append(record)
        if checkpoint and distributed.rank() == 0:
            checkpoint.save(model, stepper, history)
        yield copy.deepcopy(record)  # whatever is done to it, the history stays


def _one_epoch(loader: EpochLoader, config: TrainConfig, stepper: Stepper, epoch: int, checkpoint) -> dict:
    steps, losses, rate = len(loader), [], 0.0
    # Every epoch draws from its own seed, so that a checkpoint need not hold the state of the generators. Processes
    # draw their own dropout.
    with _own_randomness(stepper.device, config.seed * 1_000_003 + epoch + (distributed.rank() << 40)):
        for i, batch in enumerate(loader.epoch(epoch)):
            rate = learning_rate(epoch * steps + i, config, steps)
            try:
                losses.append(stepper(batch, rate))
            except FloatingPointError as error:
                what, frames = error.args
                saved = checkpoint and checkpoint.path.exists()
                kept = f"the last good checkpoint is {checkpoint.path}" if saved else "no checkpoint was written"
                raise FloatingPointError(
                    f"{what} is not finite in epoch {epoch + 1}, step {i + 1}, frames {frames}; the step "
                    f"was not taken, {kept}. Look at these frames' labels, or lower the learning rate"
                ) from None
    means = {name: sum(step[name] for step in losses) / steps for name in losses[0]}
    return {"loss": means.pop("loss"), "losses": means, "lr": rate}


def evaluate(
    model: nn.Module, dataset, tasks: Mapping[str, Task], batch_size: int, workers: int = 0, amp: str = "float32"
) -> dict[str, float]:
    """The metric of each task over the whole data set; the model's mode and the caller's randomness stay as they were.

    dataset: of `ptsa_lite.data`, without augmentation. amp as in TrainConfig. Several processes take every other batch
    each; the batches, and so the metrics, are the same for any number of them.
    """
    meters = {name: make_meter(task) for name, task in tasks.items()}
    device, modes = next(model.parameters()).device, [(module, module.training) for module in model.modules()]
    amp = number_format(amp, device)
    part = (distributed.rank(), distributed.size())
    model.eval()
    try:
        with torch.inference_mode(), _own_randomness(device, seed=0):
            for batch in make_loader(dataset, batch_size, workers=workers, part=part):
                batch = to_device(batch, tasks, device)
                with autocast(device, amp):
                    predictions = model(batch["image"], resize=False)
                require(tasks, predictions, batch)
                for name, meter in meters.items():
                    meter.update(predictions[name], batch[name])
    finally:
        for module, training in modes:  # some may have been frozen on their own
            module.training = training
    first, *others = distributed.gather(meters)  # merged, they are exactly those of one process that saw the whole set
    for other in others:
        for name, meter in other.items():
            first[name].merge(meter)
    return {name: meter.compute() for name, meter in first.items()}


def describe(record: dict, tasks: Mapping[str, Task]) -> str:
    """One line about an epoch: losses, rate, time, time left, and the metrics where it was evaluated."""
    number = f"{record['epoch']:{len(str(record['epochs']))}}/{record['epochs']}"
    losses = ", ".join(f"{name} {value:.3f}" for name, value in record["losses"].items())
    times = f"{tqdm.format_interval(record['seconds'])}, {tqdm.format_interval(record['seconds_left'])} left"
    line = f"epoch {number}  loss {record['loss']:.3f} ({losses})  lr {record['lr']:.2e}  {times}"
    metrics = [
        f"{name} {tasks[name].metric} {value:.{2 if value >= 1 else 3}f}"
        for name, value in (record["metrics"] or {}).items()
    ]
    return f"{line}  | {', '.join(metrics)}" if metrics else line


@contextmanager
def _own_randomness(device: torch.device, seed: int):
    """Seeds torch's generators for what is done inside; the caller's are as before afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
