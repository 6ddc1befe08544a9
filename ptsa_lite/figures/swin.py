"""Figures of how a Swin sees a picture: its pyramid of tokens, its windows, and which patches it takes for alike."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

from .pictures import draw_grid, palette, picture_of, show
from .style import INK, PAPER, SOFT, Drawing

MARK = "#D1495B"  # the token that a figure follows


def draw_pyramid(image: Any, grids: Sequence[int], channels: Sequence[int], names: Sequence[str]) -> Figure:
    """A solid per feature map: its front the picture averaged to the map's grid, its depth the channels.

    image (H, W, 3), uint8, square, a multiple of every grid. Sides and depths are drawn as square roots.
    """
    figure = Drawing(figsize=(9.6, 3.0))
    axes = figure.add_axes((0, 0, 1, 1))
    x, largest, least = 0.0, grids[0], channels[0]
    for grid, width, name in zip(grids, channels, names, strict=True):
        side, deep = 2.0 * (grid / largest) ** 0.5, 0.22 * (width / least) ** 0.5
        low, shift = -side / 2, np.array([0.9 * deep, 0.55 * deep])
        corners = np.array([[x, low + side], [x + side, low + side], [x + side, low]])
        for (one, other), colour in zip(pairwise(corners), ("#c9d1d6", "#9eabb3"), strict=True):  # above, to the right
            side_face = [one, other, other + shift, one + shift]
            axes.add_patch(Polygon(side_face, facecolor=colour, edgecolor=INK, linewidth=0.8))
        axes.imshow(pooled(image, grid), extent=(x, x + side, low, low + side), zorder=3, interpolation="nearest")
        axes.add_patch(Rectangle((x, low), side, side, facecolor="none", edgecolor=INK, linewidth=0.8, zorder=4))
        axes.text(x + side / 2, 1.75, name, ha="center", va="bottom", fontweight="bold", fontsize=9)
        words = f"{grid} × {grid} tokens\n{width} channels"
        axes.text(x + side / 2, -1.15, words, ha="center", va="top", fontsize=9, color=SOFT)
        x += side + shift[0] + 0.75
    axes.set(xlim=(-0.25, x - 0.5), ylim=(-1.75, 2.1), aspect="equal")
    axes.axis("off")
    return figure


def draw_windows(image: Any, grid: int, window: int, shift: int, regions: Any, token: tuple[int, int]) -> Figure:
    """Windows, shifted windows, and how the shifted ones are computed; a token is marked with the window it sees.

    image (H, W, 3), uint8; grid: tokens a side; regions (grid, grid): after rolling, tokens of one number were
    neighbours before it. Windows that hold several regions are tinted by region: there the mask parts them.
    """
    image, regions = np.asarray(image), np.asarray(regions)
    figure = Drawing(figsize=(9.6, 3.5))
    panels = figure.subplots(1, 3, gridspec_kw=dict(wspace=0.06, left=0.005, right=0.995, bottom=0.01, top=0.9))
    rolled = np.roll(image, (-round(shift * len(image) / grid),) * 2, (0, 1))
    places = (0, token), (shift, token), (0, [(place - shift) % grid for place in token])
    words = ("windows", "shifted windows", "computed so: rolled, cut, masked")
    for axes, (offset, (r, c)), title in zip(panels, places, words, strict=True):
        last = axes is panels[2]
        show(axes, rolled if last else image, extent=(0, grid, grid, 0))
        if last:
            show(axes, tint(regions, window), extent=(0, grid, grid, 0))
        for k in range(grid + 1):
            thick = (k - offset) % window == 0
            for line in (axes.axhline, axes.axvline):
                line(k, color=PAPER, linewidth=2.2 if thick else 0.35, alpha=1 if thick else 0.6)
        rows, columns = window_of(token, grid, window, 0 if axes is panels[0] else shift)
        corner = [(span.start - shift * last) % grid for span in (columns, rows)]
        axes.add_patch(Rectangle(corner, columns.stop - columns.start, rows.stop - rows.start, facecolor=MARK,
                                 alpha=0.35, edgecolor="none", zorder=4))  # fmt: skip
        axes.add_patch(Rectangle((c, r), 1, 1, facecolor=MARK, edgecolor=INK, linewidth=1, zorder=5))
        axes.set(xlim=(0, grid), ylim=(grid, 0))
        axes.set_title(title, fontsize=10)
    return figure


def draw_likeness(images: Any, maps: Mapping[str, Any], query: tuple[int, float, float]) -> Figure:
    """How alike every token is to one: the frames on top, then a row of heat maps (B, h, w), -1 to 1, per named set.

    query: the frame and the place (row, column), as shares of its height and width, that the token stands at.
    """
    asked, y, x = query
    rows = [[picture_of(image) for image in images], *([np.asarray(one) for one in found] for found in maps.values())]
    figure = draw_grid(rows, [""] * len(images), ["image", *maps], cmap="RdBu_r", vmin=-1, vmax=1)
    for i, row in enumerate(rows):
        height, width = row[asked].shape[:2]
        figure.axes[i * len(images) + asked].plot(
            x * width - 0.5, y * height - 0.5, marker="s", markersize=9, markerfacecolor="none",
            markeredgecolor=INK if i else MARK, markeredgewidth=2,
        )  # fmt: skip
    return figure


def pooled(image: Any, grid: int) -> np.ndarray:
    """(H, W, 3) averaged to (grid, grid, 3), uint8."""
    image = np.asarray(image, float)
    cell = image.shape[0] // grid
    return np.uint8(image.reshape(grid, cell, grid, cell, 3).mean((1, 3)).round())


def window_of(token: tuple[int, int], grid: int, window: int, shift: int) -> tuple[slice, slice]:
    """Rows and columns of the tokens in the (shifted) window of a token that are its true neighbours."""
    starts = [(place - shift) // window * window + shift for place in token]
    return tuple(slice(max(start, 0), min(start + window, grid)) for start in starts)


def tint(regions: np.ndarray, window: int) -> np.ndarray:
    """RGBA (grid, grid, 4): each region's colour where its window holds another one too."""
    grid = len(regions)
    tiles = regions.reshape(grid // window, window, grid // window, window)
    mixed = (tiles.max((1, 3)) != tiles.min((1, 3))).repeat(window, 0).repeat(window, 1)
    colours = palette(int(regions.max()) + 2)[1:][regions] / 255
    return np.dstack([colours, 0.55 * mixed])
