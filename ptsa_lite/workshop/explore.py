"""Explorables: drawings that a reader moves, in plain JavaScript beside this file.

They need no kernel, so the same one answers in JupyterLab, on a page of the site and in the report of a run. Their
numbers are computed when the notebook runs, and are written into the page.
"""

import base64
import itertools
import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ptsa_lite.tree import TaskTree

HERE = Path(__file__).with_suffix("")
STILL = "Run this cell, and what is a picture here can be moved."  # seen where no script ran
DIMS = {24: 12, 12: 32}  # directions kept of the features, by the side of the map: few where there are many tokens


class Explorable:
    """The script NAME.js on its data; `figure` is what is seen where scripts do not run, as on GitHub."""

    def __init__(self, name: str, data: Mapping, figure=None):
        self.name, self.data, self.figure = name, data, figure

    def __repr__(self) -> str:  # Python's own holds an address, which changes from run to run
        return f"a drawing to move: {self.name}"

    def _repr_html_(self) -> str:
        style, common, script = (
            (HERE / name).read_text(encoding="utf-8") for name in ("common.css", "common.js", f"{self.name}.js")
        )
        data = json.dumps(self.data, separators=(",", ":")).replace("<", "\\u003c")
        picture = self.figure and address(Image.open(BytesIO(self.figure._repr_png_())))
        still = f'<img alt="{self!r}" src="{picture}"><p>{STILL}</p>' if picture else ""
        return (f'<div class="explore" data-name="{self.name}"><style>{style}</style><div>{still}</div>'
                f"<script>((root, data) => {{\n{common}\n{script}\n}})(document.currentScript.previousElementSibling, "
                f"{data});</script></div>")  # fmt: skip


def rank_data(updates: Tensor, start: int, budgets: Sequence[int]) -> dict:
    """What rank reaches, for every way to share: updates (T, C_out, C_in) of length one, and ranks of all pairs.

    For n tasks that share a pair, the squares of the singular values of their mean update: their first R sum to what a
    pair of rank R gives them of what they want.
    """
    spectra = {}
    for size in range(1, len(updates) + 1):
        for subset in itertools.combinations(range(len(updates)), size):
            squares = torch.linalg.svdvals(updates[list(subset)].mean(0)).square().tolist()
            spectra["+".join(map(str, subset))] = [float(f"{value:.4g}") for value in squares]
    return {"spectra": spectra, "start": start, "budgets": list(budgets), "per_rank": sum(updates.shape[1:])}


def letters(tree: TaskTree, tasks: Sequence[str]) -> list[list[int]]:
    """A tree as the group of each task, stage by stage."""
    return [[tree.group_of(stage, task) for task in tasks] for stage in range(len(tree.stages))]


def likeness_data(networks: Mapping[str, Sequence[Tensor]], pictures: Sequence[np.ndarray]) -> dict:
    """Tokens of some frames, and their pictures (H, W, 3) uint8: for each network its maps (B, h, w, C) by stage.

    Features lose the mean of all tokens, are scaled to length one, and keep as many of their main directions as a page
    has room for, in 8-bit numbers. Of maps finer than 24 x 24 every second token is kept.
    """
    return {
        "networks": {name: [_tokens(map) for map in maps] for name, maps in networks.items()},
        "pictures": [address(Image.fromarray(picture).resize((192, 192))) for picture in pictures],
    }


def _tokens(features: Tensor) -> dict:
    unit = F.normalize(features - features.mean((0, 1, 2)), dim=-1)
    step = -(-features.shape[1] // max(DIMS))
    unit = unit[:, ::step, ::step]
    grid, flat = unit.shape[1], unit.flatten(0, 2)
    dims = min(DIMS.get(grid, min(DIMS.values())), flat.shape[1])
    main = flat @ torch.linalg.svd(flat, full_matrices=False).Vh[:dims].T
    tokens = (127 * main / main.abs().max()).round().to(torch.int8).numpy()
    return {"grid": grid, "dims": dims, "tokens": base64.b64encode(tokens.tobytes()).decode()}


def address(image: Image.Image) -> str:
    """A picture as a data URI."""
    image.convert("RGB").save(small := BytesIO(), "webp", quality=80)
    return "data:image/webp;base64," + base64.b64encode(small.getvalue()).decode()
