"""What a frozen backbone knows of objects, without training anything: nearest neighbours of pooled features.

    python tests/bench/probe.py PASCAL_ROOT

A photograph's class is the object that covers most of its mask. Each val photograph takes the vote of its k nearest
train photographs, by cosine of pooled features. Chance is the share of the largest class.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ptsa_lite.backbones import load_backbone
from ptsa_lite.data import make_loader, open_dataset
from ptsa_lite.families import Backbone
from ptsa_lite.tasks import IGNORE


def largest_object(mask: Tensor) -> int:
    """The class id, 1 to 20, with the most pixels in an (H, W) mask; 0 where there is none."""
    counts = torch.bincount(mask[mask != IGNORE].flatten(), minlength=2)
    counts[0] = 0  # background is no object
    return int(counts.argmax()) if counts.any() else 0


@torch.inference_mode()
def pooled_features(backbone: Backbone, dataset) -> tuple[Tensor, np.ndarray]:
    """(N, C) unit vectors, the mean of the last map, and (N,) class ids; without photographs that show no object."""
    features, classes = [], []
    for batch in make_loader(dataset, 32):
        features.append(F.normalize(backbone.eval()(batch["image"])[-1].mean((1, 2)), dim=1))
        classes += [largest_object(mask) for mask in batch["semseg"]]
    classes = np.array(classes)
    return torch.cat(features)[torch.from_numpy(classes > 0)], classes[classes > 0]


def nearest_neighbour_accuracy(backbone: Backbone, train_set, val_set, k: int = 5) -> dict:
    """Percent of val photographs whose class wins the vote of their k nearest train photographs (weights: cosine)."""
    known, known_class = pooled_features(backbone, train_set)
    asked, asked_class = pooled_features(backbone, val_set)
    cosine, nearest = (asked @ known.T).topk(k, dim=1)  # (N, k)
    votes = torch.zeros(len(asked), known_class.max() + 1)
    votes.scatter_add_(1, torch.from_numpy(known_class)[nearest], cosine.clamp_min(0))
    right = votes.argmax(1).numpy() == asked_class
    chance = np.mean(asked_class == np.bincount(known_class).argmax())
    return {
        "accuracy": 100 * float(right.mean()),
        "chance": 100 * float(chance),
        "train": len(known_class),
        "val": len(asked_class),
        "k": k,
    }


def probe(root: str | Path, img_size: int = 128) -> dict[str, dict]:
    """The packaged backbone and three random ones of its shape, on a PASCAL_MT archive."""
    sets = [open_dataset("pascal", root, split, img_size, ["semseg"], augment=False) for split in ("train", "val")]
    backbones = {"distilled": load_backbone(img_size=img_size)}
    backbones |= {f"random {seed}": load_backbone(weights="random", img_size=img_size, seed=seed) for seed in range(3)}
    return {name: nearest_neighbour_accuracy(backbone, *sets) for name, backbone in backbones.items()}


if __name__ == "__main__":
    command = "python tests/bench/probe.py PASCAL_ROOT"
    print(json.dumps({"command": command, "results": probe(sys.argv[1])}, indent=1) if sys.argv[1:] else command)
