"""open_ground(generator): a meadow, a yard or a beach under a sky, with people, trees, benches, a wall or a house."""

import numpy as np

from . import furniture as make
from .furniture import FLOOR, GROUND, WALL, box
from .layout import ACCENTS, WALL_COLOURS, Scene, rectangle
from .light import Light, Sky
from .raycast import Camera
from .textures import Paint, plain, rgb

FAR = 20.5  # metres at which the ground ends and the painted distance begins

WEATHER = (  # share, colour of the sun, its elevation in degrees, its radius as a tangent, sky
    (0.55, (2.3, 2.15, 1.8), (32, 60), 0.03,
     Sky((0.36, 0.5, 0.75), (0.16, 0.19, 0.1), (0.06, 0.24, 0.72), (0.5, 0.72, 0.95), (0.13, 0.29, 0.27), 0.62, 0.006)),
    (0.25, (2.5, 1.45, 0.75), (15, 28), 0.03,
     Sky((0.42, 0.36, 0.52), (0.22, 0.16, 0.1), (0.16, 0.22, 0.55), (1.0, 0.58, 0.26), (0.24, 0.15, 0.24), 0.6, 0.008)),
    (0.2, (1.0, 1.0, 1.05), (45, 70), 0.22,
     Sky((0.62, 0.68, 0.78), (0.2, 0.21, 0.17), (0.42, 0.53, 0.68), (0.8, 0.85, 0.9), (0.3, 0.4, 0.4), 0.85, 0.01)),
)  # fmt: skip

GROUNDS = (  # share, two colours, scale: two meadows, sand, gravel
    (0.45, "4a6b2a", "7f9c4a", 1.0), (0.25, "5f7d38", "b3a552", 1.0), (0.18, "d9b77e", "e9cf9f", 1.5),
    (0.12, "6f6a5c", "9a8f7c", 1.3),
)  # fmt: skip


def open_ground(rng: np.random.Generator) -> Scene:
    """A ground that ends at 20 m, seen from a height of 1.1 to 1.8 m."""
    aim = (rng.uniform(-0.6, 0.6), 5.0, rng.uniform(0.8, 1.2))
    scene = Scene(rng, Camera.looking((0.0, 0.0, rng.uniform(1.1, 1.8)), aim, rng.uniform(0.95, 1.25)))
    _, sun, elevations, radius, scene.sky = WEATHER[rng.choice(len(WEATHER), p=[w[0] for w in WEATHER])]
    up, around = np.radians(rng.uniform(*elevations)), rng.choice([-1, 1]) * np.radians(rng.uniform(35, 140))
    way = np.array((np.sin(around) * np.cos(up), np.cos(around) * np.cos(up), np.sin(up)))
    scene.lights.append(Light(way * 300, 300 * radius, sun))
    _, first, second, scale = GROUNDS[rng.choice(len(GROUNDS), p=[g[0] for g in GROUNDS])]
    soil = Paint("grass", rgb(first), rgb(second), scale)
    scene.things.append([rectangle((0, FAR / 2, 0), (1, 0, 0), (0, 1, 0), 22, FAR / 2, soil, GROUND)])
    if rng.random() < 0.4:
        _path(scene)
    scene.take(0, 0, 1.0, 1.8)
    area = (-9, 9, 1.5, 18)
    scene.stand(rng.choice(5, p=[0.2, 0.36, 0.26, 0.12, 0.06]), area, 2.0, 4.0)
    if rng.random() < 0.5:
        _backdrop(scene)
    makers = (make.tree, make.bush, make.bench, make.street_lamp, make.crate, make.ball, make.table)
    for k in rng.choice(7, rng.integers(5, 11), p=[0.34, 0.16, 0.14, 0.08, 0.08, 0.14, 0.06]):
        far = rng.uniform(4.5, 13) if makers[k] in (make.tree, make.street_lamp) else rng.uniform(2.6, 7.5)
        place = (rng.uniform(-0.62, 0.62) * far, far, np.pi + rng.normal(0, 0.5))
        if scene.try_put(makers[k](rng), *place, area) and makers[k] is make.bench and rng.random() < 0.4:
            scene.seat(*place, 0.46)
    return scene


def _path(scene: Scene) -> None:
    """A paved path away from the camera."""
    rng, turn = scene.rng, scene.rng.uniform(-0.6, 0.6)
    along, across = np.array((np.sin(turn), np.cos(turn), 0)), np.array((np.cos(turn), -np.sin(turn), 0))
    paint = Paint("tiles", rgb(rng.choice(["b5a893", "9aa0a6", "b98b6f"])), rgb("7d7668"), 1.8)
    middle = along * 10 + across * rng.uniform(-1.5, 1.5) + (0, 0, 0.006)
    scene.things.append([rectangle(middle, across, along, rng.uniform(0.6, 1.1), 9, paint, FLOOR, solid=False)])


def _backdrop(scene: Scene) -> None:
    """A brick wall, a fence or a house across the view."""
    rng, kind = scene.rng, scene.rng.choice(["brick", "fence", "house"])
    x, y, turn = rng.uniform(-2.5, 2.5), rng.uniform(7, 12), rng.normal(0, 0.25)
    if kind == "house":
        shapes = _house(rng)
    else:
        fence = ("f1f3f5", "cdd5da") if rng.random() < 0.5 else ("a98467", "6c584c")
        paint = Paint(kind, *map(rgb, ("a4553f", "cbbfae") if kind == "brick" else fence))
        high = rng.uniform(0.8, 1.25)
        shapes = [box((0, 0, high), (16, 0.12, high), paint, WALL)]
    scene.put(shapes, x, y, np.pi + turn)
    for step in np.arange(-6, 6.1, 1.0):
        scene.take(x + step * np.cos(turn), y + step * np.sin(turn), 0.6, 2.0 if kind == "house" else 0.5)


def _house(rng) -> list:
    half, pane = rng.uniform(2.5, 4), plain("39556b", 0.8)
    roof = Paint("brick", rgb(rng.choice(["8d4a3a", "5c4b51", "4a5759"])), rgb("3b3030"), 0.5)
    shapes = [
        box((0, 0, 1.5), (half, 1.5, 1.5), plain(rng.choice(WALL_COLOURS)), WALL),
        box((0, 0, 3.1), (half + 0.3, 1.8, 0.12), roof, WALL),
        box((0, 1.5, 1.05), (0.48, 0.03, 1.05), plain(rng.choice(ACCENTS)), WALL, False),
    ]
    for x in (-0.6 * half, 0.6 * half):
        shapes.append(box((x, 1.5, 1.6), (0.46, 0.03, 0.56), plain("f7f5f0"), WALL, False))
        shapes.append(box((x, 1.5, 1.6), (0.38, 0.05, 0.48), pane, WALL, False))
    return shapes
