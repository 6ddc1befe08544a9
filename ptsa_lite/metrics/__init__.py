"""One meter per metric, from whole-set counts; and delta_m."""

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ptsa_lite.checks import known
from ptsa_lite.losses import balanced_error, label_counts, unit
from ptsa_lite.tasks import IGNORE, METRICS, Task, plain_metric

from .boundary import BoundaryF
from .meter import Meter


def make_meter(task: Task) -> Meter:
    """The meter of the task's metric (`Task.metric`), empty. Raises ValueError for one that cannot measure the task."""
    metric = known(plain_metric(task.metric), METERS, "metric")
    kinds, _ = METRICS[metric]
    if task.kind not in kinds:
        raise ValueError(f"task {task.name!r}: {metric} measures {' or '.join(kinds)}, not {task.kind}")
    return METERS[metric](task)


def measured_by(task: Task, metric: str) -> Task:
    """The task with another metric and that metric's direction. Raises ValueError for one that cannot measure it."""
    changed = replace(task, metric=metric, higher_is_better=None)
    make_meter(changed)
    return changed


def delta_m(results: Mapping[str, float], single_task: Mapping[str, float], tasks: Mapping[str, Task]) -> float:
    """100 / T * sum_t s_t (M_t - M_single,t) / M_single,t in percent; s_t is +1 if higher is better, else -1.

    results, single_task: task name -> metric. Raises ValueError if one is missing or a reference is 0.
    Source: Maninis et al., "Attentive Single-Tasking of Multiple Tasks" (2019), as the whole line uses it.
    """
    gains = []
    if not tasks:
        raise ValueError("delta_m needs a task")
    for name, task in tasks.items():
        for held, what in ((results, "result"), (single_task, "single-task reference")):
            if name not in held:
                raise ValueError(f"delta_m needs a {what} for task {name!r}; there is one for: {', '.join(held)}")
        if single_task[name] == 0:
            raise ValueError(f"delta_m divides by the single-task reference, and that of task {name!r} is 0")
        if task.higher_is_better is None:
            raise ValueError(f"task {name!r}: is more of {task.metric!r} better? Say higher_is_better in the Task")
        gain = (results[name] - single_task[name]) / single_task[name]
        gains.append(gain if task.higher_is_better else -gain)
    return 100 * math.fsum(gains) / len(gains)


class MeanIoU(Meter):
    """100 * mean over classes of TP / (TP + FP + FN), counted over the whole set, in percent.

    A class that occurs neither in the labels nor in the predictions (on valid pixels) does not count in the mean.
    In the MTLoRA line's code it counts as 0; on the full test sets every class occurs, and the two agree.
    """

    def _rows(self, prediction: Tensor, target: Tensor) -> Tensor:
        classes, valid, target = self.task.channels, target != IGNORE, target.long()
        chosen = prediction.permute(0, 2, 3, 1).argmax(-1)  # (B, H, W)
        cell = target.clamp(0, classes - 1) * classes + chosen
        lowest, highest = target.flatten(1).amin(1), target.where(valid, 0).flatten(1).amax(1)
        return torch.cat([_histogram(cell, valid, classes**2), torch.stack([lowest, highest], 1)], 1)

    def _keep(self, rows: Tensor) -> None:
        """rows: the counts, then the lowest and highest label, which nobody looks at before they have left the GPU."""
        lowest, highest, classes = rows[:, -2].min(), rows[:, -1].max(), self.task.channels
        if lowest < 0 or highest >= classes:
            raise ValueError(
                f"task {self.task.name!r}: labels run from {lowest} to {highest}; "
                f"expected ids 0..{classes - 1}, or {IGNORE} where there is no label"
            )
        super()._keep(rows[:, :-2])

    def _metric(self, totals: list[float]) -> float:
        confusion = torch.tensor(totals, dtype=torch.float64).view(-1, self.task.channels)  # (label, prediction)
        hits = confusion.diagonal()
        iou = 100 * hits / (confusion.sum(0) + confusion.sum(1) - hits)  # (C,), nan of a class not there
        return iou.nanmean().item()


class MaxIoU(Meter):
    """100 * max over thresholds of the mean over images of |prediction and label| / |prediction or label|, in percent.

    Thresholds on the sigmoid: 0.20, 0.25, ... 0.90. An image where both are empty counts 1; an image without a valid
    pixel does not count.
    """

    STEPS = 15

    def _rows(self, prediction: Tensor, target: Tensor) -> Tensor:
        valid = target != IGNORE
        thresholds = 0.2 + 0.05 * torch.arange(self.STEPS, dtype=torch.float64, device=target.device)
        # how many thresholds lie below each pixel's probability: one histogram answers for all of them
        passed = torch.bucketize(prediction.sigmoid(), thresholds.float())
        counts = _histogram((target > 0.5) * (self.STEPS + 1) + passed, valid, 2 * (self.STEPS + 1))
        counts = counts.view(-1, 2, self.STEPS + 1)  # (B, label, thresholds passed)
        above = counts.flip(2).cumsum(2).flip(2)[..., 1:]  # (B, label, threshold): pixels called salient
        union = above[:, 0] + counts[:, 1].sum(1, keepdim=True)
        jaccard = (above[:, 1].double() / union.clamp(min=1)).where(union > 0, 1.0)
        seen = valid.flatten(1).any(1, keepdim=True)
        return torch.cat([jaccard * seen, seen.double()], 1)

    def _metric(self, totals: list[float]) -> float:
        return 100 * max(totals[:-1]) / totals[-1] if totals[-1] else math.nan


class MeanAngle(Meter):
    """Mean over valid pixels of the angle between prediction and label, in degrees.

    2 atan2(|a - b|, |a + b|) for unit vectors, which keeps its digits at small angles. A zero prediction counts 90.
    The MTLoRA line prints this number under the name rmse.
    """

    def _rows(self, prediction: Tensor, target: Tensor) -> Tensor:
        a, b = unit(prediction), unit(target.float())
        apart, together = (a - b).square().sum(1).sqrt(), (a + b).square().sum(1).sqrt()  # (B, H, W)
        return _sum_and_count(2 * torch.atan2(apart, together).rad2deg(), (target != IGNORE).all(1))


class RMSE(Meter):
    """sqrt of the mean over all valid pixels of the set of (prediction - label)^2, in the task's unit."""

    def _rows(self, prediction: Tensor, target: Tensor) -> Tensor:
        return _sum_and_count((prediction.double() - target).square(), target != IGNORE)

    def _metric(self, totals: list[float]) -> float:
        return math.sqrt(super()._metric(totals))


class MeanLoss(Meter):
    """The task's training loss, mean over all valid pixels of the set.

    In the MTLoRA line it stands in for the F-measure of edges (`BoundaryF`). Lower is better. That line's meter puts
    probabilities where this loss expects logits; here logits go in, as in training.
    """

    def _rows(self, prediction: Tensor, target: Tensor) -> Tensor:
        counts = label_counts(target, (1, 2, 3)).view(2, -1, 1, 1, 1)  # each image's own
        return _sum_and_count(balanced_error(self.task, prediction, target, counts), target != IGNORE)


def _sum_and_count(values: Tensor, valid: Tensor) -> Tensor:
    """Of each image's valid pixels, (B, 2) float64."""
    total = values.where(valid, 0).flatten(1).sum(1, dtype=torch.float64)
    return torch.stack([total, valid.flatten(1).sum(1)], 1)


def _histogram(bins: Tensor, valid: Tensor, n: int) -> Tensor:
    """How many of each image's valid pixels lie in each of n bins, (B, n) int64."""
    bins = bins.where(valid, n).flatten(1)  # the ignored ones lie in a bin of their own
    counts = bins.new_zeros(len(bins), n + 1)
    return counts.scatter_add_(1, bins, torch.ones_like(bins))[:, :-1]


METERS: dict[str, type[Meter]] = {
    "mIoU": MeanIoU,
    "maxIoU": MaxIoU,
    "mean angle": MeanAngle,
    "RMSE": RMSE,
    "odsF": BoundaryF,
    "loss": MeanLoss,
}
