"""Things that stand in a scene, each a list of shapes built at the origin on the ground, with its front towards +y.

Every maker takes a generator and returns (shapes, half width, half depth): the footprint keeps things apart.
"""

from dataclasses import replace

import numpy as np

from .people import CLOTHES, limb
from .raycast import Shape
from .textures import Paint, plain, rgb

SCENE_CLASSES = ("background", "wall", "ceiling", "floor", "ground", "person", "table", "chair", "sofa", "cabinet",
                 "lamp", "picture", "ball", "plant")  # fmt: skip
WALL, CEILING, FLOOR, GROUND, PERSON, TABLE, CHAIR, SOFA, CABINET, LAMP, PICTURE, BALL, PLANT = range(1, 14)

WOODS = (("b07d4f", "7d5230"), ("d9b382", "b88a58"), ("6d4530", "452a1c"), ("c68b59", "9c6238"), ("e6d3b3", "c8ad85"))
FABRICS = ("3d5a80", "7d8597", "b5838d", "588157", "bc6c25", "6d597a", "e9c46a", "2a9d8f", "c1121f", "adb5bd")
GREENS = (("2d5a27", "6a994e"), ("386641", "a7c957"), ("1b4332", "52796f"), ("606c38", "a3b18a"))
AUTUMN = (("9c3a10", "e09f3e"), ("7f4f24", "d4a373"))
EYE = np.eye(3)


def box(at, half, paint, label, solid=True) -> Shape:
    return Shape("box", np.asarray(at, float), EYE, tuple(half), paint, label, solid=solid)


def tube(at, r0, r1, half, paint, label, solid=True) -> Shape:
    return Shape("tube", np.asarray(at, float), EYE, (r0, r1, half), paint, label, solid=solid)


def ball_at(at, radius, paint, label, stretch=(1.0, 1.0, 1.0)) -> Shape:
    return Shape("cone", np.asarray(at, float), EYE, (radius, radius, 0.0), paint, label, stretch=stretch)


def wood(rng, gloss=0.15) -> Paint:
    return Paint("wood", *map(rgb, rng.choice(WOODS)), 1.5, gloss)


def fabric(rng) -> Paint:
    return Paint("cloth", rgb(rng.choice(FABRICS)), scale=1.2)


def table(rng, height=0.74):
    half_w, half_d = rng.uniform(0.5, 0.8), rng.uniform(0.35, 0.45)
    top = wood(rng) if rng.random() < 0.7 else plain(rng.choice(["f1faee", "e9c46a", "457b9d", "2a9d8f"]), 0.2)
    leg = top if rng.random() < 0.5 else plain(rng.choice(["2b2d42", "f8f9fa", "6c757d"]), 0.1)
    shapes = [box((0, 0, height - 0.02), (half_w, half_d, 0.022), top, TABLE)]
    for x in (-1, 1):
        for y in (-1, 1):
            at = np.array((x * (half_w - 0.06), y * (half_d - 0.06), height / 2 - 0.02))
            shapes.append(box(at, (0.028, 0.028, height / 2 - 0.02), leg, TABLE))
    return shapes, half_w, half_d


def chair(rng):
    frame = wood(rng) if rng.random() < 0.6 else plain(rng.choice(CLOTHES), 0.2)
    seat = fabric(rng) if rng.random() < 0.4 else frame
    shapes = [box((0, 0, 0.45), (0.21, 0.21, 0.025), seat, CHAIR)]
    shapes += [box((x, y, 0.215), (0.02, 0.02, 0.215), frame, CHAIR) for x in (-0.18, 0.18) for y in (-0.18, 0.18)]
    if rng.random() < 0.5:
        shapes.append(box((0, -0.195, 0.74), (0.2, 0.015, 0.17), frame, CHAIR))
    else:
        shapes += [box((0, -0.195, z), (0.2, 0.014, 0.045), frame, CHAIR) for z in (0.66, 0.86)]
    shapes += [box((x, -0.195, 0.68), (0.018, 0.018, 0.22), frame, CHAIR) for x in (-0.18, 0.18)]
    return shapes, 0.24, 0.24


def sofa(rng):
    width = rng.choice([0.5, 0.85, 1.05])
    cloth = fabric(rng)
    shapes = [
        box((0, 0.03, 0.22), (width, 0.38, 0.16), cloth, SOFA),
        box((0, -0.36, 0.48), (width, 0.1, 0.38), cloth, SOFA),
        *[box((x * (width + 0.06), 0, 0.32), (0.09, 0.42, 0.28), cloth, SOFA) for x in (-1, 1)],
    ]
    n = max(1, round(width / 0.4))
    for k in range(n):
        x, half = -width + (2 * k + 1) * width / n, width / n - 0.012
        shapes.append(box((x, 0.06, 0.4), (half, 0.36, 0.05), cloth, SOFA))
    if rng.random() < 0.7:
        colour = rgb(rng.choice(CLOTHES))
        pillow = Paint(rng.choice(["plain", "stripes", "dots"]), colour, rgb("f4f1de"), 16.0)
        x = rng.choice([-1, 1]) * (width - 0.2)
        shapes.append(ball_at((x, -0.2, 0.6), 0.19, pillow, SOFA, (1.0, 0.45, 0.9)))
    return shapes, width + 0.15, 0.46


def cabinet(rng):
    half_w, half_d, half_h = rng.uniform(0.4, 0.75), 0.22, rng.uniform(0.35, 0.55)
    paint = wood(rng)._replace(texture="doors", scale=1.0)
    if rng.random() < 0.35:
        paint = plain(rng.choice(["f8f9fa", "84a98c", "a8dadc", "e5989b", "457b9d"]), 0.1)._replace(texture="doors")
    shapes = [box((0, 0, half_h + 0.04), (half_w, half_d, half_h), paint, CABINET)]
    shapes.append(box((0, 0, 2 * half_h + 0.055), (half_w + 0.02, half_d + 0.02, 0.015), wood(rng), CABINET))
    x, top = rng.uniform(-0.5, 0.5) * half_w, 2 * half_h + 0.07
    return shapes + (pot(rng, x, top) if rng.random() < 0.5 else _table_lamp(rng, x, top)), half_w, half_d


def bookcase(rng):
    half_w, half_h, frame = rng.uniform(0.35, 0.6), rng.choice([0.9, 1.05]), wood(rng)
    shapes = [box((0, -0.02, half_h), (half_w, 0.15, half_h), Paint("books"), CABINET)]
    shapes += [box((x * half_w, 0, half_h), (0.02, 0.17, half_h), frame, CABINET) for x in (-1, 1)]
    shapes.append(box((0, 0, 2 * half_h), (half_w + 0.02, 0.17, 0.02), frame, CABINET))
    return shapes, half_w + 0.02, 0.18


def crate(rng):
    half = rng.uniform(0.18, 0.32)
    paint = Paint("fence", *map(rgb, rng.choice(WOODS)), 1.3)
    if rng.random() < 0.4:
        paint = plain(rng.choice(CLOTHES))
    return [box((0, 0, half), (half, half, half), paint, CABINET)], half * 1.3, half * 1.3


def floor_lamp(rng):
    metal, height = plain(rng.choice(["2b2d42", "b08968", "adb5bd"]), 0.4), rng.uniform(1.35, 1.65)
    shapes = [tube((0, 0, 0.012), 0.14, 0.13, 0.012, metal, LAMP, False)]
    shapes.append(tube((0, 0, height / 2), 0.014, 0.014, height / 2, metal, LAMP))
    shapes.append(tube((0, 0, height), 0.2, 0.13, 0.13, _shade(rng), LAMP, False))
    return shapes, 0.22, 0.22


def _table_lamp(rng, x, z):
    foot = plain(rng.choice(CLOTHES), 0.4)
    bulb = tube((x, 0, z + 0.32), 0.13, 0.08, 0.09, _shade(rng), LAMP, False)
    return [ball_at((x, 0, z + 0.09), 0.08, foot, LAMP), tube((x, 0, z + 0.18), 0.012, 0.012, 0.08, foot, LAMP), bulb]


def _shade(rng):
    return plain(rng.choice(["fff1d0", "ffe0a3", "ffd6ba", "f9f7e8"]), 0, rng.choice([0.0, 1.1]))


def pot(rng, x=0.0, z=0.0, size=0.55):
    clay = plain(rng.choice(["bc6c4a", "f1faee", "457b9d", "e9c46a"]), 0.1)
    leaf = Paint("leaves", *map(rgb, rng.choice(GREENS)), 3.0)
    shapes = [tube((x, 0, z + 0.16 * size), 0.11 * size, 0.17 * size, 0.16 * size, clay, PLANT)]
    start = rng.uniform(0, 6.28)
    for k in range(9):
        turn, rise = start + k * 2.4, rng.uniform(0.35, 1.3) if k else 1.4
        root = np.array((x, 0, z + 0.3 * size))
        tip = root + np.array((np.cos(turn) * 0.42, np.sin(turn) * 0.42, rise * 0.75)) * size * rng.uniform(0.8, 1.1)
        shapes.append(limb(root * 0.45 + tip * 0.55, tip, 0.085 * size, 0.02 * size, leaf, PLANT))
    return shapes


def potted_plant(rng):
    size = rng.uniform(0.8, 1.4)
    return pot(rng, 0.0, 0.0, size), 0.35 * size, 0.35 * size


def ball(rng, radius=None):
    radius = radius or rng.uniform(0.1, 0.2)
    first, second = map(rgb, rng.choice(CLOTHES, 2, replace=False))
    paint = Paint(rng.choice(["beach", "plain", "dots", "stripes"]), first, second, 1.4 / radius, 0.5)
    rolled = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    return [replace(ball_at((0, 0, radius), radius, paint, BALL), axes=rolled)], radius, radius


def tree(rng):
    bark = Paint("wood", rgb("6b4a32"), rgb("3f2a1c"), 3.0)
    conifer = rng.random() < 0.3
    pairs = AUTUMN if not conifer and rng.random() < 0.2 else GREENS
    leaf = Paint("leaves", *map(rgb, rng.choice(pairs)), 1.4)
    height = rng.uniform(2.6, 4.5)
    shapes = [tube((0, 0, height * 0.3), 0.05 * height, 0.03 * height, height * 0.3, bark, PLANT)]
    if conifer:  # three skirts
        shapes += [tube((0, 0, height * (0.35 + 0.24 * k)), height * (0.27 - 0.06 * k), 0.01, height * 0.2, leaf, PLANT)
                   for k in range(3)]  # fmt: skip
    else:
        for k in range(6):
            turn = k * 1.257 + rng.uniform(0, 0.8)
            far, up = (0.18, rng.uniform(0.58, 0.75)) if k < 5 else (0.0, 0.86)
            at = np.array((np.cos(turn) * far, np.sin(turn) * far, up)) * height
            shapes.append(ball_at(at, height * rng.uniform(0.14, 0.2), leaf, PLANT))
    return shapes, 0.35, 0.35


def bush(rng):
    leaf = Paint("leaves", *map(rgb, rng.choice(GREENS)), 2.0)
    at = [(rng.uniform(-0.35, 0.35), rng.uniform(-0.15, 0.15), rng.uniform(0.2, 0.4)) for _ in range(4)]
    return [ball_at(p, rng.uniform(0.28, 0.4), leaf, PLANT) for p in at], 0.6, 0.45


def bench(rng):
    slat, iron = wood(rng, 0.0), plain("343a40", 0.2)
    shapes = [box((0, y, 0.45), (0.75, 0.07, 0.018), slat, CHAIR) for y in (-0.17, 0.0, 0.17)]
    shapes += [box((0, -0.25, z), (0.75, 0.016, 0.06), slat, CHAIR) for z in (0.65, 0.83)]
    for x in (-0.6, 0.6):
        shapes.append(box((x, 0, 0.215), (0.025, 0.22, 0.215), iron, CHAIR))
        shapes.append(box((x, -0.265, 0.6), (0.025, 0.02, 0.3), iron, CHAIR))
    return shapes, 0.8, 0.32


def street_lamp(rng):
    iron = plain(rng.choice(["2b2d42", "344e41", "6c757d"]), 0.3)
    post = [tube((0, 0, 0.15), 0.1, 0.07, 0.15, iron, LAMP), tube((0, 0, 1.5), 0.04, 0.035, 1.4, iron, LAMP)]
    return [*post, ball_at((0, 0, 3.0), 0.17, plain("fff6e0", 0.3, 0.8), LAMP)], 0.2, 0.2
