"""Figures of how a Swin sees a picture: its pyramid of tokens, its windows, and which patches it takes for alike."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

from .pictures import palette, picture_of
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
        axes.add_patch(Polygon([*corners[:2], corners[1] + shift, corners[0] + shift], facecolor="#c9d1d6",
                               edgecolor=INK, linewidth=0.8))
        axes.add_patch(Polygon([*corners[1:], corners[2] + shift, corners[1] + shift], facecolor="#9eabb3",
                               edgecolor=INK, linewidth=0.8))
        axes.imshow(pooled(image, grid), extent=(x, x + side, low, low + side), zorder=3, interpolation="nearest")
        axes.add_patch(Rectangle((x, low), side, side, facecolor="none", edgecolor=INK, linewidth=0.8, zorder=4))
        axes.text(x + side / 2, 1.75, name, ha="center", va="bottom", fontweight="bold", fontsize=9)
        axes.text(x + side / 2, -1.15, f"{grid} × {grid} tokens\n{width} channels", ha="center", va="top", fontsize=9,
                  color=SOFT)
        x += side + shift[0] + 0.75
    axes.set(xlim=(-0.25, x - 0.5), ylim=(-1.75, 2.1))
    axes.set_aspect("equal")
    axes.axis("off")
    return figure


def draw_windows(image: Any, grid: int, window: int, shift: int, regions: Any, token: tuple[int, int]) -> Figure:
    """Windows, shifted windows, and how the shifted ones are computed; a token is marked with the window it sees.

    image (H, W, 3), uint8; grid: tokens a side; regions (grid, grid): after rolling, tokens of one number were
    neighbours before it. Windows that hold several regions are tinted by region: there the mask parts them.
    """
    image, regions = np.asarray(image), np.asarray(regions)
    cell, (row, column) = image.shape[0] / grid, token
    figure = Drawing(figsize=(9.6, 3.5))
    panels = figure.subplots(1, 3, gridspec_kw=dict(wspace=0.06, left=0.005, right=0.995, bottom=0.01, top=0.9))
    rolled = np.roll(image, (-round(shift * cell),) * 2, (0, 1))
    places = ((0, (row, column)), (shift, (row, column)), (0, ((row - shift) % grid, (column - shift) % grid)))
    words = ("windows", "shifted windows", "computed so: rolled, cut, masked")
    for axes, (offset, (r, c)), title in zip(panels, places, words, strict=True):
        last = axes is panels[2]
        axes.imshow(rolled if last else image, extent=(0, grid, grid, 0), interpolation="nearest")
        if last:
            axes.imshow(_tint(regions, window), extent=(0, grid, grid, 0), interpolation="nearest")
        for k in range(grid + 1):
            thick = (k - offset) % window == 0
            for line in (axes.axhline, axes.axvline):
                line(k, color=PAPER, linewidth=2.2 if thick else 0.35, alpha=1 if thick else 0.6)
        rows, columns = _seen((row, column), grid, window, shift if axes is not panels[0] else 0)
        if last:
            rows, columns = (rows - shift) % grid, (columns - shift) % grid
        for y, x in zip(rows, columns, strict=True):
            axes.add_patch(Rectangle((x, y), 1, 1, facecolor=MARK, alpha=0.35, edgecolor="none", zorder=4))
        axes.add_patch(Rectangle((c, r), 1, 1, facecolor=MARK, edgecolor=INK, linewidth=1, zorder=5))
        axes.set(xticks=[], yticks=[], xlim=(0, grid), ylim=(grid, 0))
        axes.spines[:].set_visible(False)
        axes.set_title(title, fontsize=10)
    return figure


def draw_likeness(images: Any, maps: Mapping[str, Any], query: tuple[int, float, float]) -> Figure:
    """How alike every token is to one: the frames on top, then a row of heat maps (B, h, w), -1 to 1, a named set.

    query: the frame and the place (row, column), as shares of its height and width, that the token stands at.
    """
    frames, (asked, y, x) = len(images), query
    figure = Drawing(figsize=(1.75 * frames + 1.5, 1.78 * (len(maps) + 1)))
    grid = figure.subplots(len(maps) + 1, frames, squeeze=False, gridspec_kw=dict(
        wspace=0.04, hspace=0.04, left=1.4 / figure.get_figwidth(), right=0.995, bottom=0.005, top=0.995))
    labels = ["image", *maps]
    for i, axes_row in enumerate(grid):
        for frame, axes in enumerate(axes_row):
            picture = picture_of(images[frame]) if i == 0 else np.asarray(maps[labels[i]][frame])
            height, width = picture.shape[:2]
            axes.imshow(picture, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
            if frame == asked:
                axes.plot(x * width - 0.5, y * height - 0.5, marker="s", markersize=9, markerfacecolor="none",
                          markeredgecolor=MARK if i == 0 else INK, markeredgewidth=2)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        axes_row[0].set_ylabel(labels[i], rotation=0, ha="right", va="center", fontsize=10)
    return figure


def draw_patch(image: Any, place: tuple[int, int], token: Any) -> Figure:
    """A patch of 4 x 4 pixels of the frame (H, W, 3) and its token, a bar a number. place: row and column of tokens."""
    (r, c), token = place, np.asarray(token)
    figure = Drawing(figsize=(9.2, 2.4))
    left, middle, right = figure.subplots(1, 3, gridspec_kw=dict(width_ratios=(1, 1, 2.2), wspace=0.12, top=0.84))
    left.imshow(image)
    left.add_patch(Rectangle((4 * c - 0.5, 4 * r - 0.5), 4, 4, fill=False, edgecolor=MARK, linewidth=2))
    middle.imshow(image[4 * r : 4 * r + 4, 4 * c : 4 * c + 4], interpolation="nearest")
    right.bar(range(len(token)), token, color=MARK)
    right.axhline(0, color=SOFT, linewidth=1)
    titles = "one patch", "its 4 × 4 × 3 numbers", f"its token: {len(token)} numbers"
    for axes, title in zip((left, middle, right), titles, strict=True):
        axes.set_title(title, fontsize=10)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    return figure


def draw_where(names: Sequence[str], parameters: Sequence[int], macs: Sequence[int]) -> Figure:
    """Where a backbone keeps its parameters, and where it does its work: two rows of bars, a bar a part."""
    figure = Drawing(figsize=(9.2, 2.4))
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, values, unit, title, label in (
        (left, parameters, 1e6, "Parameters live late", "millions"),
        (right, macs, 1e9, "Work follows the number of blocks", "GMACs, one frame"),
    ):
        bars = axes.barh(names, [value / unit for value in values], color="#9eabb3")
        axes.bar_label(bars, [f"{value / unit:.2f}" for value in values], padding=4, fontsize=9)
        axes.set(title=title, xlabel=label)
        axes.margins(x=0.15)
    left.invert_yaxis()
    return figure


def draw_by_stage(shares: Mapping[str, Sequence[float]], title: str) -> Figure:
    """Shares from 0 to 1 after each stage, a line a name, the first one marked."""
    figure = Drawing(figsize=(6.2, 2.9))
    axes = figure.subplots()
    for i, (name, values) in enumerate(shares.items()):
        colour = SOFT if i else MARK
        axes.plot(range(1, len(values) + 1), [100 * value for value in values], marker="o", color=colour)
        axes.annotate(name, (len(values), 100 * values[-1]), xytext=(8, 0), textcoords="offset points", color=colour,
                      va="center")
        axes.set(xticks=range(1, len(values) + 1), xlim=(0.9, len(values) + 0.8))
    axes.set(xlabel="after stage", ylabel="%, higher is better", title=title)
    return figure


def pooled(image: Any, grid: int) -> np.ndarray:
    """(H, W, 3) averaged to (grid, grid, 3), uint8."""
    image = np.asarray(image, float)
    cell = image.shape[0] // grid
    return np.uint8(image.reshape(grid, cell, grid, cell, 3).mean((1, 3)).round())


def _seen(token: tuple[int, int], grid: int, window: int, shift: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the tokens in the (shifted) window of a token that are its true neighbours."""
    spans = []
    for place in token:
        start = (place - shift) // window * window + shift
        spans.append(np.arange(max(start, 0), min(start + window, grid)))
    rows, columns = np.meshgrid(*spans, indexing="ij")
    return rows.ravel(), columns.ravel()


def _tint(regions: np.ndarray, window: int) -> np.ndarray:
    """RGBA (grid, grid, 4): each region's colour where its window holds another one too."""
    grid = len(regions)
    tiles = regions.reshape(grid // window, window, grid // window, window)
    mixed = (tiles.max((1, 3)) != tiles.min((1, 3))).repeat(window, 0).repeat(window, 1)
    colours = palette(int(regions.max()) + 2)[1:][regions] / 255
    return np.dstack([colours, 0.55 * mixed])
