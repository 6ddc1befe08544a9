"""Figures of a whole network: what stays frozen, what adapts for whom, and where the tasks part.

Grey is frozen and colour is trained. A task keeps its colour everywhere; what several tasks share is striped.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ptsa_lite.tasks import Task
from ptsa_lite.tree import TaskTree

from .parts import adapter, arrow, box, fade, heights, leaves, picture, sheet, strands
from .similarity import similarity_cells
from .style import BOX, FROZEN, INK, PAPER, SOFT, Drawing, canvas, contrast, task_colour, task_ink


def draw_tree(tree: TaskTree, title: str = "", axes=None) -> Figure:
    """A TaskTree from left to right: a box per group in each stage, a coloured strand per task running through it."""
    leaf, end = leaves(tree, 1.0), len(tree.stages) + 1
    figure, axes = canvas((1.25 * end + 2.15, 0.62 * len(leaf) + 1.0), axes)
    strands(axes, heights(tree, leaf, 0.22), range(end + 1), width=4)
    axes.text(0, 0.75, "image", ha="center", color=SOFT)
    for x, groups in enumerate(tree.stages, 1):
        for group in groups:
            box(axes, x, np.mean([leaf[name] for name in group]), 0.52, 0.22 * len(group) + 0.28, BOX, SOFT, zorder=1)
        words = f"stage {x}\n{len(groups)} group{'s' * (len(groups) > 1)}"
        axes.text(x, 0.75, words, ha="center", color=SOFT)
    for name, y in leaf.items():
        axes.text(end + 0.08, y, name, va="center", color=task_ink(name), fontweight="bold")
    axes.set(xlim=(-0.2, end + 1.3), ylim=(min(leaf.values()) - 0.6, 1.45), title=title)
    axes.axis("off")
    return figure


def draw_tree_beside(tree: TaskTree, similarity: Any, error: Any, names: Sequence[str], title: str) -> Figure:
    """The tree, and its similarity (T, T) ± its standard error in the order of the leaves: each leaf meets its row."""
    order, row = list(leaves(tree, 1.0)), 0.85  # inches
    at = [list(names).index(name) for name in order]
    side = row * len(names)
    width, height, foot = 6.4 + side + 0.3, side + 1.45 * row + 0.9, 0.9
    figure = Drawing(figsize=(width, height))
    left = figure.add_axes([0, (foot - 0.1 * row) / height, 6.4 / width, (side + 1.05 * row) / height])
    right = figure.add_axes([6.4 / width, foot / height, side / width, side / height])
    draw_tree(tree, title, left)
    cells = np.ix_(at, at)
    similarity_cells(right, np.asarray(similarity, float)[cells], order, np.asarray(error)[cells])
    right.set(yticks=[], title="similarity ± standard error")
    return figure


def draw_adaptation(
    tree: TaskTree, image: Any, outputs: Mapping[str, Any] | None = None, highlight: Collection[str] | None = None,
    opened: Sequence[float] | None = None,
) -> Figure:  # fmt: skip
    """The frozen backbone in grey, its adapters in colour, splitting stage by stage: a TaskTree at work.

    image (H, W, 3) and, where given, outputs {task: (H, W, 3)}, uint8, are shown at the ends. `highlight` names tasks
    whose paths keep their colour while the others fade. opened: how far each stage's groups have separated, from 0 to
    1, for a drawing that moves.
    """
    leaf = leaves(tree, 1.15 if outputs else 0.75)
    figure, axes, xs = _network(tree, leaf, 3.1 if outputs else 1.9, 0.5, highlight, opened)
    middle, low, head = min(leaf.values()) / 2, min(leaf.values()) - 0.55, xs[-1]
    for x, groups, share in zip(xs[1:], tree.stages, opened or [1.0] * len(tree.stages), strict=False):
        n = len(groups) if share else 1
        count = f"{n} adapter{'s' * (n > 1)}"
        axes.text(x, low - 0.12, count, ha="center", va="top", color=INK, fontsize=9)
    picture(axes, image, 0.0, middle, 1.6)
    axes.text(0, middle + 0.92, "image", ha="center", va="bottom", color=SOFT, fontsize=9)
    for name, y in leaf.items():
        alpha = fade([name], highlight)
        if outputs:
            picture(axes, outputs[name], head + 0.95, y, 1.0, alpha)
        axes.text(head + (1.55 if outputs else 0.4), y, name, va="center", color=task_ink(name),
                  alpha=alpha, fontweight="bold", fontsize=9)  # fmt: skip
    return figure


def draw_training(tree: TaskTree, tasks: Mapping[str, Task]) -> Figure:
    """One step of training: each task's weighted loss behind its head, their sum, and one gradient back."""
    leaf = leaves(tree, 0.75)
    figure, axes, xs = _network(tree, leaf, 4.8, 1.0)
    middle, low, head, first = min(leaf.values()) / 2, min(leaf.values()) - 0.55, xs[-1], xs[1]
    total = head + 4.2
    for name, y in leaf.items():
        axes.text(head + 0.4, y, f"{tasks[name].loss_weight:g} × loss of {name}", va="center", fontsize=9,
                  color=task_ink(name), fontweight="bold")  # fmt: skip
        axes.plot([head + 3.1, total], [y, middle], color=SOFT, linewidth=1, zorder=1)
    box(axes, total, middle, 0.8, 0.6, BOX, SOFT, zorder=3, words="sum")
    axes.plot([total, total, first], [middle - 0.3, low - 0.4, low - 0.4], color=INK, linewidth=1.5)
    arrow(axes, (first, low - 0.44), (first, low), linewidth=1.5)
    words = "one gradient: it trains what is coloured, and passes through what is grey"
    axes.text((total + first) / 2, low - 0.5, words, ha="center", va="top", fontsize=9)
    return figure


def _network(
    tree: TaskTree, leaf: Mapping[str, float], right: float, foot: float, lit: Collection[str] | None = None,
    opened: Sequence[float] | None = None,
) -> tuple[Figure, Any, list[float]]:  # fmt: skip
    """Strands from the image through frozen stages, with an adapter per group, to heads: figure, axes, x of each.

    right and foot: the room beside the heads and under the stages.
    """
    xs = [0.0, *(2.2 + 1.75 * i for i in range(len(tree.stages))), 1.75 * len(tree.stages) + 1.8]
    low, high = min(leaf.values()) - 0.55, 0.55
    figure, axes = sheet((-0.95, xs[-1] + right), (low - foot, 1.3))
    columns = heights(tree, leaf, opened=opened)
    strands(axes, columns, xs, lit)
    for number, (x, groups, column) in enumerate(zip(xs[1:], tree.stages, columns[1:], strict=False), 1):
        box(axes, x, (low + high) / 2, 1.1, high - low, FROZEN, zorder=1)
        axes.text(x, high + 0.12, f"stage {number}\nfrozen", ha="center", va="bottom", color=SOFT, fontsize=9)
        for group in groups if column != columns[0] else [tuple(leaf)]:
            y = np.mean([column[name] for name in group])
            adapter(axes, x, y, sorted(group, key=list(leaf).index), lit=lit)
    for name, y in leaf.items():
        alpha = fade([name], lit)
        ink = max(PAPER, INK if alpha == 1 else PAPER, key=lambda one: contrast(one, task_colour(name)))
        box(axes, xs[-1], y, 0.5, 0.42, task_colour(name), alpha=alpha, zorder=4, words="head", color=ink, fontsize=8)
    return figure, axes, xs


SCHEMES = {"own": "One model per task", "shared": "One set of adapters for all",
           "separate": "One set of adapters per task",
           "progressive": "Progressive: shared early, separate late"}  # fmt: skip
"""The panels of `draw_schemes`, by key."""


def draw_schemes(tree: TaskTree, notes: Mapping[str, str]) -> Figure:
    """Four ways to serve T tasks, side by side: a model each; adapters for all; adapters each; a tree of adapters.

    tree: the example for the last one. notes: words under a panel, by its key in SCHEMES, such as its parameters.
    """
    tasks, stages = tree.tasks, len(tree.stages)
    separate = TaskTree.separate(tasks, stages)
    trees = {"own": separate, "shared": TaskTree.shared(tasks, stages), "separate": separate, "progressive": tree}
    xs = [0.0, *(1.15 + 1.15 * i for i in range(stages)), 1.15 * stages + 0.95]
    depth = 0.75 * (len(tasks) - 1)
    xlim, ylim = (-0.35, xs[-1] + 0.55), (-depth - 1.15, 1.05)
    figure = Drawing(figsize=(1.44 * (xlim[1] - xlim[0]), 1.44 * (ylim[1] - ylim[0])))
    for axes, (key, scheme) in zip(figure.subplots(2, 2).flat, trees.items(), strict=True):
        leaf = leaves(scheme, 0.75)
        strands(axes, heights(scheme, leaf), xs)
        for x, groups in zip(xs[1:], scheme.stages, strict=False):
            if key != "own":
                box(axes, x, -depth / 2, 0.85, depth + 0.8, FROZEN, zorder=1)
            for group in groups:
                y = np.mean([leaf[name] for name in group])
                if key == "own":  # whole stages in each task's colour
                    box(axes, x, y, 0.85, 0.56, task_colour(group[0]), zorder=3)
                else:
                    adapter(axes, x, y, sorted(group, key=list(leaf).index), 0.55)
        box(axes, xs[0], -depth / 2, 0.3, 0.9, PAPER, edge=SOFT, zorder=4)
        for name, y in leaf.items():
            box(axes, xs[-1], y, 0.3, 0.4, task_colour(name), zorder=4)
        axes.text(xlim[0] + 0.05, 0.72, SCHEMES[key], fontweight="bold", va="bottom")
        axes.text(xlim[0] + 0.05, -depth - 0.6, notes.get(key, ""), color=SOFT, fontsize=9, va="top")
        axes.set(xlim=xlim, ylim=ylim, aspect="equal")
        axes.axis("off")
    figure.subplots_adjust(left=0, right=1, bottom=0, top=1, wspace=0.02, hspace=0.02)
    return figure


def draw_capacities(rivals: Sequence[tuple[str, TaskTree, Sequence[int]]]) -> Figure:
    """Rivals (title, tree, rank in each stage): a column per stage, a box per group as high as its rank.

    The stripes of a box are the tasks that train it. What does not fit is cut, and its rank is written above.
    """
    top, figure = 44, Drawing(figsize=(12, 3.6))
    for axes, (title, tree, ranks) in zip(figure.subplots(1, len(rivals), sharey=True), rivals, strict=True):
        for stage, (groups, rank) in enumerate(zip(tree.stages, ranks, strict=True)):
            floor = 0
            for group in groups:
                height = min(rank, top - floor)
                for k, name in enumerate(group):
                    axes.bar(stage, height / len(group), 0.8, floor + height * k / len(group), color=task_colour(name))
                axes.bar(stage, height, 0.8, floor, facecolor="none", edgecolor=PAPER, linewidth=1.5)
                floor += height
            axes.text(stage, floor + 0.8, f"{len(groups)} × {rank}", ha="center", va="bottom", fontsize=8)
        axes.set_title(title, fontsize=9.5)
        axes.set(ylim=(0, top + 4), yticks=(), xticks=range(len(ranks)),
                 xticklabels=[f"stage {s + 1}" for s in range(len(ranks))])  # fmt: skip
        axes.tick_params(labelsize=7.5, length=0)
        axes.spines[["left", "bottom"]].set_visible(False)
    figure.subplots_adjust(left=0.01, right=0.99, wspace=0.12)
    return figure
