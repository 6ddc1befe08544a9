"""Figures of a similarity, a tree, a training and a comparison."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path as Curve
from matplotlib.ticker import LogLocator, MaxNLocator
from matplotlib.transforms import offset_copy

from ptsa_lite.tree import TaskTree

from .style import BOX, INK, OURS, PAPER, SOFT, THEIRS, canvas, spread, task_colour


def draw_similarity(matrix: Any, names: Sequence[str], error: Any = None, title: str = "", axes=None) -> Figure:
    """A similarity matrix (T, T): red below zero, blue above, the number in each cell, its standard error beneath.

    The range is that of the pairs of different tasks: a diagonal of ones would leave every other cell pale.
    """
    matrix, count = np.asarray(matrix, float), len(names)
    others = np.abs(matrix[~np.eye(count, dtype=bool)])
    limit = max(float(others.max()) if others.size else 1.0, 1e-3)
    figure, axes = canvas(axes, (0.85 * count + 2.0, 0.85 * count + 0.9))
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


def draw_tree(tree: TaskTree, title: str = "", axes=None) -> Figure:
    """A TaskTree from left to right: a box per group in each stage, a coloured strand per task running through it."""
    order, stages = tree.leaf_order(), len(tree.stages)
    leaf = {name: -1.0 * index for index, name in enumerate(order)}
    columns = [[tuple(order)], *tree.stages, [(name,) for name in order]]  # image, stages, heads
    figure, axes = canvas(axes, (1.25 * stages + 3.4, 0.62 * len(order) + 1.0))
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
    figure, axes = canvas(axes, (6.4, 3.4))
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
    figure, axes = canvas(axes, (6.8, 4.2))
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
