"""What the idea figures are made of: strands, hourglasses, boxes. Grey is frozen, colour is trained."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon, Rectangle
from matplotlib.path import Path as Curve

from ptsa_lite.tree import TaskTree

from .style import FROZEN, INK, PAPER, Drawing, task_colour

RIBBON = 0.13  # height of one task's strand, in the drawing's units
INCH = 0.8  # inches a unit
STRAND = 72 * RIBBON * INCH * 0.8  # width of a strand's line, in points


def sheet(xlim: tuple[float, float], ylim: tuple[float, float]) -> tuple[Figure, Any]:
    """A figure whose units are INCH inches, so that line widths can be given in units too."""
    figure = Drawing(figsize=(INCH * (xlim[1] - xlim[0]), INCH * (ylim[1] - ylim[0])))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=xlim, ylim=ylim, aspect="equal")
    axes.axis("off")
    return figure, axes


def spread(names: Sequence[str], middle: float, step: float = RIBBON) -> dict[str, float]:
    """Each name's height, the first on top, a step above the next, all around a middle."""
    return {name: middle - step * (i - (len(names) - 1) / 2) for i, name in enumerate(names)}


def leaves(tree: TaskTree, step: float) -> dict[str, float]:
    """Each task's height, a step below the one before: in an order in which every group of every stage is together."""
    stages = range(len(tree.stages))
    order = sorted(tree.tasks, key=lambda task: [tree.group_of(stage, task) for stage in stages])
    return {task: -step * i for i, task in enumerate(order)}


def heights(
    tree: TaskTree, leaf: Mapping[str, float], ribbon: float = RIBBON, opened: Sequence[float] | None = None
) -> list[Mapping[str, float]]:
    """At the image, in each stage and at the heads: how high each task's ribbon runs, side by side within a group.

    leaf: each task's height at its head. opened: how far the groups of each stage have left the middle, from 0 (all
    tasks still run together) to 1, where nothing else is said.
    """

    def column(groups: Sequence[Sequence[str]]) -> dict[str, float]:
        found = {}
        for group in groups:
            middle = np.mean([leaf[name] for name in group])
            found |= spread(sorted(group, key=list(leaf).index), middle, ribbon)
        return found

    together, shares = column([tuple(leaf)]), opened or [1.0] * len(tree.stages)
    stages = [{name: share * y + (1 - share) * together[name] for name, y in column(groups).items()}
              for groups, share in zip(tree.stages, shares, strict=True)]  # fmt: skip
    return [together, *stages, leaf]


def strands(
    axes, columns: Sequence[Mapping[str, float]], xs: Sequence[float], lit: Collection[str] | None = None,
    width: float = STRAND,
) -> None:  # fmt: skip
    """A ribbon per task through the `heights` of its columns, at xs."""
    for name in columns[0]:
        ys = [column[name] for column in columns]
        points, codes = [(xs[0], ys[0])], [Curve.MOVETO]
        for a, b, y, z in zip(xs, xs[1:], ys, ys[1:], strict=False):
            flat = 0.25 * (b - a)  # straight through a column, bent between two
            points += [(a + flat, y), ((a + b) / 2, y), ((a + b) / 2, z), (b - flat, z), (b, z)]
            codes += [Curve.LINETO, *[Curve.CURVE4] * 3, Curve.LINETO]
        look = dict(facecolor="none", edgecolor=task_colour(name), linewidth=width, alpha=fade([name], lit), zorder=2)
        axes.add_patch(PathPatch(Curve(points, codes), **look))


def stream(axes, start: float, end: float, y: float, names: Sequence[str]) -> None:
    """The tasks' strands side by side around a height, straight from start to end."""
    for name, height in spread(names, y).items():
        look = dict(color=task_colour(name), linewidth=STRAND, solid_capstyle="butt", zorder=2)
        axes.plot([start, end], [height] * 2, **look)


def fade(names: Collection[str], lit: Collection[str] | None) -> float:
    """How opaque that is drawn which these tasks share, where those that are `lit` keep their colour."""
    return 1.0 if lit is None or set(lit) & set(names) else 0.15


def arrow(axes, start: tuple[float, float], end: tuple[float, float], colour: str = INK, zorder: float = 2,
          **look) -> None:  # fmt: skip
    """An arrow between two points, from edge to edge."""
    look = dict(arrowstyle="-|>", color=colour, shrinkA=0, shrinkB=0) | look
    axes.annotate("", end, start, arrowprops=look, zorder=zorder)


def adapter(axes, x: float, y: float, names: Sequence[str], width: float = 0.7, height: float | None = None,
            lit: Collection[str] | None = None, ground: str = FROZEN) -> None:  # fmt: skip
    """An hourglass, many channels to few to many, striped by the tasks that share it, on a ground of this colour."""
    height, n = height or 0.3 + 0.12 * len(names), len(names)
    alpha = fade(names, lit)  # whoever shares an adapter lights it as a whole
    cover = (x - width / 2, y - RIBBON * n / 2 - 0.02), width, RIBBON * n + 0.04
    axes.add_patch(Rectangle(*cover, facecolor=ground, edgecolor="none", zorder=3))
    edges = np.linspace(0.5, -0.5, n + 1)
    profile = [(-width / 2, height), (-0.07 * width, 0.3 * height), (0.07 * width, 0.3 * height), (width / 2, height)]
    for name, a, b in zip(names, edges, edges[1:], strict=False):
        upper, lower = ([(x + dx, y + h * edge) for dx, h in profile] for edge in (a, b))
        look = dict(facecolor=task_colour(name), edgecolor=PAPER, linewidth=0.4, alpha=alpha, zorder=4)
        axes.add_patch(Polygon(upper + lower[::-1], **look))
    outline = [(x + dx, y + h / 2) for dx, h in profile] + [(x + dx, y - h / 2) for dx, h in profile[::-1]]
    axes.add_patch(Polygon(outline, facecolor="none", edgecolor=INK, linewidth=0.9, alpha=alpha, zorder=5))


def plus(axes, x: float, y: float, size: float) -> None:
    """A sum: a plus in a circle `size` points wide."""
    axes.plot(x, y, marker="o", markersize=size, markerfacecolor=PAPER, markeredgecolor=INK, zorder=6)
    axes.plot(x, y, marker="+", markersize=0.55 * size, markeredgecolor=INK, zorder=7)


def box(axes, x: float, y: float, width: float, height: float, colour: str, edge: str | None = None, alpha=None,
        dash: bool = False, zorder: float = 2, words: str = "", **look) -> None:  # fmt: skip
    """A rounded box by its centre, with words in it that look so."""
    round_corners = f"round,pad=0,rounding_size={min(0.08, width / 3, height / 3)}"
    line = dict(edgecolor=edge or "none", linewidth=1, linestyle=(0, (3, 2)) if dash else "-")
    fill = dict(facecolor=colour, alpha=alpha, zorder=zorder)
    axes.add_patch(FancyBboxPatch((x - width / 2, y - height / 2), width, height, round_corners, **fill, **line))
    if words:
        axes.text(x, y, words, **{"ha": "center", "va": "center", "fontsize": 9, "zorder": zorder + 1} | look)


def picture(axes, image: Any, x: float, y: float, side: float, alpha: float = 1.0) -> None:
    """A picture by its centre."""
    limits = axes.get_xlim(), axes.get_ylim()
    extent = (x - side / 2, x + side / 2, y - side / 2, y + side / 2)
    axes.imshow(image, extent=extent, alpha=alpha, zorder=3, interpolation="nearest")
    axes.set(xlim=limits[0], ylim=limits[1])
