"""Every figure of the project, as pure functions that return a Figure: one style, and one colour a task.

As the last line of a cell a figure is shown once; elsewhere, and in a widget, `IPython.display.display(figure)` shows
it. Figures have an opaque light ground, so that they read the same on a light and on a dark page.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path as Curve
from matplotlib.ticker import LogLocator, MaxNLocator
from matplotlib.transforms import offset_copy

from ptsa_lite.tasks import SUITES

from .pictures import PAPER, Drawing, colour_labels, draw_pca, draw_predictions

__all__ = [
    "colour_labels", "draw_curves", "draw_pca", "draw_predictions", "draw_similarity", "draw_tradeoff", "draw_tree",
    "leaf_order", "save_figure", "task_colour", "use_style",
]

INK, SOFT, BOX = "#1d2730", "#66727c", "#eceff1"
OURS, THEIRS = "#0072B2", "#8a949c"
CHOSEN = "#D55E00"  # the one to look at


def use_style() -> None:
    """The project's look for every figure drawn after this call."""
    plt.rcParams.update({
        "figure.dpi": 110, "savefig.dpi": 160, "savefig.bbox": "tight", "svg.hashsalt": "ptsa_lite",
        "figure.facecolor": PAPER, "axes.facecolor": PAPER, "savefig.facecolor": PAPER,
        "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": SOFT, "xtick.color": SOFT, "ytick.color": SOFT,
        "xtick.labelcolor": INK, "ytick.labelcolor": INK, "font.size": 10, "axes.titlesize": 11,
        "axes.titlelocation": "left", "axes.titleweight": "bold", "axes.spines.top": False, "axes.spines.right": False,
        "axes.grid": False, "grid.color": "#dde1e4", "lines.linewidth": 2, "legend.frameon": False,
    })


def save_figure(figure: Figure, name: str, out_dir: str | Path) -> Path:
    """Write out_dir/figures/NAME.svg and .png without dates or random ids: an unchanged figure is an unchanged file.

    NAME begins with the notebook's number. `notebooks build` takes the figures of a default run into figures/; a run
    on other data leaves that folder alone. Returns the path of the .svg.
    """
    if not (name[:2].isdigit() and name[2:3] == "_"):
        raise ValueError(f"figure {name!r} must be named after its notebook's number, as in '03_similarity'")
    folder = Path(out_dir) / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    with plt.rc_context({"svg.hashsalt": "ptsa_lite"}):
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None}, facecolor=PAPER, bbox_inches="tight")
        figure.savefig(folder / f"{name}.png", dpi=160, facecolor=PAPER, bbox_inches="tight")
    return folder / f"{name}.svg"


def task_colour(name: str) -> str:
    """A task's one colour, whatever the suite; grey for a name that no suite has, such as a copy of a task."""
    return next((suite[name].colour for suite in SUITES.values() if name in suite), SOFT)


def draw_similarity(matrix: Any, names: Sequence[str], error: Any = None, title: str = "", axes=None) -> Figure:
    """A similarity matrix (T, T): red below zero, blue above, the number in each cell, its standard error beneath.

    The range is that of the pairs of different tasks: a diagonal of ones would leave every other cell pale.
    """
    matrix, count = np.asarray(matrix, float), len(names)
    others = np.abs(matrix[~np.eye(count, dtype=bool)])
    limit = max(float(others.max()) if others.size else 1.0, 1e-3)
    figure, axes = _canvas(axes, (0.85 * count + 2.0, 0.85 * count + 0.9))
    shown = axes.imshow(matrix, cmap="RdBu", vmin=-limit, vmax=limit)
    for row in range(count):
        for column in range(count):
            text = f"{matrix[row, column]:.2f}".replace("-", "−")
            if error is not None and row != column:
                text += f"\n±{np.asarray(error)[row, column]:.2f}"
            strong = abs(matrix[row, column]) > 0.6 * limit
            axes.text(column, row, text, ha="center", va="center", fontsize=9, color=PAPER if strong else INK)
    axes.set_xticks(range(count), names, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(count), names)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set(color=task_colour(label.get_text()), fontweight="bold")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.colorbar(shown, ax=axes, shrink=0.8, label="similarity, higher: the gradients agree", extend="both")
    axes.set_title(title)
    return figure


def leaf_order(tree: Any) -> list[str]:
    """The tasks in the order in which the tree's branches do not cross: the order for the matrix beside it."""
    place = {name: index for index, name in enumerate(tree.tasks)}
    first = [{name: min(place[one] for one in group) for group in stage for name in group} for stage in tree.stages]
    return sorted(tree.tasks, key=lambda name: (*[stage[name] for stage in first], place[name]))


def draw_tree(tree: Any, title: str = "", axes=None) -> Figure:
    """A TaskTree from left to right: a box per group in each stage, a coloured strand per task running through it."""
    order, stages = leaf_order(tree), len(tree.stages)
    leaf = {name: -1.0 * index for index, name in enumerate(order)}
    columns = [[tuple(order)], *tree.stages, [(name,) for name in order]]  # image, stages, heads
    figure, axes = _canvas(axes, (1.25 * stages + 3.4, 0.62 * len(order) + 1.0))
    heights = []  # per column, the height of each task's strand
    for x, groups in enumerate(columns):
        heights.append({})
        for group in groups:
            middle, members = np.mean([leaf[name] for name in group]), sorted(group, key=order.index)
            for index, name in enumerate(members):
                heights[x][name] = middle - 0.22 * (index - (len(members) - 1) / 2)
            if 0 < x <= stages:
                half = 0.11 * len(members) + 0.14
                axes.add_patch(FancyBboxPatch((x - 0.26, middle - half), 0.52, 2 * half, facecolor=BOX, edgecolor=SOFT,
                                              linewidth=1, boxstyle="round,pad=0,rounding_size=0.1", zorder=1))
    for name in order:
        points, codes = [(0, heights[0][name])], [Curve.MOVETO]
        for x in range(stages + 1):
            y, z = heights[x][name], heights[x + 1][name]
            points += [(x + 0.26, y), (x + 0.5, y), (x + 0.5, z), (x + 0.74, z), (x + 1, z)]
            codes += [Curve.LINETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4, Curve.LINETO]
        axes.add_patch(PathPatch(Curve(points, codes), facecolor="none", edgecolor=task_colour(name), linewidth=4,
                                 zorder=2))
        axes.text(stages + 1.08, leaf[name], name, va="center", color=task_colour(name), fontweight="bold")
    top = 0.75
    axes.text(0, top, "image", ha="center", color=SOFT)
    for number, stage in enumerate(tree.stages, 1):
        axes.text(number, top, f"stage {number}\n{len(stage)} group{'s' * (len(stage) > 1)}", ha="center", color=SOFT)
    axes.set(xlim=(-0.2, stages + 2.3), ylim=(min(leaf.values()) - 0.6, top + 0.7), title=title)
    axes.axis("off")
    return figure


def draw_curves(losses: dict[str, Sequence[float]], x: Sequence[float] | None = None, xlabel: str = "epoch",
                relative: bool = True, title: str = "", axes=None) -> Figure:
    """Loss per task over epochs or steps; `relative` divides each by its first value, as the units differ."""
    figure, axes = _canvas(axes, (6.4, 3.4))
    ends = {}
    for name, values in losses.items():
        values = np.asarray(values, float)
        values = values / values[0] if relative else values
        axes.plot(x if x is not None else np.arange(1, len(values) + 1), values, color=task_colour(name))
        ends[name] = values[-1]
    axes.set(xlabel=xlabel, ylabel="loss / first loss, lower is better" if relative else "loss, lower is better")
    axes.set_title(title)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.01)
    gap = 0.07 * axes.get_ylim()[1]
    for (name, end), height in zip(ends.items(), spread(list(ends.values()), gap), strict=True):
        axes.annotate(name, (1.0, end), (1.02, height), xycoords=axes.get_yaxis_transform(), color=task_colour(name),
                      textcoords=axes.get_yaxis_transform(), va="center", fontweight="bold")
    return figure


def draw_tradeoff(rows: Sequence[dict], x: str = "trainable", title: str = "", axes=None) -> Figure:
    """delta_m against cost, a point per row {"label", "delta_m", "trainable" or "gmacs"}, "published", "strong".

    Ours are filled discs, published numbers hollow diamonds; a strong row stands out. A thin line leads to a label that
    had to move. Rows without delta_m or without the cost are left out.
    """
    if x not in ("trainable", "gmacs"):
        raise ValueError(f"cost {x!r} is neither 'trainable' nor 'gmacs'")
    rows = [row for row in rows if row.get("delta_m") is not None and row.get(x) is not None]
    figure, axes = _canvas(axes, (6.8, 4.2))
    axes.axhline(0, color=SOFT, linewidth=1, linestyle=(0, (4, 3)))
    scale = 1e-6 if x == "trainable" else 1.0
    heights = [row["delta_m"] for row in rows]
    span = max(heights + [0]) - min(heights + [0]) or 1.0
    inches = axes.get_position().height * figure.get_figheight()
    room = offset_copy(axes.transData, figure, 10, 0, "points")
    for row, height in zip(rows, _beside([row[x] for row in rows], heights, 0.24 / inches * span), strict=True):
        published, strong = bool(row.get("published")), bool(row.get("strong"))
        axes.plot(row[x] * scale, row["delta_m"], linestyle="", marker="D" if published else "o",
                  markersize=7 if published else 9, markerfacecolor=PAPER if published else OURS,
                  markeredgecolor=THEIRS if published and not strong else OURS, markeredgewidth=1.5, zorder=3)
        moved = abs(height - row["delta_m"]) > 0.01 * span
        leader = dict(arrowstyle="-", color=THEIRS, linewidth=0.6, shrinkA=1, shrinkB=3, relpos=(0, 0.5))
        axes.annotate(row["label"], (row[x] * scale, row["delta_m"]), (row[x] * scale, height), textcoords=room,
                      va="center", fontsize=9, color=SOFT if published and not strong else INK,
                      fontweight="bold" if strong else "normal", arrowprops=leader if moved else None, zorder=2,
                      bbox=dict(facecolor=PAPER, edgecolor="none", pad=0.5))
    axes.set_xlabel("trainable parameters, millions" if x == "trainable" else "GMACs, one image")
    axes.set_ylabel("Δm against single task, %, higher is better")
    if x == "trainable":
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
    axes.margins(x=0.15, y=0.12)
    axes.set_title(title)
    return figure


def _beside(costs: Sequence[float], heights: Sequence[float], gap: float) -> list[float]:
    """Heights for labels to the right of their points: moved apart only among points whose labels could meet."""
    order, apart, run = np.argsort(costs, kind="stable"), list(heights), []
    for place, i in enumerate(order):
        run.append(i)
        if place + 1 == len(order) or costs[order[place + 1]] > 2.5 * costs[run[0]]:  # a label is about that long
            for k, height in zip(run, spread([heights[k] for k in run], gap), strict=True):
                apart[k] = height
            run = []
    return apart


def spread(values: Sequence[float], gap: float) -> list[float]:
    """The values moved apart as little as it takes to leave `gap` between neighbours: heights for labels."""
    order = np.argsort(values, kind="stable")
    moved = np.asarray(values, float)[order]
    for _ in range(200):  # each pair too close is pushed apart evenly until all have room
        short = gap - np.diff(moved)
        if (short <= 1e-9 * gap).all():
            break
        push = np.maximum(short, 0) / 2
        moved[1:] += push
        moved[:-1] -= push
    result = np.empty(len(moved))
    result[order] = moved
    return result.tolist()


def _canvas(axes, size: tuple[float, float]) -> tuple[Figure, Any]:
    """The figure and axes to draw on: those given, or new ones of this size in inches."""
    if axes is not None:
        return axes.figure, axes
    figure = Drawing(figsize=size)
    return figure, figure.subplots()
