"""The methods of the comparison side by side, a panel a scheme: what each trains, and whose that is."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .parts import FROZEN, adapter, arrow, box, plus, sheet, spread, strands, stream
from .style import INK, PAPER, SOFT, task_colour

WIDE, HIGH, COLUMNS = 3.9, 2.75, 3


def draw_family(names: Sequence[str]) -> Figure:
    """Grey is frozen. What has one colour is that task's own; what is striped is shared by the tasks of its stripes."""
    rows = -(-len(SCHEMES) // COLUMNS)
    figure, axes = sheet((-1.85, WIDE * COLUMNS - 2.05), (HIGH * (1 - rows) - 1.5, 1.35))
    for k, ((title, methods), scheme) in enumerate(SCHEMES.items()):
        x, y = WIDE * (k % COLUMNS), -HIGH * (k // COLUMNS)
        axes.text(x - 1.7, y + 1.12, title, fontweight="bold", va="center")
        axes.text(x - 1.7, y - 1.28, methods, fontsize=8.5, color=SOFT, va="center")
        scheme(axes, x, y, names)
    return figure


def _striped(axes, x: float, y: float, width: float, height: float, names: Sequence[str]) -> None:
    """A box that these tasks train together."""
    for i, name in enumerate(names):
        part = height / len(names)
        corner = (x - width / 2, y + height / 2 - part * (i + 1))
        axes.add_patch(Rectangle(corner, width, part, facecolor=task_colour(name), zorder=6))
    box(axes, x, y, width, height, "none", edge=INK, zorder=7)


def _beside(axes, x, y, names, n_groups: int, after: str = "") -> None:
    """Low-rank pairs that read what W reads, and whose output is added to what W puts out; 0: one a task."""
    stream(axes, x - 1.7, x + 1.7, y + 0.5, names)
    box(axes, x, y + 0.5, 1.3, 0.7, FROZEN, zorder=3, words="W", fontweight="bold")
    left, right, low = x - 1.3, x + (0.95 if after else 1.3), y - 0.55
    axes.plot([left, left, right, right], [y + 0.3, low, low, y + 0.3], color=SOFT, linewidth=1, zorder=1)
    plus(axes, right, y + 0.5, 11)
    pairs = [list(group) for group in np.array_split(names, n_groups or len(names))]
    middle, room = (left + right) / 2, (right - left - 0.3) / len(pairs)
    wide = min(0.85 * room, 1.1)
    box(axes, middle, low, room * (len(pairs) - 1) + wide, 0.2, PAPER, zorder=2)  # they stand side by side, not in line
    for k, pair in enumerate(pairs):
        adapter(axes, middle + room * (k - (len(pairs) - 1) / 2), low, pair, wide, ground=PAPER)
    if after:
        _striped(axes, x + 1.4, y + 0.5, 0.3, 0.75, names)
        axes.text(x + 1.4, y - 0.05, after, ha="center", color=INK, fontsize=9)


def _in_line(axes, x, y, names, made_by: str = "") -> None:
    """A bottleneck for each task in the stream behind W, trained itself or made by a shared network."""
    together, parted = spread(names, y - 0.1), spread(names, y - 0.1, 0.5)
    end = x + (0.75 if made_by else 1.7)
    strands(axes, [together, together, parted, parted], [x - 1.7, x - 0.85, x - 0.1, end])
    box(axes, x - 1.05, y - 0.1, 0.75, 0.7, FROZEN, zorder=3, words="W", fontweight="bold")
    for name, height in parted.items():
        adapter(axes, x + (0.2 if made_by else 0.7), height, [name], 0.6, 0.36, ground=PAPER)
        if made_by:
            arrow(axes, (x + 1.2, y - 0.1), (x + 0.55, height), SOFT, zorder=1, linewidth=1, linestyle=":")
            axes.plot(x + 1.72, height, "o", color=task_colour(name), markersize=6, zorder=7)
    if made_by:
        _striped(axes, x + 1.35, y - 0.1, 0.3, 1.1, names)
        axes.text(x + 1.35, y + 0.62, made_by, ha="center", fontsize=8.5)


def _at_the_end(axes, x, y, names) -> None:
    """One pair for all; where a stage ends a small one for each task, from which its head reads."""
    together, parted = spread(names, y + 0.5), spread(names, y - 0.5, 0.32)
    stream(axes, x - 1.7, x + 1.7, y + 0.5, names)
    strands(axes, [together, together, parted, parted], [x - 0.3, x - 0.05, x + 0.75, x + 1.7])
    axes.text(x + 1.7, y + 0.85, "to the next stage", ha="right", va="center", fontsize=8, color=SOFT)
    box(axes, x - 0.95, y + 0.5, 0.8, 0.7, FROZEN, zorder=3, words="W", fontweight="bold")
    left, right, low = x - 1.5, x - 0.4, y - 0.55
    axes.plot([left, left, right, right], [y + 0.3, low, low, y + 0.3], color=SOFT, linewidth=1, zorder=1)
    plus(axes, right, y + 0.5, 11)
    adapter(axes, x - 0.95, low, names, 0.8, ground=PAPER)
    for name, height in parted.items():
        adapter(axes, x + 1.2, height, [name], 0.5, 0.28, ground=PAPER)


def _singular(axes, x, y, names) -> None:
    """W = U S V^T with its singular values moved by one map for all, the striped curve."""
    stream(axes, x - 1.7, x + 1.7, y, names)
    for dx, words in ((-0.85, "$V^T$"), (0.0, ""), (0.85, "$U$")):
        box(axes, x + dx, y, 0.7, 0.7, FROZEN if words else PAPER, edge=None if words else INK, zorder=3, words=words)
    pieces = 3 * len(names)
    for k in range(pieces):
        u = np.linspace(k, k + 1, 5) / pieces
        bend = u + 0.2 * np.sin(np.pi * u)
        axes.plot(x - 0.28 + 0.56 * u, y - 0.28 + 0.56 * bend, color=task_colour(names[k % len(names)]), linewidth=3,
                  solid_capstyle="butt", zorder=5)  # fmt: skip
    axes.text(x, y - 0.62, "$S \\circ f$", ha="center", fontsize=10)


def _prompts(axes, x, y, names) -> None:
    """Tokens of each task's own in front of the image's."""
    for k in range(5):
        box(axes, x - 1.55 + 0.26 * k, y - 0.3, 0.2, 0.5, FROZEN, zorder=3)
    for i, name in enumerate(names):
        box(axes, x - 1.5 + 0.3 * i, y + 0.35, 0.22, 0.5, task_colour(name), edge=INK, zorder=3)
    arrow(axes, (x - 0.15, y), (x + 1.7, y), linewidth=1.3)
    box(axes, x + 0.7, y, 1.1, 1.2, FROZEN, zorder=3, words="block", fontweight="bold")


SCHEMES: dict[tuple[str, str], Callable[..., Any]] = {
    ("One pair for all", "LoRA, shared"): partial(_beside, n_groups=1),
    ("A pair for each task", "LoRA, one per task"): partial(_beside, n_groups=0),
    ("A pair for each group", "PTSA: one, then groups, then each"): partial(_beside, n_groups=2),
    ("Separate where a stage ends", "MTLoRA; TADFormer, DiTASK in their ways"): _at_the_end,
    ("Magnitude and direction", "DoRA, shared or one per task"): partial(_beside, n_groups=1, after="$m$"),
    ("Singular values moved", "DiTASK"): _singular,
    ("A bottleneck in the stream", "adapters; Compacter: Kronecker sums"): _in_line,
    ("A network makes them", "HyperFormer, Polyhistor"): partial(_in_line, made_by="H"),
    ("More tokens", "prompts, shallow and deep; TADFormer"): _prompts,
}  # fmt: skip
