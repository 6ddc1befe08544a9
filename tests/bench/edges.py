"""What odsF can tell of edges on the frames that rates_nyud_224.yaml measures on: of drawings that nobody trained.

    python tests/bench/edges.py NYUD_ROOT

Four drawings of each frame: smooth noise; the gradient of the picture's brightness; one line at every border between
two regions of the segmentation's label; and the edges' label itself.
"""

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, gaussian_gradient_magnitude
from torch import Tensor

from ptsa_lite.backbones import IMAGENET_MEAN, IMAGENET_STD
from ptsa_lite.experiments.run import open_sets, run_tasks
from ptsa_lite.experiments.settings import read_runs
from ptsa_lite.metrics import make_meter
from ptsa_lite.tasks import IGNORE, Task

GRID = Path(__file__).parents[2] / "figures" / "grids" / "seeds_nyud_224.yaml"
SIGMA = 2  # pixels, of the smoothing


def borders(labels: Tensor, labelled: bool = False) -> Tensor:
    """(H, W) bool: a pixel whose right or lower neighbour has another label; if `labelled`, where both have one."""
    border = torch.zeros(labels.shape, dtype=torch.bool)
    for axis in (0, 1):
        here, beside = labels.narrow(axis, 0, labels.shape[axis] - 1), labels.narrow(axis, 1, labels.shape[axis] - 1)
        both = (here != IGNORE) & (beside != IGNORE) if labelled else torch.ones_like(here, dtype=torch.bool)
        border.narrow(axis, 0, labels.shape[axis] - 1).logical_or_((here != beside) & both)
    return border


def filled(labels: Tensor) -> Tensor:
    """Where there is no label, the nearest one: a strip between two regions becomes one line of `borders`."""
    nearest = distance_transform_edt(labels.numpy() == IGNORE, return_distances=False, return_indices=True)
    return labels[tuple(torch.from_numpy(nearest))]


def drawings(sample: dict, noise: np.random.Generator) -> dict[str, Tensor]:
    """What is drawn of a frame, by name: (H, W) in 0..1."""
    mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (IMAGENET_MEAN, IMAGENET_STD))
    picture = (sample["image"] * std + mean).mean(0)
    smooth = gaussian_gradient_magnitude(noise.standard_normal(picture.shape), SIGMA)
    gradient = gaussian_gradient_magnitude(picture.double().numpy(), SIGMA)
    return {
        "smooth noise": torch.from_numpy(smooth / smooth.max()),
        "the picture's gradient": torch.from_numpy(gradient / gradient.max()),
        "one line at every border": borders(filled(sample["semseg"])).double(),
        "the label": (sample["edge"][0] == 1).double(),
    }


def measure(frames, edge: Task) -> dict:
    """The odsF of each drawing in percent, and three shares.

    edges: of all pixels, by label. labelled_borders: of the pixels at a border, those with a label on both sides.
    kept: edges per pixel at such a border, after both labels were resized.
    """
    meters, noise, count = {}, np.random.default_rng(0), Counter()
    for k in range(len(frames)):
        sample = frames[k]
        label = sample["edge"]
        count.update(pixels=int((label != IGNORE).sum()), edges=int((label == 1).sum()))
        count.update(borders=int(borders(sample["semseg"]).sum()), labelled=int(borders(sample["semseg"], True).sum()))
        for name, drawn in drawings(sample, noise).items():
            meter = meters.setdefault(name, make_meter(edge))
            meter.update(drawn.logit()[None, None], label[None])
    return {
        "measured": len(frames),
        "edges": count["edges"] / count["pixels"],
        "labelled_borders": count["labelled"] / count["borders"],
        "kept": count["edges"] / count["labelled"],
        "drawn": {name: meter.compute() for name, meter in meters.items()},
    }


if __name__ == "__main__":
    command = "python tests/bench/edges.py NYUD_ROOT"
    if not sys.argv[1:]:
        sys.exit(command)
    run = read_runs(GRID, {"root": sys.argv[1]})[0]
    print(
        json.dumps({"command": command, **measure(open_sets(run, augment=False)[1], run_tasks(run)["edge"])}, indent=1)
    )
