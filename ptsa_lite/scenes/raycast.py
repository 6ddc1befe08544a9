"""t* = min over shapes of the entry distance along a ray: which shape each pixel sees, where, and with what normal.

All shapes are solids with a closed-form intersection, so that every label is exact. A shape lives in local
coordinates q = S^-1 A (p - c): axes A (rows), centre c, stretch S. Stretch makes ellipsoids out of spheres.

    box    |q_i| <= size_i
    cone   a "round cone", the hull of a sphere of radius size_0 at q = 0 and one of radius size_1 at (0, 0, size_2):
           with size_2 = 0 a sphere, with equal radii a capsule
    tube   a capped cone between q_z = -size_2 (radius size_0) and q_z = size_2 (radius size_1): cylinder, disc, shade
    rect   |q_x| <= size_0, |q_y| <= size_1, q_z = size_2 = 0, seen from q_z > 0 only: a wall, a rug

The world has x right, y away, z up. The camera frame is that of the labels: x right, y down, z forward.
"""

from dataclasses import dataclass, replace

import numpy as np

from .textures import Paint, column

NEAR = 0.05  # metres in front of the camera where shapes begin to be seen


def cross(a, b) -> np.ndarray:
    """a x b of two vectors (numpy's own spends ten times as long on checks)."""
    (a0, a1, a2), (b0, b1, b2) = a, b
    return np.array((a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0))


@dataclass(frozen=True)
class Shape:
    """One solid with its paint and labels; `solid` shapes cast shadows."""

    kind: str
    centre: np.ndarray  # (3,)
    axes: np.ndarray  # (3, 3), rows: local axes in the parent's frame
    size: tuple[float, float, float]
    paint: Paint
    label: int = 0
    part: int = 0
    stretch: tuple[float, float, float] = (1.0, 1.0, 1.0)
    solid: bool = True

    def moved(self, rotation: np.ndarray, shift) -> "Shape":
        """The shape after p -> rotation p + shift."""
        return replace(self, centre=rotation @ self.centre + shift, axes=self.axes @ rotation.T)


@dataclass(frozen=True)
class Camera:
    """A pinhole: position, rotation (rows: right, down, forward in the world), focal length in shorter image sides."""

    position: np.ndarray
    rotation: np.ndarray
    focal: float

    @classmethod
    def looking(cls, position, target, focal: float) -> "Camera":
        """A level camera (no roll) at `position` with `target` in the middle of the image."""
        forward = np.subtract(target, position) / np.linalg.norm(np.subtract(target, position))
        right = cross(forward, (0.0, 0.0, 1.0))
        right /= np.linalg.norm(right)
        return cls(np.asarray(position, float), np.stack([right, cross(forward, right), forward]), focal)

    def rays(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """x and y, each (H, W), of the ray (x, y, 1) through each pixel's centre: distance along it is depth."""
        scale = 1.0 / (self.focal * min(height, width))
        x = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) * scale
        y = (np.arange(height, dtype=np.float32) + 0.5 - height / 2) * scale
        return tuple(np.meshgrid(x, y))


class View:
    """Things as one camera sees them: for P shapes the maps q = maps p + offsets, screen bounds, bounding spheres.

    label, part, thing (P + 1,): class, part and object of each shape; the last entry, number -1, is the sky's.
    """

    def __init__(self, things: list[list[Shape]], camera: Camera):
        self.camera = camera
        self.shapes = shapes = [shape for thing in things for shape in thing]
        self.label, self.part = np.array([(s.label, s.part) for s in shapes] + [(0, 0)], np.uint8).T
        self.thing = np.repeat(np.arange(len(things) + 1), [*map(len, things), 1])
        centres = (np.stack([s.centre for s in shapes]) - camera.position) @ camera.rotation.T  # (P, 3)
        axes = np.stack([s.axes for s in shapes]) @ camera.rotation.T  # (P, 3, 3)
        stretch = np.array([s.stretch for s in shapes])
        maps = axes / stretch[:, :, None]
        self.maps, self.offsets = maps.astype(np.float32), -np.einsum("pij,pj->pi", maps, centres).astype(np.float32)
        self.scale = stretch.min(1).astype(np.float32)
        low, high = np.array([_extent(s) for s in shapes]).transpose(1, 0, 2)
        pick = np.array([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)], bool)
        corners = np.where(pick, high[:, None], low[:, None]) * stretch[:, None]  # (P, 8, 3)
        self.corners = np.einsum("pij,pki->pkj", axes, corners) + centres[:, None]
        self.middles, self.radii = _balls(self.corners)  # bounding spheres of the shapes
        # The solid shapes of each thing that has some, and its bounding sphere (rectangles shade by their plane).
        solid = np.array([s.solid and s.kind != "rect" for s in shapes])
        members = [np.flatnonzero(solid & (self.thing[:-1] == k)) for k in range(len(things))]
        self.members = [m for m in members if m.size]
        balls = [_balls(self.corners[m].reshape(1, -1, 3)) for m in self.members]
        self.thing_middles = np.array([middle for middle, _ in balls], np.float32).reshape(-1, 3)
        self.thing_radii = np.array([radius for _, radius in balls], np.float32).ravel()

    @property
    def bounds(self) -> np.ndarray:
        """(P, 4): least and greatest x/z, least and greatest y/z of each shape; empty where it lies behind."""
        z = self.corners[:, :, 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            x, y = self.corners[:, :, 0] / z, self.corners[:, :, 1] / z
        box = np.stack([x.min(1), x.max(1), y.min(1), y.max(1)], 1)
        box[z.min(1) < NEAR] = (-np.inf, np.inf, -np.inf, np.inf)
        box[z.max(1) < NEAR] = (np.inf, -np.inf, np.inf, -np.inf)
        return box

    def cast(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Depth (inf where nothing is hit) and shape number (-1 there) of the rays (x, y, 1).

        x and y: (H, W) from `Camera.rays`, or (N,) rays sorted by y. Each shape is tried only within its screen bounds.
        """
        shape, x, y = x.shape, x.ravel(), y.ravel()
        depth, seen = np.full(x.shape, np.inf, np.float32), np.full(x.shape, -1, np.int16)
        x0, x1, y0, y1 = self.bounds.T
        rows = np.searchsorted(y, (y0, y1)).T.tolist()
        with np.errstate(all="ignore"):
            for i, (top, bottom) in enumerate(rows):
                where = top + np.flatnonzero((x[top:bottom] > x0[i]) & (x[top:bottom] < x1[i]))
                if not where.size:
                    continue
                u, v, before = x[where], y[where], depth[where]
                (ax, bx, cx), (ay, by, cy), (az, bz, cz) = self.maps[i].tolist()
                ray = (ax * u + bx * v + cx, ay * u + by * v + cy, az * u + bz * v + cz)
                t = _HIT[self.shapes[i].kind](self.offsets[i].tolist(), ray, self.shapes[i].size)
                closer = (t < before) & (t > NEAR)
                depth[where[closer]], seen[where[closer]] = t[closer], i
        return depth.reshape(shape), seen.reshape(shape)


def surface(kind: str, size, q: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outward direction (3, N) and texture coordinates u, v (N,) at points q (3, N) on a shape; local units."""
    x, y, z = q
    if kind == "rect":
        return np.broadcast_to(np.array([[0], [0], [1]], np.float32), q.shape), x, y
    if kind == "box":
        side = np.argmax(np.abs(q) / column(size), axis=0)
        normal = np.where(np.arange(3)[:, None] == side, np.sign(q), np.float32(0))
        return normal, np.where(side == 0, y, x), np.where(side == 2, y, z)
    around = np.arctan2(x, y) * size[0]
    if kind == "cone":
        slope, r0, length = slope_of(size), size[0], size[2]
        centre = np.clip((z - slope * r0) / (1 - slope**2), 0, length)  # of the sphere that touches the hull here
        return np.stack([x, y, z - centre]), around, z
    r0, r1, half = size
    slope = (r0 - r1) / (2 * half)
    radius = (r0 + r1) / 2 - slope * z
    cap = half - np.abs(z) < np.abs(np.hypot(x, y) - radius)
    zero = np.float32(0)
    normal = np.stack([np.where(cap, zero, x), np.where(cap, zero, y), np.where(cap, np.sign(z), slope * radius)])
    return normal, np.where(cap, x, around), np.where(cap, y, z)


def _balls(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spheres (K, 3), (K,) around K sets of corners (K, n, 3)."""
    middles = (corners.min(1) + corners.max(1)) / 2
    radii = np.sqrt(((corners - middles[:, None]) ** 2).sum(2).max(1))
    return middles.astype(np.float32), radii.astype(np.float32)


def _extent(shape: Shape) -> tuple:
    """Lowest and highest local corner, before the stretch."""
    a, b, c = shape.size
    if shape.kind in ("box", "rect"):
        return (-a, -b, -c), (a, b, c)
    r = max(a, b)
    return ((-r, -r, -c), (r, r, c)) if shape.kind == "tube" else ((-r, -r, -a), (r, r, c + b))


def slope_of(size) -> float:
    """By how much the radius of a round cone falls along its axis."""
    return (size[0] - size[1]) / size[2] if size[2] else 0.0


def _first_root(a, b, c):
    """The root of a t^2 + 2 b t + c where the quadratic falls through zero (the ray enters), nan without one."""
    return (-b - np.sqrt(b * b - a * c)) / a


def _hit_rect(o, d, size):
    t = -o[2] / d[2]
    inside = (np.abs(o[0] + t * d[0]) <= size[0]) & (np.abs(o[1] + t * d[1]) <= size[1]) & (d[2] < 0)
    return np.where(inside, t, np.inf)


def _hit_box(o, d, size):
    enter, leave = -np.inf, np.inf
    for k in range(3):
        inverse = 1 / d[k]
        middle, reach = -o[k] * inverse, size[k] * np.abs(inverse)
        enter, leave = np.maximum(enter, middle - reach), np.minimum(leave, middle + reach)
    return np.where(enter < leave, enter, np.inf)


def _hit_cone(o, d, size):
    (ox, oy, oz), (dx, dy, dz), (r0, r1, length) = o, d, size
    flat, side = dx * dx + dy * dy, ox * dx + oy * dy
    square, rim = flat + dz * dz, ox * ox + oy * oy
    t = np.fmin(_first_root(square, side + oz * dz, rim + oz * oz - r0 * r0), np.inf)
    if not length:
        return t
    top, slope = oz - length, slope_of(size)
    t = np.fmin(t, _first_root(square, side + top * dz, rim + top * top - r1 * r1))
    k, c2 = r0 - slope * oz, 1 - slope**2
    wall = _first_root(c2 * flat - slope**2 * dz * dz, c2 * side + k * slope * dz, c2 * rim - k * k)
    z = oz + wall * dz
    return np.fmin(t, np.where((z > slope * r0) & (z < length + slope * r1), wall, np.inf))


def _hit_tube(o, d, size):
    (ox, oy, oz), (dx, dy, dz), (r0, r1, half) = o, d, size
    slope = (r0 - r1) / (2 * half)
    k = (r0 + r1) / 2 - slope * oz
    square = dx * dx + dy * dy - slope**2 * dz * dz
    wall = _first_root(square, ox * dx + oy * dy + k * slope * dz, ox * ox + oy * oy - k * k)
    t = np.where(np.abs(oz + wall * dz) <= half, wall, np.inf)
    cap = (np.where(dz > 0, -half, half) - oz) / dz
    reach = np.where(dz > 0, r0, r1)
    return np.fmin(t, np.where((ox + cap * dx) ** 2 + (oy + cap * dy) ** 2 <= reach**2, cap, np.inf))


_HIT = {"rect": _hit_rect, "box": _hit_box, "cone": _hit_cone, "tube": _hit_tube}
