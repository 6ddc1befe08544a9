"""albedo(u, v, q) = tone * (first + weight * (second - first)): procedural paints.

A texture takes coordinates on the surface (u, v), or in the solid (q), in metres times its scale. Colours are linear
light; `rgb` reads the usual hexadecimal notation.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

TILE = 512  # cells of the noise tile; it spans two metres at scale 1


class Paint(NamedTuple):
    """What a surface looks like: texture of two colours, its scale, shininess (0..1) and emitted light.

    Colours that the texture does not use need not be given.
    """

    texture: str
    first: tuple = (0, 0, 0)
    second: tuple = (0, 0, 0)
    scale: float = 1.0
    gloss: float = 0.0
    emit: float = 0.0


def rgb(code: str) -> tuple[float, float, float]:
    """Linear light of a colour such as "c86432" (sRGB)."""
    value = np.array([int(code[i : i + 2], 16) for i in (0, 2, 4)]) / 255
    return tuple(np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).tolist())


def column(three) -> np.ndarray:
    """(3, 1) float32 of a colour or a size, to stand beside (3, N)."""
    return np.array(three, np.float32)[:, None]


def plain(code: str, gloss: float = 0.0, emit: float = 0.0) -> Paint:
    """One colour with a faint grain."""
    return Paint("plain", rgb(code), rgb(code), 1.0, gloss, emit)


@lru_cache(maxsize=1)
def _tile() -> np.ndarray:
    """(TILE, TILE) tileable noise in 0..1 of even distribution: octaves of smooth random lattices, ranked."""
    rng, total = np.random.default_rng(7), np.zeros((TILE, TILE))
    for cells in (8, 16, 32, 64, 128, 256):
        lattice = rng.standard_normal((cells, cells))
        at = np.arange(TILE) * cells / TILE
        low, share = at.astype(int), at % 1
        share = share * share * (3 - 2 * share)
        rows = lattice[low] * (1 - share)[:, None] + lattice[(low + 1) % cells] * share[:, None]
        total += (rows[:, low] * (1 - share) + rows[:, (low + 1) % cells] * share) * cells**-0.8
    ranks = np.empty(TILE * TILE, np.float32)
    ranks[np.argsort(total, axis=None)] = np.linspace(0, 1, TILE * TILE, dtype=np.float32)
    return ranks.reshape(TILE, TILE)


def noise(u: np.ndarray, v: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """Noise in 0..1 at (u, v); details shrink as the scale grows."""
    k = np.float32(TILE / 2 * scale)
    return _tile()[(v * k).astype(np.int32) % TILE, (u * k).astype(np.int32) % TILE]


def soft_noise(u: np.ndarray, v: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """The same, interpolated between cells: for scales so small that cells would show."""
    k = np.float32(TILE / 2 * scale)
    x, y = u * k, v * k
    left, top = np.floor(x), np.floor(y)
    across, down = x - left, y - top
    i, j, tile = left.astype(np.int32), top.astype(np.int32), _tile()
    upper = tile[j % TILE, i % TILE] * (1 - across) + tile[j % TILE, (i + 1) % TILE] * across
    lower = tile[(j + 1) % TILE, i % TILE] * (1 - across) + tile[(j + 1) % TILE, (i + 1) % TILE] * across
    return upper * (1 - down) + lower * down


def _hash(i: np.ndarray, j: np.ndarray | int = 0) -> np.ndarray:
    """An even random number for each pair of integers, given as floats."""
    return _tile()[np.int32(i * 57 + j * 131) % TILE, np.int32(i * 173 + j * 89) % TILE]


def _dots(u, v, q):
    row = np.floor(v)
    return ((u + row % 2 * 0.5) % 1 - 0.5) ** 2 + (v % 1 - 0.5) ** 2 < 0.08, 1


def _tiles(u, v, q):
    joint = np.minimum(u % 1, v % 1) < 0.035
    return joint, 0.9 + 0.12 * _hash(np.floor(u), np.floor(v)) + 0.06 * noise(u, v, 0.7)


def _brick(u, v, q):
    row = np.floor(v / 0.08)
    along = u / 0.24 + row % 2 * 0.5
    joint = ((v / 0.08) % 1 < 0.14) | (along % 1 < 0.05)
    shade = 0.72 + 0.4 * _hash(np.floor(along), row) + 0.16 * noise(u, v, 1.3)
    return joint * 0.85 + 0.25 * _hash(row, np.floor(along)) * ~joint, shade


def _planks(u, v, q):
    row = np.floor(v / 0.14)
    along = u / 1.1 + _hash(row)
    tone = _hash(row, np.floor(along))
    joint = ((v / 0.14) % 1 < 0.05) | (along % 1 < 0.012)
    grain = noise(u * 0.25 + tone, v * 3 + row * 0.37)
    return 0.55 * tone + 0.45 * grain, np.where(joint, 0.55, 1)


def _leaves(u, v, q):
    """Small blocks of random tone along a slanted lattice, so that no plane of it lines up with the axes."""
    x, y, z = q[0] * 0.8 + q[2] * 0.6, q[1] * 0.9 - q[0] * 0.4, q[2] * 0.8 - q[0] * 0.5 + q[1] * 0.3
    leaf = _hash(np.floor(x * 13 + 0.8 * np.sin(y * 9)), np.floor(y * 13) + 7 * np.floor(z * 13 + np.sin(x * 9)))
    return 0.55 * leaf + 0.45 * noise(x + z, y - z, 0.5), 0.5 + 0.75 * leaf


def _fence(u, v, q):
    board = np.floor(u / 0.16)
    joint = (u / 0.16) % 1 < 0.07
    return 0.6 * _hash(board) + 0.4 * noise(u * 3 + _hash(board), v * 0.2), np.where(joint, 0.35, 1)


def _weave(u, v, q):
    border = np.floor(np.abs(v) * 6) % 3 == 1
    return np.where(border, 1.0, 0.25 * ((np.floor(u * 30) + np.floor(v * 30)) % 2)), 0.9 + 0.15 * noise(u, v, 2)


def _doors(u, v, q):
    """A cabinet's front: doors with a gap between them and a dark knob."""
    across, up = u % 0.45, (v + 0.02) % 0.4
    gap = (across < 0.012) | (up < 0.015)
    knob = (np.hypot(across - 0.39, up - 0.2) < 0.02) & (q[1] < 0)
    return noise(u * 0.4, v * 1.6) * 0.8, np.where(gap | knob, 0.45, 1)


MIXED = {  # these return the second colour's weight and a brightness
    "plain": lambda u, v, q: (0, 0.97 + 0.06 * noise(u, v, 1.7)),
    "cloth": lambda u, v, q: (0, 0.88 + 0.14 * noise(u * 4, v * 0.8) + 0.1 * noise(u * 0.7, v * 4)),
    "checker": lambda u, v, q: ((np.floor(u) + np.floor(v)) % 2, 0.94 + 0.1 * _hash(np.floor(u), np.floor(v))),
    "stripes": lambda u, v, q: (np.floor(v) % 2, 1),
    "bars": lambda u, v, q: (np.floor(u) % 2, 1),
    "wood": lambda u, v, q: (noise(q[0] * 0.3 + q[2] * 0.7, q[1] * 1.4 + q[2] * 0.5), 1),
    "grass": lambda u, v, q: (soft_noise(u, v, 0.1), 0.62 + 0.5 * noise(u, v, 0.9) + 0.25 * noise(v, u, 0.25)),
    "dots": _dots, "tiles": _tiles, "brick": _brick, "planks": _planks, "leaves": _leaves,
    "fence": _fence, "weave": _weave, "doors": _doors,
}  # fmt: skip


def _books(paint, u, v, q):
    """Spines of many colours on shelves 0.3 m apart."""
    shelf = np.floor(v / 0.3)
    spine = np.floor(u / 0.045 + 0.4 * np.sin(u * 40 + shelf * 2))
    colour = 0.34 + 0.3 * np.cos(6.283 * (_hash(spine, shelf) + np.float32([[0.0], [0.33], [0.62]])))
    height, tone = 0.19 + 0.08 * _hash(shelf * 3, spine), 0.45 + 0.6 * _hash(spine, 3)
    board = v % 0.3 < 0.025
    return np.where(board, 0.25, np.where(v % 0.3 < height, colour * tone, 0.03))


def _face(paint, u, v, q):
    """Skin, darker at the eyes, brows and mouth of a head: a sphere of radius 1 / scale, y forward, z up."""
    x, y, z = np.abs(q[0]), q[1], q[2]
    eye = np.hypot(x - 0.38, (z - 0.08) * 1.2) < 0.16
    brow = (np.abs(x - 0.38) < 0.2) & (np.abs(z - 0.34) < 0.05)
    mouth = (x < 0.3) & (np.abs(z + 0.5 - 0.3 * x**2) < 0.07)
    return column(paint.first) * np.where((eye | brow) & (y > 0), 0.12, np.where(mouth & (y > 0), 0.45, 1.0))


def _art(paint, u, v, q):
    """An abstract picture: fields of three colours and a sun, drawn anew for each scale."""
    seed = paint.scale
    u, v = u / seed, v / seed
    a, b = soft_noise(u + seed, v, 0.3), soft_noise(v + seed, u + 0.7 * seed, 0.17)
    third = column((0.8, 0.55, 0.15) if seed % 1 < 0.6 else (0.05, 0.12, 0.3))
    colour = np.where(b > 0.62, third, np.where(a > 0.5, column(paint.second), column(paint.first)))
    sun = np.hypot(u - 0.25 * np.sin(seed * 9), v - 0.12 * np.sin(seed * 5)) < 0.05 + 0.08 * (seed * 3 % 1)
    return np.where(sun, np.float32(0.85), colour)


def _beach(paint, u, v, q):
    """A beach ball of radius 1.4 / scale: sectors of two colours and white, white poles."""
    sector = np.floor(np.arctan2(q[0], q[1]) / 1.0472) % 3
    colour = np.where(sector == 1, column(paint.first), column(paint.second))
    return np.where((sector == 0) | (np.abs(q[2]) > 1.3), np.float32(0.8), colour)


COLOURED = {"books": _books, "face": _face, "art": _art, "beach": _beach}  # these return colours


def albedo(paint: Paint, u, v, q) -> np.ndarray:
    """(3, N) linear albedo of a paint at N points: (u, v) on the surface, q (3, N) in the solid, float32."""
    k = np.float32(paint.scale)
    u, v, q = u * k, v * k, q * k
    if paint.texture in COLOURED:
        return COLOURED[paint.texture](paint, u, v, q).astype(np.float32)
    weight, tone = MIXED[paint.texture](u, v, q)
    first = column(paint.first)
    return ((first + (column(paint.second) - first) * weight) * tone).astype(np.float32)
