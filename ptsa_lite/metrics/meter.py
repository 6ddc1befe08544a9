"""What every meter does: count batch by batch, and merge with the meters of other processes, exactly.

A meter keeps counts, which are whole numbers, or one row of sums per image; `compute` adds them up with `math.fsum`,
whose result does not depend on the order. So meters of parts of a set, merged in any order, give exactly what one meter
gives.
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
    merge(other): takes over what another meter of the same task has seen.
    compute(): the metric as a float; nan where no valid pixel was seen, and where a prediction held NaN.
    """

    HELD = 2**28  # bytes of resized predictions on a GPU at once; on a processor one image after another is quicker

    def __init__(self, task: Task):
        self.task = task
        self.rows: list[Tensor] = []  # (n, k), to be added up
        self.broken = False  # a prediction held NaN

    @torch.no_grad()
    def update(self, prediction: Tensor, target: Tensor) -> None:
        channels = () if self.task.kind == "segmentation" else (self.task.channels,)
        if prediction.shape[:2] != (len(target), self.task.channels) or target.shape[1:-2] != channels:
            words = ", ".join(map(str, ("B", *channels, "H", "W")))
            raise ValueError(
                f"meter of task {self.task.name!r}: prediction {tuple(prediction.shape)} and target "
                f"{tuple(target.shape)} do not fit; expected (B, {self.task.channels}, H, W) and ({words})"
            )
        broken = prediction.isnan().any()
        rows, size = [], (target.shape[-2], target.shape[-1])
        n = max(1, self.HELD // (4 * self.task.channels * math.prod(size))) if prediction.is_cuda else 1
        for x, y in zip(prediction.split(n), target.split(n), strict=True):
            x = x.float().contiguous(memory_format=torch.channels_last)  # the faster layout to resize and to compare
            rows.append(self._rows(resize(x, size), y))
        self._keep(torch.cat(rows).cpu())
        self.broken |= bool(broken)  # asked now, when a GPU has been waited for

    def merge(self, other: "Meter") -> None:
        self.rows += other.rows
        self.broken |= other.broken

    def compute(self) -> float:
        if self.broken or not self.rows:
            return math.nan
        return self._metric([math.fsum(x) for x in torch.cat(self.rows).T.tolist()])

    def _rows(self, prediction: Tensor, target: Tensor) -> Tensor:
        """What each image of (B, C, H, W) and its target adds, (B, k); ignored pixels are masked, never picked out."""
        raise NotImplementedError

    def _keep(self, rows: Tensor) -> None:
        """Counts are added up at once, so that a meter stays as small as one row of them."""
        if rows.is_floating_point():
            self.rows.append(rows)
        else:
            self.rows = [sum(self.rows) + rows.sum(0, keepdim=True)]

    def _metric(self, totals: list[float]) -> float:
        """The sum of the rows' first entries over that of their last: the mean over pixels."""
        return totals[0] / totals[-1] if totals[-1] else math.nan
