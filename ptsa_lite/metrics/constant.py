"""The best guess that ignores the picture, by a task's own metric: what a reference has to beat."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ptsa_lite.tasks import IGNORE, Task

from . import make_meter


def constant_prediction(task: Task, labels: Sequence[Tensor]) -> float:
    """The metric of one prediction for every pixel: the most frequent class, one half if binary, else the mean label.

    labels: batches, (B, H, W) of classes or (B, C, H, W), in the task's units.
    """
    rows = torch.cat([y.reshape(-1, 1) if y.ndim == 3 else y.movedim(1, -1).flatten(0, -2) for y in labels])
    rows = rows[(rows != IGNORE).all(1)]
    guess = rows.float().mean(0) if task.kind != "binary" else torch.zeros(1)  # a logit of 0 is one half
    if task.kind == "segmentation":
        guess = torch.bincount(rows[:, 0].long(), minlength=task.channels).float()
    meter = make_meter(task)
    for y in labels:
        meter.update(guess.view(1, -1, 1, 1).expand(len(y), -1, *y.shape[-2:]), y)
    return meter.compute()
