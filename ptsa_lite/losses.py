"""One loss for each kind of task, each exactly 0 on a batch without a valid pixel."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from .tasks import IGNORE, Task

FIXED_POSITIVE_WEIGHT = {"edge": 0.95}
"""Weight of the positives of a binary task, by task name. Every other binary task (saliency) takes the batch's own
share of negatives. Source: the MTLoRA line, which inherits both from ASTMT."""


def task_loss(task: Task, prediction: Tensor, target: Tensor, counts: Tensor | None = None) -> Tensor:
    """The mean over valid pixels of the task's error.

    ============ ===============================================================================================
    segmentation cross-entropy
    binary       w y softplus(-x) + (1 - w) (1 - y) softplus(x); w is 0.95 for edges, else the share of negatives
                 among the batch's valid pixels
    normals      |x / ||x|| - y|, mean over the entries of the vectors
    depth        |x - y|, metres
    ============ ===============================================================================================

    prediction: (B, C, h, w) of any float type; where h, w differ from the target's H, W it is resized bilinearly.
        The arithmetic is float32.
    target: (B, H, W) class ids for segmentation, else (B, C, H, W); IGNORE where there is no label. An ignored pixel
        counts nowhere: not in the sum, not in the divisor, not in the share of negatives.
    counts: `label_counts` of the whole batch, where prediction and target are a part of it: the losses of the parts
        then add up to the loss of the whole.
    Returns a scalar: 0 with zero gradients where no pixel is valid. Raises ValueError if the shapes do not fit.
    Source: the MTLoRA line's recipe. There a batch without a valid pixel gives NaN, and saliency divides by all pixels.
    """
    size = target.shape[-2:]
    expected = (len(prediction), *size) if task.kind == "segmentation" else (len(prediction), task.channels, *size)
    if prediction.ndim != 4 or prediction.shape[1] != task.channels or target.shape != expected:
        raise ValueError(
            f"task {task.name!r}: prediction {tuple(prediction.shape)} and target {tuple(target.shape)} do not fit; "
            f"expected (B, {task.channels}, H, W) and "
            + ("(B, H, W)" if task.kind == "segmentation" else f"(B, {task.channels}, H, W)")
        )
    prediction = prediction.float()
    counts = label_counts(target) if counts is None else counts
    divisor = counts[0].clamp(min=1)
    if task.kind == "segmentation":
        return _cross_entropy_sum(prediction, target) / divisor
    prediction = resize(prediction, size)  # (B, C, H, W)
    if task.kind == "binary":
        return balanced_sum(task, prediction, target, counts)[0] / divisor
    return _l1_sum(unit(prediction) if task.kind == "normals" else prediction, target) / divisor


def label_counts(target: Tensor) -> Tensor:
    """(2,) int64: how many entries of a target hold a label, and how many of those are 1.

    All that a loss needs to know of the other parts of its batch (`task_loss`); counts of parts are added.
    """
    return torch.stack([(target != IGNORE).sum(), (target == 1).sum()])


def total_loss(
    tasks: Mapping[str, Task], predictions: Mapping[str, Tensor], batch: Mapping[str, Tensor],
    counts: Mapping[str, Tensor] | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:  # fmt: skip
    """sum over tasks of loss_weight * task_loss, and the unweighted losses by task.

    predictions and batch hold one tensor per task name; counts as in task_loss. Raises ValueError if one is missing.
    """
    require(tasks, predictions, batch)
    counts = counts or {}
    losses = {n: task_loss(task, predictions[n], batch[n], counts.get(n)) for n, task in tasks.items()}
    return sum(task.loss_weight * losses[name] for name, task in tasks.items()), losses


def require(tasks: Mapping[str, Task], predictions: Mapping, batch: Mapping) -> None:
    """Raises ValueError if a task has no prediction or no target."""
    for name in tasks:
        for held, what in ((predictions, "model predicts"), (batch, "batch holds")):
            if name not in held:
                raise ValueError(f"task {name!r} is asked for, but the {what} only: {', '.join(held)}")


def resize(prediction: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resize of (B, C, h, w) to (B, C, *size); the tensor itself where the size already fits."""
    if prediction.shape[-2:] == tuple(size):
        return prediction
    return F.interpolate(prediction, size=tuple(size), mode="bilinear", align_corners=False)


def unit(vectors: Tensor) -> Tensor:
    """x / sqrt(||x||^2 + 1e-12) along dimension 1: unit vectors, with a finite gradient at zero.

    Written out, because `F.normalize` over three channels takes five times as long on a CPU.
    """
    return vectors * vectors.square().sum(1, keepdim=True).add(1e-12).rsqrt()


def balanced_sum(
    task: Task, logits: Tensor, target: Tensor, counts: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The balanced binary cross-entropy summed over valid pixels, and their number; arguments as in task_loss."""
    valid = target != IGNORE
    count, ones = label_counts(target) if counts is None else counts
    labels = target.where(valid, 0)  # (B, 1, H, W)
    positive = FIXED_POSITIVE_WEIGHT.get(task.name, 1 - ones / count.clamp(min=1))
    weight = valid * (labels * positive + (1 - labels) * (1 - positive))
    return F.binary_cross_entropy_with_logits(logits, labels, weight=weight, reduction="sum"), count


def _cross_entropy_sum(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy summed over valid pixels; on a CPU image by image, and channels last where logits are resized here.

    Logits at full size are by far the largest tensors of a training step. One image's fit the cache and reuse one
    allocation, a batch's do neither: 16 images of 40 classes at 128 x 128 from logits of 16 x 16 take 34 ms forward
    and backward on one thread, and 167 ms as one batch in torch's default layout.
    """
    size, total = target.shape[-2:], logits.new_zeros(())
    step = 1 if logits.device.type == "cpu" and not torch.compiler.is_compiling() else len(logits)
    for x, y in zip(logits.split(step), target.split(step), strict=True):
        if x.shape[-2:] != size:
            x = resize(x.contiguous(memory_format=torch.channels_last), size)  # (1, C, H, W)
        if x.is_contiguous(memory_format=torch.channels_last):  # as a table of pixels it is no copy, and faster
            x, y = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]), y.reshape(-1)  # (H W, C)
        total = total + F.cross_entropy(x, y, ignore_index=IGNORE, reduction="sum")
    return total


def _l1_sum(prediction: Tensor, target: Tensor) -> Tensor:
    return (prediction - target).abs().where(target != IGNORE, 0).sum()
