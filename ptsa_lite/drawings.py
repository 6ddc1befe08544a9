"""Idea figures: what stays frozen, what adapts for whom, where adapters sit.

Grey is frozen and colour is trained. A task keeps its colour everywhere; what several tasks share is striped. The
figures of a Swin's own parts are in `drawings_swin.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon, Rectangle
from matplotlib.path import Path as Curve

from ptsa_lite.pictures import PAPER, Drawing
from ptsa_lite.plots import BOX, INK, SOFT, leaf_order, task_colour
from ptsa_lite.tree import TaskTree

FROZEN = "#d3d9dd"
RIBBON = 0.13  # height of one task's strand, in the drawing's units
INCH = 0.8  # inches a unit


def draw_adaptation(
    tree: TaskTree, image: Any = None, outputs: Mapping[str, Any] | None = None, highlight: Iterable[str] | None = None,
    title: str = "",
) -> Figure:  # fmt: skip
    """The frozen backbone in grey, its adapters in colour, splitting stage by stage: a TaskTree at work.

    image (H, W, 3) and outputs {task: (H, W, 3)}, uint8, are shown at both ends where given. `highlight` names tasks
    whose paths keep their colour while the others fade.
    """
    order, lit = leaf_order(tree), set(tree.tasks if highlight is None else highlight)
    row = 1.15 if outputs else 0.75
    leaf = {name: -row * i for i, name in enumerate(order)}
    top, bottom = 0.55, min(leaf.values()) - 0.55
    stages = [2.2 + 1.75 * i for i in range(len(tree.stages))]
    head = stages[-1] + 1.35
    right = head + (2.9 if outputs else 1.9)
    figure, axes = _sheet((-0.95, right), (bottom - 0.5, top + 0.75), title)
    middle = (top + bottom) / 2
    _strands(axes, tree, leaf, [0.0, *stages, head], lit)
    for x, groups in zip(stages, tree.stages, strict=True):
        _box(axes, x, middle, 1.1, top - bottom, FROZEN, zorder=1)
        for group in groups:
            _adapter(axes, x, np.mean([leaf[name] for name in group]), sorted(group, key=order.index), lit=lit)
        count = f"{len(groups)} adapter{'s' * (len(groups) > 1)}"
        axes.text(x, bottom - 0.12, count, ha="center", va="top", color=INK, fontsize=9)
    for number, x in enumerate(stages, 1):
        axes.text(x, top + 0.12, f"stage {number}\nfrozen", ha="center", va="bottom", color=SOFT, fontsize=9)
    _picture(axes, image, 0.0, middle, 1.6)
    axes.text(0, middle + 0.92, "image", ha="center", va="bottom", color=SOFT, fontsize=9)
    for name in order:
        colour, alpha = task_colour(name), 1.0 if name in lit else 0.15
        _box(axes, head, leaf[name], 0.5, 0.42, colour, alpha=alpha, zorder=4)
        axes.text(head, leaf[name], "head", ha="center", va="center", color=PAPER, fontsize=8, zorder=5)
        if outputs:
            _picture(axes, outputs[name], head + 0.95, leaf[name], 1.0, alpha)
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
    order = leaf_order(tree)
    leaf = {name: -0.75 * i for i, name in enumerate(order)}
    middle = min(leaf.values()) / 2
    _strands(axes, tree, leaf, xs, set(order), fan_in=own)
    for x, groups in zip(xs[1:], tree.stages, strict=False):
        if own:
            for name in order:
                _box(axes, x, leaf[name], 0.85, 0.56, task_colour(name), zorder=3)
            continue
        _box(axes, x, middle, 0.85, -2 * middle + 0.8, FROZEN, zorder=1)
        for group in groups:
            _adapter(axes, x, np.mean([leaf[name] for name in group]), sorted(group, key=order.index), 0.55)
    _box(axes, xs[0], middle, 0.3, 0.9, PAPER, edge=SOFT, zorder=4)
    for name in order:
        _box(axes, xs[-1], leaf[name], 0.3, 0.4, task_colour(name), zorder=4)


SCHEMES = {"own": "One model per task", "shared": "One set of adapters for all",
           "separate": "One set of adapters a task",
           "progressive": "Progressive: shared early, separate late"}
"""The panels of `draw_schemes`, by key."""


PAIR = (("semseg", "human_parts"), ("saliency", "normals"))


def draw_block(groups: Sequence[Sequence[str]] = PAIR) -> Figure:
    """A Swin block with its four linear layers frozen and an adapter per task group on each of them."""
    low = -0.97 - 0.66 * (len(groups) - 1)
    figure, axes = _sheet((-0.6, 12.0), (low - 0.95, 1.75))
    axes.annotate("", (11.0, 0), (-0.1, 0), arrowprops=dict(arrowstyle="-|>", color=INK, linewidth=1.4), zorder=0)
    axes.text(-0.2, 0, "x", ha="right", va="center", fontsize=12, fontstyle="italic")
    axes.text(11.1, 0, "next\nblock", va="center", fontsize=9, color=SOFT)
    for start, end in ((0.15, 5.25), (5.55, 10.25)):
        axes.plot([start, start, end, end], [0, 1.1, 1.1, 0], color=SOFT, linewidth=1.2, zorder=0)
        _plus(axes, end, 0, 15)
    for x in (0.75, 6.05):
        _box(axes, x, 0, 0.5, 0.9, PAPER, edge=INK, zorder=3)
        axes.text(x, 0, "norm", ha="center", va="center", fontsize=9, rotation=90, zorder=4)
    for x, width, words in ((3.1, 1.15, "attention\nin windows"), (8.25, 0.8, "GELU")):
        _box(axes, x, 0, width, 0.7, BOX, edge=SOFT, dash=True, zorder=3)
        axes.text(x, 0, words, ha="center", va="center", fontsize=9, zorder=4)
    for x, words in ((1.8, "qkv"), (4.4, "proj"), (7.1, "fc1"), (9.4, "fc2")):
        _box(axes, x, 0, 0.8, 0.9, FROZEN, zorder=3)
        axes.text(x, 0, words, ha="center", va="center", zorder=4, fontweight="bold", fontsize=9)
        axes.plot([x - 0.56, x - 0.56, x + 0.56, x + 0.56], [0, low, low, 0], color=SOFT, linewidth=1, zorder=1)
        _plus(axes, x + 0.56, 0, 7)
        for i, group in enumerate(groups):
            y = -0.97 - 0.66 * i
            axes.plot([x - 0.56, x + 0.56], [y, y], color=SOFT, linewidth=1, zorder=1)
            _adapter(axes, x, y, group, 0.62, ground=PAPER)
    words = ("grey: frozen   ·   hourglass: the adapter of one group, width to rank to width   ·   "
             "outlined: norm, trained   ·   dashed: no matrix of its own")
    axes.text(-0.5, low - 0.72, words, fontsize=8.5, color=SOFT, va="center")
    axes.text(-0.5, 1.55, "One Swin block, and where the adapters sit", fontweight="bold", va="center")
    return figure


def draw_layer(groups: Sequence[Sequence[str]] = PAIR) -> Figure:
    """h_G = W x_G + b + s B_G A_G x_G for two groups: one frozen product for both, a low-rank detour for each."""
    first, second = groups
    figure, axes = _sheet((-1.0, 7.0), (-2.9, 1.5))
    _box(axes, 2.5, -0.7, 1.7, 2.1, FROZEN, zorder=3)
    axes.text(2.5, -0.7, "W, b\n\nfrozen,\nthe same for\nevery group", ha="center", va="center", zorder=6, fontsize=9)
    for number, group, y, side in ((1, first, 0.0, 1), (2, second, -1.4, -1)):
        for j, name in enumerate(group):
            for x in (0.0, 6.1):
                _box(axes, x, y - 0.28 * (j - (len(group) - 1) / 2), 0.26, 0.26, task_colour(name), zorder=5)
        arrow = dict(arrowstyle="-|>", color=INK, linewidth=1.3, shrinkA=0, shrinkB=0)
        axes.annotate("", (5.93, y), (0.16, y), arrowprops=arrow, zorder=1)
        detour = y + side * 0.8
        axes.plot([0.6, 0.6, 5.2, 5.2], [y, detour, detour, y], color=INK, linewidth=1.3, zorder=1)
        _adapter(axes, 2.5, detour, group, 1.7, 0.56, ground=PAPER)
        axes.text(1.55, detour + 0.08, f"$A_{number}$", ha="right", va="bottom", fontsize=11)
        axes.text(3.45, detour + 0.08, f"$B_{number}$", ha="left", va="bottom", fontsize=11)
        axes.text(4.5, detour + 0.1, "× s", ha="center", va="bottom", fontsize=10)
        _plus(axes, 5.2, y, 14)
        axes.text(-0.25, y, f"$x_{number}$", ha="right", va="center", fontsize=12)
        axes.text(6.35, y, f"$h_{number}$", va="center", fontsize=12)
    return figure


# ---- the parts that figures are made of -----------------------------------------------------------------------------


def _sheet(xlim: tuple[float, float], ylim: tuple[float, float], title: str = "") -> tuple[Figure, Any]:
    """A figure whose units are INCH inches, so that line widths can be given in units too."""
    figure = Drawing(figsize=(INCH * (xlim[1] - xlim[0]), INCH * (ylim[1] - ylim[0])))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=xlim, ylim=ylim, title=title)
    axes.set_aspect("equal")
    axes.axis("off")
    return figure, axes


def _strands(axes, tree: TaskTree, leaf: Mapping[str, float], xs: Sequence[float], lit: set, fan_in=False) -> None:
    """A ribbon a task from the image (xs[0]) through every stage's group to its head (xs[-1])."""
    order = list(leaf)
    columns = [tuple((name,) for name in order) if fan_in else (tuple(order),), *tree.stages, [(n,) for n in order]]
    heights = [
        {name: np.mean([leaf[n] for n in group]) - RIBBON * (i - (len(group) - 1) / 2)
         for group in groups for i, name in enumerate(sorted(group, key=order.index))}
        for groups in columns
    ]  # fmt: skip
    if fan_in:
        heights[0] = dict.fromkeys(order, np.mean(list(leaf.values())))
    for name in order:
        points, codes = [(xs[0], heights[0][name])], [Curve.MOVETO]
        for a, b, y, z in zip(xs, xs[1:], (h[name] for h in heights), (h[name] for h in heights[1:]), strict=False):
            flat = 0.25 * (b - a)  # straight through a column, bent between two
            points += [(a + flat, y), ((a + b) / 2, y), ((a + b) / 2, z), (b - flat, z), (b, z)]
            codes += [Curve.LINETO, *[Curve.CURVE4] * 3, Curve.LINETO]
        width = 72 * RIBBON * INCH * 0.8
        axes.add_patch(PathPatch(Curve(points, codes), facecolor="none", edgecolor=task_colour(name), linewidth=width,
                                 alpha=1.0 if name in lit else 0.15, zorder=2))


def _adapter(axes, x: float, y: float, names: Sequence[str], width: float = 0.7, height: float | None = None,
             lit: set | None = None, ground: str = FROZEN) -> None:  # fmt: skip
    """An hourglass, many channels to few to many, striped by the tasks that share it, on a ground of this colour."""
    height, n = height or 0.3 + 0.12 * len(names), len(names)
    alpha = 1.0 if lit is None or lit & set(names) else 0.15  # whoever shares an adapter lights it as a whole
    cover = (x - width / 2, y - RIBBON * n / 2 - 0.02), width, RIBBON * n + 0.04
    axes.add_patch(Rectangle(*cover, facecolor=ground, edgecolor="none", zorder=3))
    edges = np.linspace(0.5, -0.5, n + 1)
    profile = [(-width / 2, height), (-0.07 * width, 0.3 * height), (0.07 * width, 0.3 * height), (width / 2, height)]
    for name, a, b in zip(names, edges, edges[1:], strict=False):
        upper, lower = ([(x + dx, y + h * edge) for dx, h in profile] for edge in (a, b))
        axes.add_patch(Polygon(upper + lower[::-1], facecolor=task_colour(name), edgecolor=PAPER, linewidth=0.4,
                               alpha=alpha, zorder=4))
    outline = [(x + dx, y + h / 2) for dx, h in profile] + [(x + dx, y - h / 2) for dx, h in profile[::-1]]
    axes.add_patch(Polygon(outline, facecolor="none", edgecolor=INK, linewidth=0.9, alpha=alpha, zorder=5))


def _plus(axes, x: float, y: float, size: float) -> None:
    """A sum: a plus in a circle `size` points wide."""
    axes.plot(x, y, marker="o", markersize=size, markerfacecolor=PAPER, markeredgecolor=INK, zorder=6)
    axes.plot(x, y, marker="+", markersize=0.55 * size, markeredgecolor=INK, zorder=7)


def _box(axes, x: float, y: float, width: float, height: float, colour: str, edge: str | None = None, alpha=None,
         dash: bool = False, zorder: float = 2) -> None:  # fmt: skip
    """A rounded box by its centre."""
    rounding = min(0.08, width / 3, height / 3)
    axes.add_patch(FancyBboxPatch((x - width / 2, y - height / 2), width, height, facecolor=colour, alpha=alpha,
                                  edgecolor=edge or "none", linewidth=1, linestyle=(0, (3, 2)) if dash else "-",
                                  boxstyle=f"round,pad=0,rounding_size={rounding}", zorder=zorder))


def _picture(axes, image: Any, x: float, y: float, side: float, alpha: float = 1.0) -> None:
    """A picture by its centre; an empty frame where there is none."""
    if image is None:
        _box(axes, x, y, side, side, PAPER, edge=SOFT, zorder=3)
        return
    limits = axes.get_xlim(), axes.get_ylim()
    extent = (x - side / 2, x + side / 2, y - side / 2, y + side / 2)
    axes.imshow(image, extent=extent, alpha=alpha, zorder=3, interpolation="nearest")
    axes.set(xlim=limits[0], ylim=limits[1])
