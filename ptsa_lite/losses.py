"""One loss for each kind of task, each exactly 0 on a batch without a valid pixel."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .resize import resize
from .tasks import IGNORE, Task


def total_loss(
    tasks: Mapping[str, Task],
    predictions: Mapping[str, Tensor],
    batch: Mapping[str, Tensor],
    counts: Mapping[str, Tensor] | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """L = sum_t w_t L_t, and the unweighted losses L_t by task; w_t is the task's loss weight.

    predictions, batch, counts: as in task_loss, by task. Raises ValueError if one is missing.
    """
    require(tasks, predictions, batch)
    losses = {name: task_loss(task, predictions[name], batch[name], counts[name] if counts else None)
              for name, task in tasks.items()}  # fmt: skip
    total: Any = sum(task.loss_weight * losses[name] for name, task in tasks.items())
    return total, losses


def task_loss(task: Task, prediction: Tensor, target: Tensor, counts: Tensor | None = None) -> Tensor:
    """The mean over valid pixels of the task's error.

    ============ ===============================================================================================
    segmentation cross-entropy: log sum_c exp x_c - x_y
    binary       p y softplus(-x) + (1 - p) (1 - y) softplus(x); p is the task's `positive_weight`, or the share of
                 negatives among the batch's valid pixels
    normals      |x / ||x|| - y|, mean over the entries of the vectors
    regression   |x - y|, in the task's unit; depth is one in metres
    ============ ===============================================================================================

    prediction  (B, C, h, w) of any float type; resized bilinearly where the target is larger. Computed in float32.
    target      (B, H, W) class ids for segmentation, else (B, C, H, W); IGNORE where there is no label. An ignored
                pixel counts nowhere: not in the sum, not in the divisor, not in the share of negatives.
    counts      `label_counts` of the whole batch, where prediction and target are a part of it: the losses of the
                parts then add up to the loss of the whole.

    Returns a scalar: 0 with zero gradients where no pixel is valid. Raises ValueError if the shapes do not fit.
    Source: the MTLoRA line's recipe. There a batch without a valid pixel gives NaN, and saliency divides by all pixels.
    """
    channels = () if task.kind == "segmentation" else (task.channels,)
    if prediction.shape[1:2] != (task.channels,) or target.shape != (len(prediction), *channels, *target.shape[-2:]):
        words = ", ".join(map(str, ("B", *channels, "H", "W")))
        raise ValueError(
            f"task {task.name!r}: prediction {tuple(prediction.shape)} and target {tuple(target.shape)} do not fit; "
            f"expected (B, {task.channels}, H, W) and ({words})"
        )
    if counts is None:
        counts = label_counts(target)
    x = resize(prediction.float(), target.shape[-2:])  # (B, C, H, W)
    if task.kind == "segmentation":
        # pixel by pixel: torch's own sum adds up in no fixed order on a GPU, and slowly
        error = F.cross_entropy(x, target.long(), ignore_index=IGNORE, reduction="none")
    elif task.kind == "binary":
        error = balanced_error(task, x, target, counts)
    else:
        x = unit(x) if task.kind == "normals" else x
        error = (x - target).abs().where(target != IGNORE, 0)
    return error.sum() / counts[0].clamp(min=1)


def label_counts(target: Tensor, dims: tuple[int, ...] | None = None) -> Tensor:
    """(2,) int64: how many entries of a target hold a label, and how many of those are 1; along dims if they are given.

    All that a loss needs to know of the other parts of its batch; counts of parts are added.
    """
    return torch.stack([(target != IGNORE).sum(dims), (target == 1).sum(dims)])


def balanced_error(task: Task, x: Tensor, target: Tensor, counts: Tensor) -> Tensor:
    """p y softplus(-x) + (1 - p) (1 - y) softplus(x) of each pixel, 0 where it is ignored."""
    n, ones = counts
    p: Any = task.positive_weight
    if p is None:
        p = 1 - ones / n.clamp(min=1)
    valid = target != IGNORE
    y = target.where(valid, 0).to(x.dtype)
    weight = valid * torch.where(y == 1, p, 1 - p)
    return F.binary_cross_entropy_with_logits(x, y, weight, reduction="none")


def unit(x: Tensor) -> Tensor:
    """x / sqrt(||x||^2 + 1e-12) along dimension 1: unit vectors, with a finite gradient at zero."""
    return x * x.square().sum(1, keepdim=True).add(1e-12).rsqrt()


def require(tasks: Mapping[str, Task], predictions: Mapping, batch: Mapping) -> None:
    """Raises ValueError if a task has no prediction or no target."""
    for held, what in ((predictions, "model predicts"), (batch, "batch holds")):
        if lacking := [name for name in tasks if name not in held]:
            raise ValueError(f"task {lacking[0]!r} is asked for, but the {what} only: {', '.join(held)}")
