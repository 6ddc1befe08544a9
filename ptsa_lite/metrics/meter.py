"""What every meter does: count batch by batch, and merge with the meters of other processes, exactly.

A meter keeps integer counts, or one row of sums per image that `compute` adds up with `math.fsum`, whose result does
not depend on the order. So meters of parts of a set, merged in any order, give exactly what one meter gives.
"""

import math

import torch
from torch import Tensor

from ptsa_lite.resize import resize
from ptsa_lite.tasks import Task


class Meter:
    """What every meter does: `update` with batches, `merge` with other meters, `compute` at any time.

    update(prediction, target): shapes and labels as in `losses.task_loss`. An image's row is its own, so the result
        does not depend on the batch size. The rows leave a GPU at once; only `BoundaryF` waits for it besides.
    merge(other): takes over what another meter of the same task has seen, and returns self.
    compute(): the metric as a float; nan where no valid pixel was seen.
    """

    HELD = 2**28  # bytes of resized predictions on a GPU at once; on a processor one image after another is quicker

    def __init__(self, task: Task):
        self.task = task
        self.rows: list[list[float]] = []  # one per image

    @torch.no_grad()
    def update(self, prediction: Tensor, target: Tensor) -> None:
        if len(prediction) != len(target) or prediction.shape[1] != self.task.channels:
            raise ValueError(
                f"meter of task {self.task.name!r}: prediction {tuple(prediction.shape)} and target "
                f"{tuple(target.shape)} do not fit; expected (B, {self.task.channels}, H, W) and the same B"
            )
        rows, size = [], (target.shape[-2], target.shape[-1])
        n = max(1, self.HELD // (4 * self.task.channels * math.prod(size))) if prediction.is_cuda else 1
        for x, y in zip(prediction.split(n), target.split(n), strict=True):
            x = x.float().contiguous(memory_format=torch.channels_last)  # the faster layout to resize and to compare
            rows.append(self._rows(resize(x, size), y))
        self._keep(torch.cat(rows).cpu())

    def merge(self, other: "Meter") -> "Meter":
        if other.task != self.task:
            raise ValueError(f"a meter of task {self.task.name!r} cannot take over one of {other.task.name!r}")
        self._keep(other._seen())
        return self

    def compute(self) -> float:
        """Sum of the rows' first entries over the sum of their last: the mean over pixels."""
        totals = self._totals()
        return totals[0] / totals[-1] if totals and totals[-1] else math.nan

    def _rows(self, prediction: Tensor, target: Tensor) -> Tensor:
        """What each image of (B, C, H, W) and its target adds, (B, k); ignored pixels are masked, never picked out."""
        raise NotImplementedError

    def _keep(self, rows: Tensor) -> None:
        self.rows += rows.tolist()

    def _seen(self) -> Tensor:
        return torch.tensor(self.rows, dtype=torch.float64)

    def _totals(self) -> list[float]:
        return [math.fsum(column) for column in zip(*self.rows, strict=True)]
