"""A scene that is being furnished: what stands where, what is free, and whom the camera must see.

A footprint is a rectangle (x0, x1, y0, y1) on the ground; things whose footprints meet do not stand together. People
come first: whatever is put later may not hide them.
"""

from dataclasses import dataclass, field

import numpy as np

from . import furniture as make
from .furniture import PERSON
from .light import Light, Sky
from .people import POSES, SITTING, person
from .raycast import Camera, Shape, cross

WALL_COLOURS = ("e9e3d5", "cfd8c9", "b9cdd6", "e6c9b8", "d8cbe0", "f1e3b5", "9fb7b0", "c98b6b", "8aa6c1", "d9d9d9",
                "e8b4a0", "a3b899", "6f8fa8", "f0d9c0")  # fmt: skip
ACCENTS = ("3d6b7d", "b5654a", "5b7553", "44546a", "a35d6a", "c99a3b", "7a5c86")


def rectangle(centre, right, up, half_w, half_h, paint, label, solid=True) -> Shape:
    """A rectangle whose visible side is where right x up points."""
    axes = np.stack([np.asarray(right, float), np.asarray(up, float), cross(right, up)])
    return Shape("rect", np.asarray(centre, float), axes, (half_w, half_h, 0.0), paint, label, solid=solid)


@dataclass
class Scene:
    """Things in the world, a camera, lights; `occupied` are footprints, `sights` the (x, y) of people."""

    rng: np.random.Generator
    camera: Camera
    things: list[list[Shape]] = field(default_factory=list)
    lights: list[Light] = field(default_factory=list)
    sky: Sky | None = None
    occupied: list[tuple] = field(default_factory=list)
    sights: list[tuple] = field(default_factory=list)

    def put(self, shapes: list[Shape], x: float, y: float, yaw: float = 0.0, z: float = 0.0) -> None:
        """Stand shapes at (x, y, z), turned by yaw (radians, anticlockwise from above): one thing for each class."""
        rotation = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
        for label in sorted({shape.label for shape in shapes}):
            self.things.append([s.moved(rotation, np.array((x, y, z))) for s in shapes if s.label == label])

    def free(self, x: float, y: float, half_w: float, half_d: float, margin: float = 0.08) -> bool:
        """Whether a footprint meets no other, and hides no person from the camera."""
        w, d = half_w + margin, half_d + margin
        if any(x + w > x0 and x - w < x1 and y + d > y0 and y - d < y1 for x0, x1, y0, y1 in self.occupied):
            return False
        cx, cy, _ = self.camera.position
        here, far, size = np.arctan2(x - cx, y - cy), np.hypot(x - cx, y - cy), max(half_w, half_d)
        for px, py in self.sights:
            there, away = np.arctan2(px - cx, py - cy), np.hypot(px - cx, py - cy)
            if far < away and abs(here - there) < 0.8 * size / max(far - size, 0.3) + 0.32 / away:
                return False
        return True

    def take(self, x: float, y: float, half_w: float, half_d: float) -> None:
        """Note a footprint as occupied."""
        self.occupied.append((x - half_w, x + half_w, y - half_d, y + half_d))

    def try_put(self, made, x, y, yaw, area, margin=0.08) -> bool:
        """Put a made thing (shapes, half width, half depth) if it is free there and inside a footprint; whether so."""
        shapes, half_w, half_d = made
        c, s = abs(np.cos(yaw)), abs(np.sin(yaw))
        w, d = half_w * c + half_d * s, half_w * s + half_d * c
        inside = area[0] + w <= x <= area[1] - w and area[2] + d <= y <= area[3] - d
        if not inside or not self.free(x, y, w, d, margin):
            return False
        self.put(shapes, x, y, yaw)
        self.take(x, y, w, d)
        return True

    def stand(self, number: int, area, near: float, far: float) -> None:
        """Stand people in view, inside a footprint and between two distances, most of them facing the camera."""
        rng, (cx, cy, _) = self.rng, self.camera.position
        ahead = np.arctan2(*self.camera.rotation[2, :2])
        for _ in range(number * 6):
            if len(self.sights) >= number:
                return
            distance, bearing = rng.uniform(near, far), ahead + rng.uniform(-0.3, 0.3)
            x, y = cx + distance * np.sin(bearing), cy + distance * np.cos(bearing)
            if not (area[0] < x < area[1] and area[2] < y < area[3]) or not self.free(x, y, 0.3, 0.3, 0.1):
                continue
            height = rng.normal(1.7, 0.09) if rng.random() < 0.75 else rng.uniform(1.05, 1.45)
            pose = rng.choice(list(POSES))
            yaw = -bearing + (rng.normal(np.pi, 0.7) if rng.random() < 0.85 else rng.uniform(0, 6.28))
            self.put(person(rng, PERSON, pose, height), x, y, yaw)
            self.take(x, y, 0.3, 0.3)
            self.sights.append((x, y))
            if pose in ("kick", "run", "stand", "point") and rng.random() < 0.5:
                step = rng.uniform(0.4, 0.7)
                self.put(make.ball(rng, 0.12)[0], x - step * np.sin(yaw) + 0.2, y + step * np.cos(yaw))

    def seat(self, x, y, yaw, height, forward=0.0) -> None:
        """Seat a person on a thing at (x, y) that faces yaw, its seat at a height in metres."""
        x, y = x - forward * np.sin(yaw), y + forward * np.cos(yaw)
        pose, tall = self.rng.choice(list(SITTING)), self.rng.uniform(1.55, 1.8)
        self.put(person(self.rng, PERSON, pose, tall, height), x, y, yaw)
        self.sights.append((x, y))
