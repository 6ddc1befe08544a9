"""Idea figures of a whole network: what stays frozen, what adapts for whom, and where the tasks part.

Grey is frozen and colour is trained. A task keeps its colour everywhere; what several tasks share is striped. One
layer and one block are in `drawings_layer.py`, a Swin's own parts in `drawings_swin.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ptsa_lite.tree import TaskTree

from .parts import FROZEN, adapter, box, picture, sheet, strands
from .style import INK, PAPER, SOFT, Drawing, task_colour


def draw_adaptation(
    tree: TaskTree, image: Any = None, outputs: Mapping[str, Any] | None = None, highlight: Iterable[str] | None = None,
    title: str = "",
) -> Figure:  # fmt: skip
    """The frozen backbone in grey, its adapters in colour, splitting stage by stage: a TaskTree at work.

    image (H, W, 3) and outputs {task: (H, W, 3)}, uint8, are shown at both ends where given. `highlight` names tasks
    whose paths keep their colour while the others fade.
    """
    order, lit = tree.leaf_order(), set(tree.tasks if highlight is None else highlight)
    row = 1.15 if outputs else 0.75
    leaf = {name: -row * i for i, name in enumerate(order)}
    top, bottom = 0.55, min(leaf.values()) - 0.55
    stages = [2.2 + 1.75 * i for i in range(len(tree.stages))]
    head = stages[-1] + 1.35
    right = head + (2.9 if outputs else 1.9)
    figure, axes = sheet((-0.95, right), (bottom - 0.5, top + 0.75), title)
    middle = (top + bottom) / 2
    strands(axes, tree, leaf, [0.0, *stages, head], lit)
    for x, groups in zip(stages, tree.stages, strict=True):
        box(axes, x, middle, 1.1, top - bottom, FROZEN, zorder=1)
        for group in groups:
            adapter(axes, x, np.mean([leaf[name] for name in group]), sorted(group, key=order.index), lit=lit)
        count = f"{len(groups)} adapter{'s' * (len(groups) > 1)}"
        axes.text(x, bottom - 0.12, count, ha="center", va="top", color=INK, fontsize=9)
    for number, x in enumerate(stages, 1):
        axes.text(x, top + 0.12, f"stage {number}\nfrozen", ha="center", va="bottom", color=SOFT, fontsize=9)
    picture(axes, image, 0.0, middle, 1.6)
    axes.text(0, middle + 0.92, "image", ha="center", va="bottom", color=SOFT, fontsize=9)
    for name in order:
        colour, alpha = task_colour(name), 1.0 if name in lit else 0.15
        box(axes, head, leaf[name], 0.5, 0.42, colour, alpha=alpha, zorder=4)
        axes.text(head, leaf[name], "head", ha="center", va="center", color=PAPER, fontsize=8, zorder=5)
        if outputs:
            picture(axes, outputs[name], head + 0.95, leaf[name], 1.0, alpha)
        axes.text(head + (1.55 if outputs else 0.4), leaf[name], name, va="center", color=colour, alpha=alpha,
                  fontweight="bold", fontsize=9)
    return figure


def draw_schemes(tasks: Sequence[str], tree: TaskTree, notes: Mapping[str, str] | None = None) -> Figure:
    """Four ways to serve T tasks, side by side: a model each; adapters for all; adapters each; a tree of adapters.

    tree: the example for the last one. notes: words under a panel, by its key in SCHEMES, such as its parameters.
    """
    tasks, n_stages = tuple(tasks), len(tree.stages)
    trees = {"own": None, "shared": TaskTree.shared(tasks, n_stages), "separate": TaskTree.separate(tasks, n_stages),
             "progressive": tree}
    xs = [0.0, *(1.15 + 1.15 * i for i in range(n_stages)), 1.15 * n_stages + 0.95]
    depth = 0.75 * (len(tasks) - 1)
    xlim, ylim = (-0.35, xs[-1] + 0.55), (-depth - 1.15, 1.05)
    figure = Drawing(figsize=(2 * 0.72 * (xlim[1] - xlim[0]), 2 * 0.72 * (ylim[1] - ylim[0])))
    for axes, (key, scheme) in zip(figure.subplots(2, 2).flat, trees.items(), strict=True):
        _scheme(axes, scheme or trees["separate"], xs, own=scheme is None)
        axes.text(xlim[0] + 0.05, 0.72, SCHEMES[key], fontweight="bold", va="bottom")
        axes.text(xlim[0] + 0.05, -depth - 0.6, (notes or {}).get(key, ""), color=SOFT, fontsize=9, va="top")
        axes.set(xlim=xlim, ylim=ylim)
        axes.set_aspect("equal")
        axes.axis("off")
    figure.subplots_adjust(left=0, right=1, bottom=0, top=1, wspace=0.02, hspace=0.02)
    return figure


def _scheme(axes, tree: TaskTree, xs: Sequence[float], own: bool) -> None:
    """One panel; `own` paints whole stages in each task's colour where the others have grey ones with adapters."""
    order = tree.leaf_order()
    leaf = {name: -0.75 * i for i, name in enumerate(order)}
    middle = min(leaf.values()) / 2
    strands(axes, tree, leaf, xs, set(order), fan_in=own)
    for x, groups in zip(xs[1:], tree.stages, strict=False):
        if own:
            for name in order:
                box(axes, x, leaf[name], 0.85, 0.56, task_colour(name), zorder=3)
            continue
        box(axes, x, middle, 0.85, -2 * middle + 0.8, FROZEN, zorder=1)
        for group in groups:
            adapter(axes, x, np.mean([leaf[name] for name in group]), sorted(group, key=order.index), 0.55)
    box(axes, xs[0], middle, 0.3, 0.9, PAPER, edge=SOFT, zorder=4)
    for name in order:
        box(axes, xs[-1], leaf[name], 0.3, 0.4, task_colour(name), zorder=4)


SCHEMES = {"own": "One model per task", "shared": "One set of adapters for all",
           "separate": "One set of adapters a task",
           "progressive": "Progressive: shared early, separate late"}
"""The panels of `draw_schemes`, by key."""
