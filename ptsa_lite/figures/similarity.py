"""The figures of a similarity and its uncertainty. A pair of tasks wears the colours of both."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from .parts import FROZEN
from .style import INK, SOFT, Drawing, spread, task_colour

Couple = tuple[int, int]


def draw_gradients(tasks: Sequence[str]) -> Figure:
    """Losses on top of one frozen backbone, a gradient back from each; beside it, gradients as (invented) arrows."""
    figure = Drawing(figsize=(10, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.45, 1])
    left.add_patch(FancyBboxPatch((0.9, -1.6), 1.5, 3.2, boxstyle="round,pad=0,rounding_size=0.12", color=FROZEN))
    left.text(1.65, 0, "frozen\nbackbone\n$\\theta$", ha="center", va="center", color=INK, fontsize=11)
    left.text(0.15, 0, "frame $x$", ha="center", va="center", color=SOFT)
    left.annotate("", (0.88, 0), (0.45, 0), arrowprops=dict(arrowstyle="-|>", color=SOFT))
    for name, y in zip(tasks, np.linspace(1.25, -1.25, len(tasks)), strict=True):
        bend = "arc3,rad=0.12" if y > 0 else "arc3,rad=-0.12"
        back = dict(arrowstyle="-|>", color=task_colour(name), lw=3, connectionstyle=bend)
        left.annotate("", (3.35, y), (2.42, y), arrowprops=dict(arrowstyle="-|>", color=SOFT))
        left.annotate("", (2.42, y - 0.22), (3.35, y - 0.22), arrowprops=back)
        left.text(3.45, y - 0.1, f"loss of {name}", va="center", color=task_colour(name), fontweight="bold")
    left.set(xlim=(-0.4, 5.2), ylim=(-1.75, 1.75), title="One backbone, a gradient from every task"), left.axis("off")
    for name, degrees in zip(tasks, np.resize([25, 62, 150, 275], len(tasks)), strict=True):
        x, y = _arrow(right, name, degrees, head=",head_width=0.35,head_length=0.7")
        right.text(1.2 * x, 1.2 * y, name, color=task_colour(name), ha="center", va="center", fontweight="bold")
    right.plot(0, 0, "o", color=INK, markersize=5)
    right.set(xlim=(-1.75, 1.75), ylim=(-1.3, 1.3), aspect="equal", title="The same weights, four wishes (invented)")
    right.axis("off")
    return figure


def draw_angles(matrix: Any, tasks: Sequence[str]) -> Figure:
    """Each pair of tasks as two arrows in a plane of their own, at the angle that their cosine says."""
    ranked = sorted(combinations(range(len(tasks)), 2), key=lambda couple: -matrix[couple])
    figure = Drawing(figsize=(11, 2.2), layout="constrained")
    for axes, couple in zip(figure.subplots(1, len(ranked), squeeze=False)[0], ranked, strict=True):
        angle = math.degrees(math.acos(matrix[couple]))
        for i, turn in zip(couple, (45 + angle / 2, 45 - angle / 2), strict=True):
            _arrow(axes, tasks[i], turn)
        axes.plot([1, 0, 0], [0, 0, 1], color=SOFT, linewidth=1, linestyle=":")  # a right angle
        axes.set(xlim=(-0.35, 1.1), ylim=(-0.35, 1.1), aspect="equal"), axes.axis("off")
        axes.set_title(f"{angle:.0f}°\n" + "\n".join(tasks[i] for i in couple), fontsize=9, loc="center")
    return figure


def draw_estimates(estimates: Mapping[str, tuple[Any, Any]], tasks: Sequence[str], title: str = "") -> Figure:
    """Measurements of one matrix side by side, {name: (matrix, error)}: all pairs, then each task with itself."""
    figure = Drawing(figsize=(11, 3))
    axes = figure.subplots()
    couples = list(combinations(range(len(tasks)), 2))
    cells = couples + [(i, i) for i in range(len(tasks))]
    for k, (name, (matrix, error)) in enumerate(estimates.items()):
        x = np.arange(len(cells)) + 0.28 * (k - (len(estimates) - 1) / 2)
        last = k == len(estimates) - 1
        axes.errorbar(x, [matrix[c] for c in cells], [2 * error[c] for c in cells], label=name, capsize=3, lw=1.5,
                      fmt="o" if last else "s", color=INK if last else SOFT)  # fmt: skip
    axes.axhline(0, color=SOFT, linewidth=1, linestyle=":")
    axes.axvline(len(couples) - 0.5, color=SOFT, linewidth=1)
    words = ["\n".join((tasks[i], tasks[j] if i != j else "itself")) for i, j in cells]
    axes.set_xticks(range(len(cells)), words, fontsize=8)
    axes.set(ylabel="mean cosine, two errors", title=title)
    axes.legend(ncols=2)
    return figure


def draw_how_sure(shorter: Mapping[int, Any], titles: tuple[str, str]) -> Figure:
    """Left: every pair's cosine from n frames, {n: Similarity}. Right: its standard error, and 1/sqrt(n) dotted."""
    counts, last = list(shorter), list(shorter.values())[-1]
    figure = Drawing(figsize=(11, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.5, 1])
    for place, (couple, style, height) in enumerate(_couples(last.matrix("plain", "same"), last.tasks, 0.05)):
        mean = [s.matrix("plain", "same")[couple] for s in shorter.values()]
        band = [s.error("plain", "same")[couple] for s in shorter.values()]
        x = [n * 1.02**place for n in counts]  # side by side
        left.errorbar(x, mean, band, fmt="o-", markersize=7, **style)
        _name(left, last.tasks, couple, (x[-1], mean[-1]), (1.3 * counts[-1], height))
    left.set(xscale="log", xlabel="frames", ylabel="cosine, same frame", title=titles[0])
    left.set_xlim(counts[0] / 1.2, counts[-1] * 4)
    for choice, colour in (("same", INK), ("different", SOFT)):
        errors = [np.mean([s.error("plain", choice)[c] for c in combinations(range(len(last.tasks)), 2)])
                  for s in shorter.values()]  # fmt: skip
        right.loglog(counts, errors, "o-" if choice == "same" else "s-", color=colour, label=f"{choice} frame"
                     + "s" * (choice == "different"))  # fmt: skip
        right.loglog(counts, [errors[-1] * (counts[-1] / n) ** 0.5 for n in counts], ":", color=colour)
    right.set(xlabel="frames", ylabel="standard error", title=titles[1])
    low, high = right.get_ylim()
    marks = [m for m in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if low < m < high]
    right.set_yticks(marks, [f"{m:g}" for m in marks])
    right.legend()
    for axes in (left, right):
        axes.set_xticks(counts, [str(n) for n in counts]), axes.minorticks_off()
    return figure


def draw_stages(similarity: Any, reading: str, pairs: str, title: str = "") -> Figure:
    """One line a pair of tasks over the stages, with one standard error, and the whole backbone beside them."""
    figure = Drawing(figsize=(8.5, 3.6))
    axes = figure.subplots()
    n = len(similarity.stages(reading, pairs))
    for couple, style, height in _couples(similarity.matrix(reading, pairs, n - 1), similarity.tasks, 0.03):
        y = [similarity.matrix(reading, pairs, s)[couple] for s in (*range(n), None)]
        e = [similarity.error(reading, pairs, s)[couple] for s in (*range(n), None)]
        axes.errorbar(range(1, n + 1), y[:-1], e[:-1], fmt="o-", markersize=9, capsize=3, **style)
        axes.errorbar([n + 2.4], y[-1:], e[-1:], fmt="o", markersize=9, capsize=3, **style)
        _name(axes, similarity.tasks, couple, (n, y[-2]), (n + 0.22, height))
    axes.axhline(0, color=SOFT, linewidth=1, linestyle=":", zorder=0)
    axes.set_xticks([*range(1, n + 1), n + 2.4], [*(f"stage {s + 1}" for s in range(n)), "whole"])
    axes.set(ylabel="cosine", title=title)
    return figure


def _arrow(axes, task: str, degrees: float, head: str = "") -> tuple[float, float]:
    """An arrow of length one from the origin in the task's colour; returns its tip."""
    tip = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    style = dict(arrowstyle="-|>" + head, color=task_colour(task), lw=3, shrinkA=0, shrinkB=0)
    axes.annotate("", tip, (0, 0), arrowprops=style)
    return tip


def _couples(matrix: Any, tasks: Sequence[str], gap: float) -> Iterator[tuple[Couple, dict, float]]:
    """Every pair of tasks, most alike first: its look, and a height for its name, apart from the others'."""
    ranked = sorted(combinations(range(len(tasks)), 2), key=lambda couple: -matrix[couple])
    for couple, height in zip(ranked, spread([float(matrix[c]) for c in ranked], gap), strict=True):
        inner, outer = (task_colour(tasks[i]) for i in couple)
        yield couple, dict(color=inner, markeredgecolor=outer, markeredgewidth=2.2), height


def _name(axes, tasks: Sequence[str], couple: Couple, point: tuple[float, float], place: tuple[float, float]) -> None:
    """The pair's name at a place, with a thin line from its last point."""
    axes.annotate(" with ".join(tasks[i] for i in couple), point, place, fontsize=8, va="center",
                  bbox=dict(facecolor=axes.get_facecolor(), edgecolor="none", pad=1),
                  arrowprops=dict(arrowstyle="-", color=SOFT, lw=0.6, shrinkA=0, shrinkB=6))  # fmt: skip
