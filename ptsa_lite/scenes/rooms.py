"""room(generator): floor, walls, a window, furniture along the walls and in the middle, people, lamps."""

import numpy as np

from . import furniture as make
from .furniture import CEILING, FLOOR, PICTURE, WALL, box
from .layout import ACCENTS, WALL_COLOURS, Scene, rectangle
from .light import Light, Sky
from .raycast import Camera, Shape
from .textures import Paint, plain, rgb

X, Y, Z = np.eye(3)


def room(rng: np.random.Generator) -> Scene:
    """A furnished room of 4 to 6.4 m by 4.5 to 6.5 m, seen from near its front wall."""
    half, depth, height = rng.uniform(2.0, 3.2), rng.uniform(4.5, 6.5), rng.uniform(2.5, 2.9)
    eye = (rng.uniform(-0.6, 0.6) * half, rng.uniform(0.25, 0.5), rng.uniform(1.1, 1.65))
    aim = (rng.uniform(-0.5, 0.5) * half, 0.75 * depth, rng.uniform(0.75, 1.1))
    scene = Scene(rng, Camera.looking(eye, aim, rng.uniform(0.92, 1.2)))
    scene.take(eye[0], eye[1], 0.9, 1.3)
    _shell(scene, half, depth, height)
    window = _window(scene, half, depth) if rng.random() < 0.5 else None
    scene.stand(rng.choice(4, p=[0.34, 0.38, 0.2, 0.08]), (-half + 0.4, half - 0.4, 1.6, depth - 0.5), 1.9, 3.5)
    area = (-half + 0.04, half - 0.04, 0.3, depth - 0.04)
    sofas = _along_walls(scene, half, depth, area, window)
    if rng.random() < 0.6:
        _dining(scene, area) if rng.random() < 0.6 else _lounge(scene, area, sofas)
    for sofa in sofas:
        if rng.random() < 0.6:
            scene.seat(*sofa, 0.45, 0.06)
    for _ in range(rng.integers(0, 3)):
        made = make.ball(rng) if rng.random() < 0.7 else make.crate(rng)
        scene.try_put(made, rng.uniform(-half, half), rng.uniform(1.8, depth), rng.uniform(0, 6.28), area)
    return scene


def _at_wall(wall: int, along: float, half: float, depth: float, gap: float = 0.0) -> tuple[float, float, float]:
    """(x, y, yaw) of a thing with its back to the back (0), left (1) or right (2) wall."""
    return [(along, depth - gap, np.pi), (-half + gap, along, -np.pi / 2), (half - gap, along, np.pi / 2)][wall]


def _shell(scene: Scene, half: float, depth: float, height: float) -> None:
    """Floor, ceiling, three walls with skirting boards, the ceiling's light and what the walls reflect."""
    rng, mid, high, skirting = scene.rng, depth / 2, height / 2, plain("f2efe9")
    colour, boards = rng.choice(WALL_COLOURS), rng.choice(make.WOODS)
    accent = rng.choice(ACCENTS) if rng.random() < 0.35 else colour
    floor = rectangle((0, mid, 0), X, Y, half + 0.01, mid + 0.01, _floor_paint(rng, boards), FLOOR)
    ceiling = rectangle((0, mid, height), X, -Y, half + 0.01, mid + 0.01, plain("f4f1ea"), CEILING)
    scene.things += [[floor], [ceiling]]
    sides = (((0, depth), X, half, accent), ((-half, mid), Y, mid, colour), ((half, mid), -Y, mid, colour))
    for (x, y), right, half_w, tone in sides:
        wall = rectangle((x, y, high), right, Z, half_w + 0.01, high + 0.01, _wall_paint(rng, tone), WALL)
        board = box((x, y, 0.05), np.abs(right) * half_w + (0.015, 0.015, 0.05), skirting, WALL, solid=False)
        scene.things.append([wall, board])
    warm = rng.uniform(0.72, 0.95)
    at = np.array((rng.uniform(-0.3, 0.3) * half, depth * rng.uniform(0.3, 0.65), height - 0.12))
    tint = (1.0, 0.93 * warm + 0.05, 0.85 * warm**2 + 0.05)
    scene.lights.append(Light(at, rng.uniform(0.15, 0.32), tint, reach=2.4))
    above = 0.34 * (0.5 + 0.5 * np.array(rgb(colour)))
    below = above * np.array(rgb(boards[0])) ** 0.2
    # The sky is seen through the window only.
    outside = ((0.2, 0.5, 1.3), (0.8, 1.05, 1.3), (0.25, 0.5, 0.3))
    scene.sky = Sky(tuple(above), tuple(below), *outside, rng.uniform(0.4, 0.8))


def _floor_paint(rng, boards) -> Paint:
    kind = rng.choice(["planks", "checker", "tiles", "cloth"], p=[0.5, 0.18, 0.2, 0.12])
    if kind == "planks":
        return Paint(kind, *map(rgb, boards), 1.0, 0.25)
    if kind == "checker":
        return Paint(kind, rgb("e9e4d8"), rgb(rng.choice(["8d99ae", "a98467", "6b705c", "2b2d42"])), 2.0, 0.3)
    if kind == "tiles":
        return Paint(kind, rgb(rng.choice(["b8a48c", "c6b8a5", "8f9b9e", "b56a4a"])), rgb("efe9df"), 2.2, 0.2)
    return Paint(kind, rgb(rng.choice(["7d8597", "a89f91", "8a9a7b", "9a6a6a"])))


def _wall_paint(rng, tone) -> Paint:
    kind = rng.choice(["plain", "bars", "brick", "dots"], p=[0.72, 0.14, 0.08, 0.06])
    if kind == "brick":
        return Paint(kind, rgb("a65a42"), rgb("c9c0b2"))
    light = tuple(min(1.0, 1.13 * c) for c in rgb(tone))
    return plain(tone) if kind == "plain" else Paint(kind, rgb(tone), light, 6.0 if kind == "bars" else 4.0)


def _window(scene: Scene, half: float, depth: float) -> tuple[int, float]:
    """A window that shows the sky, and a light as broad as it is. Returns its wall and place along it."""
    rng, frame = scene.rng, plain("f7f5f0", 0.1)
    wall, half_w, half_h = rng.integers(3), rng.uniform(0.5, 0.8), rng.uniform(0.5, 0.65)
    along = rng.uniform(-0.5, 0.5) * half if wall == 0 else rng.uniform(0.5, 0.8) * depth
    x, y, yaw = _at_wall(wall, along, half, depth)
    bars = ((0, half_h, half_w + 0.06, 0.05), (0, -half_h, half_w + 0.1, 0.05), (half_w, 0, 0.05, half_h),
            (-half_w, 0, 0.05, half_h), (0, 0, 0.025, half_h), (0, 0.1, half_w, 0.02))  # fmt: skip
    shapes = [box((bx, 0.03, bz), (w, 0.03, h), frame, WALL, solid=False) for bx, bz, w, h in bars]
    shapes.append(rectangle((0, 0.012, 0), -X, Z, half_w, half_h, Paint("sky"), 0, solid=False))
    scene.put(shapes, x, y, yaw, 1.5)
    frame_of_wall = scene.things.pop()  # so that its outline is no boundary: only the opening is
    scene.things[2 + wall] += frame_of_wall
    inside = np.array((x - 0.1 * np.sin(yaw), y + 0.1 * np.cos(yaw), 1.9))
    scene.lights.append(Light(inside, half_w, (0.75, 0.85, 1.0), reach=2.6))
    return wall, along


def _along_walls(scene: Scene, half, depth, area, window) -> list[tuple]:
    """Furniture with its back to the walls and pictures above it. Returns (x, y, yaw) of the sofas."""
    rng, sofas = scene.rng, []
    makers = (make.sofa, make.cabinet, make.bookcase, make.floor_lamp, make.potted_plant, make.chair, make.crate)
    for wall in rng.permutation(3):
        hung = [window[1]] if window and window[0] == wall else []
        for _ in range(rng.integers(2, 5)):
            maker = makers[rng.choice(7, p=[0.28, 0.2, 0.14, 0.12, 0.14, 0.06, 0.06])]
            made = maker(rng)
            along = rng.uniform(-half + made[1], half - made[1]) if wall == 0 else rng.uniform(1.8, depth - made[1])
            place = _at_wall(wall, along, half, depth, made[2] + 0.05)
            hides_window = maker is make.bookcase and any(abs(along - other) < 1.2 for other in hung)
            if not hides_window and scene.try_put(made, *place, area) and maker is make.sofa:
                sofas.append(place)
        for _ in range(rng.integers(0, 3)):
            half_w, half_h = rng.uniform(0.2, 0.5), rng.uniform(0.2, 0.38)
            along = rng.uniform(-0.76, 0.76) * half if wall == 0 else rng.uniform(0.12, 0.88) * depth
            if all(abs(along - other) > half_w + 1.0 for other in hung):
                hung.append(along)
                scene.put(_picture(rng, half_w, half_h), *_at_wall(wall, along, half, depth), rng.uniform(1.6, 1.75))
    return sofas


def _picture(rng, half_w, half_h) -> list[Shape]:
    first, second = map(rgb, rng.choice(make.CLOTHES, 2, replace=False))
    rim = plain(rng.choice(["2b2d42", "f8f9fa", "b08968", "d4a017"]), 0.3)
    canvas = Paint("art", first, second, rng.uniform(1, 50))
    return [box((0, 0.012, 0), (half_w + 0.035, 0.012, half_h + 0.035), rim, PICTURE, solid=False),
            box((0, 0.02, 0), (half_w, 0.012, half_h), canvas, PICTURE, solid=False)]  # fmt: skip


def _dining(scene: Scene, area) -> None:
    """A table with chairs around it, perhaps with something on it and somebody at it."""
    rng = scene.rng
    made = _, half_w, half_d = make.table(rng)
    x, y = rng.uniform(-1.2, 1.2), rng.uniform(2.6, max(area[3] - 1.4, 2.7))
    if not scene.try_put(made, x, y, 0.0, area, 0.35):
        return
    if rng.random() < 0.6:
        _on_top(scene, x + rng.uniform(-0.3, 0.3), y, 0.742)
    if rng.random() < 0.4:
        _rug(scene, x, y, half_w + 0.6, half_d + 0.6)
    for dx, dy, yaw in ((0.3, half_d + 0.25, np.pi), (-0.35, half_d + 0.22, np.pi), (half_w + 0.3, 0, np.pi / 2),
                        (-half_w - 0.3, 0, -np.pi / 2), (0.0, -half_d - 0.3, 0.0)):  # fmt: skip
        place = (x + dx, y + dy, yaw + rng.normal(0, 0.12))
        if rng.random() < 0.55 and scene.try_put(make.chair(rng), *place, area, -0.1) and rng.random() < 0.35:
            scene.seat(*place, 0.475)


def _lounge(scene: Scene, area, sofas) -> None:
    """A rug with a low table, before a sofa where there is one."""
    rng = scene.rng
    x, y, yaw = rng.uniform(-1, 1), rng.uniform(2.4, area[3] - 1.2), 0.0
    if sofas:
        x, y, yaw = sofas[0]
        x, y = x - 1.15 * np.sin(yaw), y + 1.15 * np.cos(yaw)
    made = make.table(rng, rng.uniform(0.38, 0.46))
    if scene.try_put(made, x, y, yaw, area):
        _rug(scene, x, y, 1.1, 0.9)
        if rng.random() < 0.7:
            _on_top(scene, x, y, made[0][0].centre[2] + 0.022)


def _on_top(scene: Scene, x, y, z) -> None:
    rng = scene.rng
    shapes = make.ball(rng, rng.uniform(0.07, 0.1))[0] if rng.random() < 0.5 else make.pot(rng, size=0.4)
    scene.put(shapes, x, y, 0.0, z)


def _rug(scene: Scene, x, y, half_w, half_d) -> None:
    paint = Paint("weave", *map(rgb, scene.rng.choice(make.FABRICS, 2, replace=False)))
    # Part of the floor, the first thing of a room: its outline is no boundary of a class, nor of depth.
    scene.things[0].append(rectangle((x, y, 0.008), X, Y, half_w, half_d, paint, FLOOR, solid=False))
