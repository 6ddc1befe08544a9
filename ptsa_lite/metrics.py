"""One meter per metric, from whole-set counts; and delta_m."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from .boundary import BoundaryF
from .checks import known
from .losses import balanced_sum, label_counts, unit
from .meter import Meter
from .tasks import IGNORE, Task


def make_meter(task: Task) -> Meter:
    """The meter of the task's metric (`Task.metric`), empty. Raises ValueError for a metric that nobody measures."""
    return METERS[known(task.metric, METERS, "metric")](task)


def delta_m(results: Mapping[str, float], single_task: Mapping[str, float], tasks: Mapping[str, Task]) -> float:
    """100 / T * sum_t s_t (M_t - M_single,t) / M_single,t in percent; s_t is +1 if higher is better, else -1.

    results, single_task: task name -> metric. Raises ValueError if one is missing or a reference is 0.
    Source: Maninis et al., "Attentive Single-Tasking of Multiple Tasks" (2019), as the whole line uses it.
    """
    gains = []
    for name, task in tasks.items():
        for held, what in ((results, "result"), (single_task, "single-task reference")):
            if name not in held:
                raise ValueError(f"delta_m needs a {what} for task {name!r}; there is one for: {', '.join(held)}")
        if single_task[name] == 0:
            raise ValueError(f"delta_m divides by the single-task reference, and that of task {name!r} is 0")
        gain = (results[name] - single_task[name]) / single_task[name]
        gains.append(gain if task.higher_is_better else -gain)
    return 100 * math.fsum(gains) / len(gains)


class MeanIoU(Meter):
    """100 * mean over classes of TP / (TP + FP + FN), counted over the whole set, in percent.

    A class that occurs neither in the labels nor in the predictions (on valid pixels) does not count in the mean.
    In the MTLoRA line's code it counts as 0; on the full test sets every class occurs, and the two agree.
    """

    def __init__(self, task: Task):
        super().__init__(task)
        self.confusion = torch.zeros(task.channels, task.channels, dtype=torch.int64)  # (label, prediction)

    def class_iou(self) -> Tensor:
        """IoU of each class in percent, (C,) float64; nan for a class that does not occur."""
        hits = self.confusion.diagonal().double()
        return 100 * hits / (self.confusion.sum(0) + self.confusion.sum(1) - hits)

    def compute(self) -> float:
        return self.class_iou().nanmean().item()

    def _row(self, prediction: Tensor, target: Tensor) -> Tensor:
        classes = self.task.channels
        chosen = prediction.permute(0, 2, 3, 1).argmax(-1)  # (1, H, W)
        valid = target != IGNORE
        labels = target[valid].long()
        if ((labels < 0) | (labels >= classes)).any():
            raise ValueError(
                f"task {self.task.name!r}: labels run from {labels.min()} to {labels.max()}; "
                f"expected ids 0..{classes - 1}, or {IGNORE} where there is no label"
            )
        return torch.bincount(labels * classes + chosen[valid], minlength=classes**2)

    def _keep(self, rows: Tensor) -> None:
        self.confusion = self.confusion + rows.sum(0).view_as(self.confusion)

    def _seen(self) -> Tensor:
        return self.confusion.view(1, -1)


class MaxIoU(Meter):
    """100 * max over thresholds of the mean over images of |prediction and label| / |prediction or label|, in percent.

    Thresholds on the sigmoid: 0.20, 0.25, ... 0.90. An image where both are empty counts 1; an image without a valid
    pixel does not count.
    """

    THRESHOLDS = tuple(0.2 + 0.05 * i for i in range(15))

    def compute(self) -> float:
        totals = self._totals()
        return 100 * max(totals[:-1]) / totals[-1] if totals and totals[-1] else math.nan

    def _row(self, prediction: Tensor, target: Tensor) -> Tensor:
        valid = target != IGNORE
        steps = len(self.THRESHOLDS)
        # how many thresholds lie below each pixel's probability: one histogram answers for all of them
        passed = torch.bucketize(prediction[valid].sigmoid(), prediction.new_tensor(self.THRESHOLDS))
        counts = torch.bincount((target[valid] > 0.5) * (steps + 1) + passed, minlength=2 * (steps + 1))
        counts = counts.view(2, steps + 1)  # (label, thresholds passed)
        above = counts.flip(1).cumsum(1).flip(1)[:, 1:]  # (label, threshold): pixels called salient
        union = above[0] + counts[1].sum()
        jaccard = (above[1].double() / union.clamp(min=1)).where(union > 0, 1.0)
        seen = valid.any()
        return torch.cat([jaccard * seen, seen.double()[None]])


class MeanAngle(Meter):
    """Mean over valid pixels of the angle between prediction and label, in degrees.

    2 atan2(|a - b|, |a + b|) for unit vectors, which keeps its digits at small angles. A zero prediction counts 90.
    The MTLoRA line prints this number under the name rmse.
    """

    def _row(self, prediction: Tensor, target: Tensor) -> Tensor:
        valid = (target != IGNORE).all(1)  # (1, H, W)
        a, b = unit(prediction), unit(target.float())
        apart, together = (a - b).square().sum(1).sqrt(), (a + b).square().sum(1).sqrt()  # (1, H, W)
        angle = 2 * torch.atan2(apart, together).rad2deg()
        return torch.stack([angle[valid].double().sum(), valid.sum().double()])


class RMSE(Meter):
    """sqrt of the mean over all valid pixels of the set of (prediction - label)^2, in metres."""

    def compute(self) -> float:
        return math.sqrt(super().compute())

    def _row(self, prediction: Tensor, target: Tensor) -> Tensor:
        valid = target != IGNORE
        error = prediction[valid].double() - target[valid].double()
        return torch.stack([error.square().sum(), valid.sum().double()])


class MeanLoss(Meter):
    """The task's training loss, mean over all valid pixels of the set.

    In the MTLoRA line it stands in for the F-measure of edges (`BoundaryF`). Lower is better. That line's meter puts
    probabilities where this loss expects logits; here logits go in, as in training.
    """

    def _row(self, prediction: Tensor, target: Tensor) -> Tensor:
        counts = label_counts(target)
        return torch.stack([balanced_sum(self.task, prediction, target, counts), counts[0]]).double()


METERS: dict[str, type[Meter]] = {
    "mIoU": MeanIoU,
    "maxIoU": MaxIoU,
    "mean angle (°)": MeanAngle,
    "RMSE (m)": RMSE,
    "odsF": BoundaryF,
    "loss": MeanLoss,
}
