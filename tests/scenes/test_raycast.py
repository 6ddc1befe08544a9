"""The closed forms of raycast.py and light.py against slow, plain geometry."""

import numpy as np
import pytest

from ptsa_lite.scenes.light import Light, openness, visible_share
from ptsa_lite.scenes.raycast import Camera, Shape, View, surface
from ptsa_lite.scenes.textures import plain

PAINT = plain("808080")
CAMERA = Camera(np.zeros(3), np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]), 1.0)  # looks along the world's y
SIZES = {"box": (0.5, 0.3, 0.7), "cone": (0.5, 0.2, 0.9), "tube": (0.5, 0.2, 0.4), "ball": (0.6, 0.6, 0.0)}


def turned(seed: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))[0]


def shape(name: str, seed: int, at=(0.1, 3.0, -0.2), stretch=(1.0, 1.0, 1.0)) -> Shape:
    kind = "cone" if name == "ball" else name
    return Shape(kind, np.array(at), turned(seed), SIZES[name], PAINT, stretch=stretch)


def inside(kind: str, size, q: np.ndarray, balls: int = 400) -> np.ndarray:
    """Whether points (N, 3) in local coordinates lie in a shape, by the words of its definition."""
    a, b, c = size
    if kind == "box":
        return (np.abs(q) <= size).all(1)
    if kind == "tube":
        radius = a + (b - a) * (q[:, 2] + c) / (2 * c)
        return (np.abs(q[:, 2]) <= c) & (np.hypot(q[:, 0], q[:, 1]) <= radius)
    share = np.linspace(0, 1, balls)[:, None]  # the hull of two balls is the union of the balls between them
    gap = np.linalg.norm(q[None] - share[..., None] * np.array((0, 0, c)), axis=2)
    return (gap <= a + (b - a) * share).any(0)


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_ray_meets_a_shape_where_marching_along_it_first_enters(name, seed):
    one = shape(name, seed, stretch=(1.0, 0.8, 1.2) if name == "cone" else (1.0, 1.0, 1.0))
    view = View([[one]], CAMERA)
    x, y = CAMERA.rays(10, 10)
    depth, seen = view.cast(x, y)
    assert 0.05 < (seen == 0).mean() < 0.95
    steps = np.arange(1.7, 4.3, 0.004)
    for u, v, t in zip(x.ravel(), y.ravel(), depth.ravel(), strict=True):
        q = view.maps[0] @ (np.array([[u], [v], [1]]) * steps) + view.offsets[0][:, None]
        entered = inside(one.kind, one.size, q.T, 200)
        first = steps[entered.argmax()] if entered.any() else np.inf
        assert np.isinf(t) and entered.sum() <= 30 or abs(t - first) < 0.008  # a thin graze may slip between steps


@pytest.mark.parametrize("name", SIZES)
def test_normals_are_the_slope_of_the_surface(name):
    one = shape(name, 3)
    view = View([[one]], CAMERA)
    x, y = CAMERA.rays(40, 40)
    depth, seen = view.cast(x, y)
    points = np.stack([x, y, np.ones_like(x)]) * depth
    inner = np.zeros_like(seen, bool)
    inner[1:-1, 1:-1] = (seen[1:-1, :-2] == 0) & (seen[1:-1, 2:] == 0) & (seen[:-2, 1:-1] == 0) & (seen[2:, 1:-1] == 0)
    inner &= seen == 0
    q = view.maps[0] @ points[:, inner] + view.offsets[0][:, None]
    normal = view.maps[0].T @ surface(one.kind, one.size, q)[0]
    normal /= np.linalg.norm(normal, axis=0)
    with np.errstate(invalid="ignore"):
        across, down = np.gradient(points, axis=2)[:, inner], np.gradient(points, axis=1)[:, inner]
    slope = np.cross(down, across, axis=0)
    slope /= np.linalg.norm(slope, axis=0)
    assert (normal[2] < 0.2).all()
    assert np.median(np.degrees(np.arccos(np.clip((slope * normal).sum(0), -1, 1)))) < 1.0


def test_rays_in_any_order_of_columns_see_what_the_grid_sees():
    view = View([[shape("box", 1)], [shape("cone", 2, (-0.8, 2.5, 0.3))], [shape("tube", 4, (0.7, 4.0, 0.5))]], CAMERA)
    x, y = CAMERA.rays(30, 44)
    depth, seen = view.cast(x, y)
    listed = view.cast(x.ravel(), y.ravel())
    assert set(np.unique(seen)) == {-1, 0, 1, 2}
    assert (listed[0].reshape(30, 44) == depth).all() and (listed[1].reshape(30, 44) == seen).all()


def test_shapes_behind_or_around_the_camera_are_not_seen():
    view = View([[shape("box", 1, (0, -3, 0))], [shape("ball", 1, (0, 0, 0))]], CAMERA)
    depth, seen = view.cast(*CAMERA.rays(8, 8))
    assert (seen == -1).all() and np.isinf(depth).all()


@pytest.mark.parametrize("name", ["box", "cone", "ball"])
def test_soft_shadows_agree_with_many_hard_ones(name):
    """On a floor under a shape under a ball of light: the closed form against 40 rays to points of the light's disc."""
    rng = np.random.default_rng(0)
    one = shape(name, 5, (0.0, 3.0, 0.0))
    view = View([[one]], CAMERA)
    light = Light(np.array((0.5, 2.8, 3.0)), 0.35, (1, 1, 1))
    ground = np.stack(np.meshgrid(np.linspace(-2, 2, 14), [1.2], np.linspace(1.5, 4.5, 14)), -1).reshape(-1, 3).T
    ground = ground.astype(np.float32)  # camera frame: y down, so the floor lies 1.2 m below
    up = np.broadcast_to(np.float32([[0], [-1], [0]]), ground.shape)
    position = CAMERA.rotation @ light.position
    cosine = (up * (position[:, None] - ground)).sum(0) / np.linalg.norm(position[:, None] - ground, axis=0)
    fast = visible_share(view, light, ground, up, np.full(ground.shape[1], -1)) / cosine
    slow = np.zeros(ground.shape[1])
    steps = np.linspace(0.1, 0.9, 100)
    for k in range(ground.shape[1]):
        way = position - ground[:, k]
        side = np.linalg.qr(np.stack([way, (1, 0, 0), (0, 1, 0)], 1))[0][:, 1:]
        angle, reach = rng.uniform(0, 2 * np.pi, 40), np.sqrt(rng.uniform(0, 1, 40)) * light.radius
        ends = position + (side @ (np.stack([np.cos(angle), np.sin(angle)]) * reach)).T  # (40, 3)
        rays = ground[:, k] + (ends - ground[:, k])[:, None] * steps[:, None]  # (40, 100, 3)
        q = rays.reshape(-1, 3) @ view.maps[0].T + view.offsets[0]
        ball = np.linalg.norm(q - np.array((0, 0, one.size[2] / 2)), axis=1) < 1.3
        hit = np.zeros(len(q), bool)
        hit[ball] = inside(one.kind, one.size, q[ball], 40) if ball.any() else False
        slow[k] = 1 - hit.reshape(40, 100).any(1).mean()
    assert slow.min() == 0 and slow.max() == 1 and ((slow > 0.1) & (slow < 0.9)).sum() > 8
    assert np.abs(fast - slow).mean() < 0.02
    assert np.abs(fast - slow).max() < 0.35


def test_corners_and_contacts_are_darker_than_open_floor():
    floor = Shape("rect", np.array((0.0, 5.0, -1.0)), np.eye(3), (5.0, 5.0, 0.0), PAINT)
    upright = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    wall = Shape("rect", np.array((0.0, 6.0, 0.0)), upright, (5.0, 5.0, 0.0), PAINT)
    crate = Shape("box", np.array((1.0, 3.0, -0.7)), np.eye(3), (0.3, 0.3, 0.3), PAINT)
    view = View([[floor], [wall], [crate]], CAMERA)
    points = np.float32([[-1, 1, 3], [-1, 1, 5.95], [0.65, 1, 3]]).T  # open floor; by the wall; by the crate
    up = np.broadcast_to(np.float32([[0], [-1], [0]]), points.shape)
    far, corner, contact = openness(view, points, up)
    assert far == pytest.approx(1, abs=1e-3) and corner < 0.7 and contact < 0.7
