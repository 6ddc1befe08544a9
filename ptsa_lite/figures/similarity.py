"""The figures of a similarity and its uncertainty. A pair of tasks wears the colours of both."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from ptsa_lite.similarity import Similarity

from .parts import arrow, box
from .style import FROZEN, INK, PAPER, SOFT, Drawing, canvas, name_ends, plain_ticks, task_colour, task_ink


def draw_similarity(matrix: Any, names: Sequence[str], error: Any = None, title: str = "",
                    limit: float | None = None) -> Figure:  # fmt: skip
    """A similarity matrix (T, T) with its standard errors (T, T) where known; see `draw_similarities`."""
    return draw_similarities({title: (matrix, error)}, names, limit)


def draw_similarities(
    panels: Mapping[str, tuple[Any, Any]], names: Sequence[str], limit: float | None = None
) -> Figure:
    """Matrices (T, T) side by side on one scale, {title: (matrix, error or None)}: red below zero, blue above.

    The number stands in each cell, its standard error beneath. The scale ends at `limit`, by default at the largest
    pair of different tasks: a diagonal of ones would leave every other cell pale.
    """
    count, unlike = len(names), ~np.eye(len(names), dtype=bool)
    if limit is None:
        limit = max(np.nanmax(np.abs(np.asarray(m, float)[unlike]), initial=1e-3) for m, _ in panels.values())
    side = 0.85 * count + 1.0
    figure = Drawing(figsize=(side * len(panels) + 1.0, side), layout="constrained")
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, (matrix, error)) in zip(grid, panels.items(), strict=True):
        shown = similarity_cells(axes, matrix, names, error, limit)
        axes.set_title(title)
    figure.colorbar(shown, ax=grid, shrink=0.8, label="similarity, higher: the gradients agree", extend="both")
    return figure


def similarity_cells(axes, matrix: Any, names: Sequence[str], error: Any = None, limit: float | None = None):
    """One matrix on these axes, as `draw_similarities` says."""
    matrix, count = np.asarray(matrix, float), len(names)
    limit = limit or np.nanmax(np.abs(matrix[~np.eye(count, dtype=bool)]), initial=1e-3)
    shown = axes.imshow(matrix, cmap="RdBu", vmin=-limit, vmax=limit)
    for row, column in np.ndindex(count, count):
        words = f"{matrix[row, column]:.2f}".replace("-", "−").replace("nan", "–")  # a dash where nothing was labelled
        if error is not None and row != column and words != "–":
            words += f"\n±{np.asarray(error, float)[row, column]:.2f}"
        strong = abs(matrix[row, column]) > 0.6 * limit
        axes.text(column, row, words, ha="center", va="center", fontsize=9, color=PAPER if strong else INK)
    axes.set_xticks(range(count), names, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(count), names)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set(color=task_ink(label.get_text()), fontweight="bold")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return shown


def draw_gradients(names: Sequence[str]) -> Figure:
    """Losses on top of one frozen backbone, a gradient back from each; beside it, gradients as (invented) arrows."""
    figure = Drawing(figsize=(10, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.45, 1])
    box(left, 1.65, 0, 1.5, 3.2, FROZEN, words="frozen\nbackbone\n$\\theta$", fontsize=11)
    left.text(0.15, 0, "frame $x$", ha="center", va="center", color=SOFT)
    arrow(left, (0.45, 0), (0.88, 0), SOFT)
    for name, y in zip(names, np.linspace(1.25, -1.25, len(names)), strict=True):
        arrow(left, (2.42, y), (3.35, y), SOFT)
        bend = "arc3,rad=0.12" if y > 0 else "arc3,rad=-0.12"
        arrow(left, (3.35, y - 0.22), (2.42, y - 0.22), task_colour(name), linewidth=3, connectionstyle=bend)
        left.text(3.45, y - 0.1, f"loss of {name}", va="center", color=task_ink(name), fontweight="bold")
    left.set(xlim=(-0.4, 5.2), ylim=(-1.75, 1.75), title="One backbone, a gradient from every task")
    for name, degrees in zip(names, np.resize([25, 62, 150, 275], len(names)), strict=True):
        x, y = _arrow(right, name, degrees, head=",head_width=0.35,head_length=0.7")
        right.text(1.2 * x, 1.2 * y, name, color=task_ink(name), ha="center", va="center", fontweight="bold")
    right.plot(0, 0, "o", color=INK, markersize=5)
    right.set(xlim=(-1.75, 1.75), ylim=(-1.3, 1.3), aspect="equal", title="The same weights, four gradients (invented)")
    for axes in (left, right):
        axes.axis("off")
    return figure


def draw_angles(matrix: Any, names: Sequence[str]) -> Figure:
    """Each pair of tasks as two arrows in a plane of their own, at the angle whose cosine is in the matrix (T, T)."""
    ranked = sorted(combinations(range(len(names)), 2), key=lambda couple: -matrix[couple])
    figure = Drawing(figsize=(11, 2.2), layout="constrained")
    for axes, couple in zip(figure.subplots(1, len(ranked), squeeze=False)[0], ranked, strict=True):
        angle = math.degrees(math.acos(matrix[couple]))
        for i, turn in zip(couple, (45 + angle / 2, 45 - angle / 2), strict=True):
            _arrow(axes, names[i], turn)
        axes.plot([1, 0, 0], [0, 0, 1], color=SOFT, linewidth=1, linestyle=":")  # a right angle
        axes.set(xlim=(-0.35, 1.1), ylim=(-0.35, 1.1), aspect="equal")
        axes.axis("off")
        axes.set_title(f"{angle:.0f}°\n" + "\n".join(names[i] for i in couple), fontsize=9, loc="center")
    return figure


def _arrow(axes, task: str, degrees: float, head: str = "") -> tuple[float, float]:
    """An arrow of length one from the origin in the task's colour; returns its tip."""
    tip = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    arrow(axes, (0, 0), tip, task_colour(task), arrowstyle="-|>" + head, linewidth=3)
    return tip


def draw_estimates(estimates: Mapping[str, tuple[Any, Any]], names: Sequence[str], title: str = "",
                   itself: bool = False) -> Figure:  # fmt: skip
    """Measurements of one matrix side by side for each pair of tasks, with two standard errors.

    estimates: {name: (matrix, error)}, both (T, T); the first is drawn as a square, all others as discs. `itself` adds
    each task with itself, which says something where the two gradients come from different frames.
    """
    figure, axes = canvas((11, 3.4))
    cells = [*combinations(range(len(names)), 2), *(((i, i) for i in range(len(names))) if itself else ())]
    shades = (INK, *colormaps["viridis"](np.linspace(0.3, 0.9, len(estimates) - 1)))
    for k, (name, (matrix, error)) in enumerate(estimates.items()):
        x = np.arange(len(cells)) + 0.7 / len(estimates) * (k - (len(estimates) - 1) / 2)
        axes.errorbar(x, [matrix[i][j] for i, j in cells], [2 * error[i][j] for i, j in cells], color=shades[k],
                      fmt="o" if k else "s", capsize=3, linewidth=1.5, label=name)  # fmt: skip
    axes.axhline(0, color=SOFT, linewidth=1, linestyle=":", zorder=0)
    for place in range(len(cells) - 1):
        axes.axvline(place + 0.5, color=SOFT, linewidth=0.5, alpha=0.4, zorder=0)
    words = ["\n".join((names[i], names[j] if i != j else "itself")) for i, j in cells]
    axes.set_xticks(range(len(cells)), words, fontsize=8)
    axes.set(ylabel="mean cosine, two errors", title=title)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8.5)
    return figure


def draw_how_sure(shorter: Mapping[int, Similarity], titles: tuple[str, str]) -> Figure:
    """Left: every pair's cosine from n frames, {n: Similarity}. Right: its standard error, and 1/sqrt(n) dotted."""
    counts, last = list(shorter), list(shorter.values())[-1]
    figure = Drawing(figsize=(12, 3.4))
    left, right = figure.subplots(1, 2, width_ratios=[1.3, 1], gridspec_kw=dict(wspace=0.75))
    left.set(xscale="log", xlabel="frames", ylabel="cosine, same frame", title=titles[0])
    found = [(s.matrix("plain", "same"), s.error("plain", "same")) for s in shorter.values()]
    _pairs(left, last.tasks, counts, found, aside=1.02)
    different = np.triu_indices(len(last.tasks), 1)
    for choice, colour, line in (("same", INK, "o-"), ("different", SOFT, "s-")):
        errors = [s.error("plain", choice)[different].mean() for s in shorter.values()]
        right.loglog(counts, errors, line, color=colour, label=f"{choice} frame" + "s" * (choice == "different"))
        right.loglog(counts, [errors[-1] * (counts[-1] / n) ** 0.5 for n in counts], ":", color=colour)
    right.set(xlabel="frames", ylabel="standard error", title=titles[1])
    right.legend()
    plain_ticks(right.yaxis)
    for axes in (left, right):
        axes.set_xticks(counts, [str(n) for n in counts])
        axes.minorticks_off()
    return figure


def draw_stages(similarity: Similarity, reading: str, pairs: str, title: str = "") -> Figure:
    """One line per pair of tasks over the stages, with one standard error, and the whole backbone beside them."""
    figure, axes = canvas((8.5, 3.6))
    n = len(similarity.stages(reading, pairs))
    found = [(similarity.matrix(reading, pairs, s), similarity.error(reading, pairs, s)) for s in (*range(n), None)]
    found.insert(n, (np.full_like(found[0][0], np.nan), None))  # where the line breaks
    axes.set(ylabel="cosine", title=title)
    _pairs(axes, similarity.tasks, [*range(1, n + 1), n + 0.6, n + 1.2], found)
    axes.axhline(0, color=SOFT, linewidth=1, linestyle=":", zorder=0)
    axes.set_xticks([*range(1, n + 1), n + 1.2], [*(f"stage {s + 1}" for s in range(n)), "whole"])
    return figure


def _pairs(
    axes, names: Sequence[str], xs: Sequence[float], found: Sequence[tuple[Any, Any]], aside: float = 1.0
) -> None:
    """A line per pair of tasks through what was found at each x, (matrix, error or None), with its name at the end.

    aside: a factor by which each line stands right of the one before, on a logarithmic axis.
    """
    ends = []
    for place, (i, j) in enumerate(combinations(range(len(names)), 2)):
        x = np.multiply(xs, aside**place)
        y, e = ([0 if of is None else of[i, j] for of in side] for side in zip(*found, strict=True))
        axes.errorbar(x, y, e, fmt="o-", markersize=8, capsize=3, color=task_colour(names[i]),
                      markeredgecolor=task_colour(names[j]), markeredgewidth=2.2)  # fmt: skip
        ends.append((x[-1], y[-1], f"{names[i]} with {names[j]}", {}))
    name_ends(axes, ends)
