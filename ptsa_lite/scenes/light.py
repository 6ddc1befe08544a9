"""radiance = albedo * (sum over lights of visible share * cosine * colour + ambient * openness): shading of surfaces.

Soft shadows need one ray per point. Seen from the point, the light is a disc of angular radius a; an occluder's
outline passes its centre at the angle d / t (d: how far the ray runs inside the outline, t: how far away). The covered
share of the disc is a smooth step of (d / t) / a. d and t have closed forms for round cones and for boxes.
"""

from dataclasses import dataclass

import numpy as np

from .raycast import Camera, View, slope_of
from .textures import column, soft_noise

BIAS = 0.012  # metres that a shadow ray starts above its surface, so that neighbours in contact do not shade it wrongly


@dataclass(frozen=True)
class Light:
    """A ball of light in the world: position, radius in metres, colour at `reach` metres (inf: the sun, no falloff)."""

    position: np.ndarray
    radius: float
    colour: tuple
    reach: float = np.inf


@dataclass(frozen=True)
class Sky:
    """Ambient light from above and below, and what rays that hit nothing see."""

    above: tuple
    below: tuple
    zenith: tuple
    horizon: tuple
    hills: tuple
    clouds: float  # share of the sky
    haze: float = 0.0  # 1 / metres: share of the horizon's colour per metre of distance


def visible_share(view: View, light: Light, points, normals, own) -> np.ndarray:
    """Share 0..1 of the light seen from each point, times the cosine of its direction (N,).

    points and normals: (3, N) in the camera frame; own (N,): the shape a point lies on, which does not shade it.
    """
    position = column(view.camera.rotation @ (light.position - view.camera.position))
    way = position - points
    distance = np.sqrt(np.einsum("ij,ij->j", way, way))
    way /= distance
    result = np.maximum(np.einsum("ij,ij->j", way, normals), 0)
    lit = np.flatnonzero(result > 0)
    start = points.take(lit, axis=1) + normals.take(lit, axis=1) * np.float32(BIAS)
    way, distance, own = way.take(lit, axis=1), distance[lit], own[lit]
    angle = np.float32(light.radius) / distance
    share = np.ones(len(lit), np.float32)
    # (9, N), so that points are picked once: start, direction, distance and angular radius of the light, own shape
    rays = np.concatenate([start, way, distance[None], angle[None], own[None].astype(np.float32)])
    near_things = _touched(view.thing_middles, view.thing_radii, rays)
    for members, near in zip(view.members, near_things, strict=True):
        near = np.flatnonzero(near)
        if near.size:
            share[near] *= 1 - _covered(view, members, rays.take(near, axis=1))
    result[lit] *= share
    return result


def _touched(middles, radii, rays) -> np.ndarray:
    """(K, N): whether the cone of shadow rays from each point to the light may meet each of K spheres."""
    start, way, angle, radii = rays[:3], rays[3:6], rays[7], radii[:, None]
    along = middles @ way - np.einsum("ij,ij->j", start, way)
    apart = (middles**2).sum(1)[:, None] - 2 * (middles @ start) + np.einsum("ij,ij->j", start, start)
    return (along > -radii) & (apart - along * along < (radii + np.maximum(along, 0) * angle) ** 2)


def _covered(view: View, members, rays) -> np.ndarray:
    """Covered share of the light by one thing: the greatest over its shapes. Rows of rays: see `visible_share`."""
    worst = np.full(rays.shape[1], -1, np.float32)
    near_shapes = _touched(view.middles[members], view.radii[members], rays)
    for i, near in zip(members, near_shapes, strict=True):
        near = np.flatnonzero(near)
        if not near.size:
            continue
        shape, ray = view.shapes[i], rays.take(near, axis=1)
        o, d = view.maps[i] @ ray[:3] + view.offsets[i][:, None], view.maps[i] @ ray[3:6]
        depth, t = _box_outline(o, d, shape.size) if shape.kind == "box" else _cone_outline(o, d, shape)
        distance, angle, own = ray[6:]
        x = depth * view.scale[i] / (np.maximum(t, np.float32(1e-3)) * angle)
        x[(own == i) | (t <= 0) | (t >= distance)] = -1
        worst[near] = np.maximum(worst.take(near), x)
    worst = np.clip(worst, -1, 1)
    return 0.5 + worst * (0.75 - 0.25 * worst * worst)


def _cone_outline(o, d, shape):
    """How deep the ray o + t d runs inside a round cone (negative: passes it) and the t of its nearest point.

    A tube counts as the round cone around its axis.
    """
    r0, r1, length = shape.size
    if shape.kind == "tube":
        o[2] += length
        length *= 2
    square, along = np.einsum("ij,ij->j", d, d), np.einsum("ij,ij->j", d, o)
    s = np.clip((square * o[2] - d[2] * along) / np.maximum(square - d[2] * d[2], 1e-9), 0, length)
    t = np.maximum((d[2] * s - along) / square, 0)
    gap = o + t * d
    gap[2] -= s
    return r0 - slope_of((r0, r1, length)) * s - np.sqrt(np.einsum("ij,ij->j", gap, gap)), t


def _box_outline(o, d, size):
    """The same for a box. Between the slabs i and j the ray has leave_j - enter_i to spare: in the plane of i and j,
    its distance to the edge is that, times |d_i d_j| / hypot(d_i, d_j)."""
    d = np.where(np.abs(d) < 1e-6, np.float32(1e-6), d)
    inverse = 1 / d
    middle, reach = -o * inverse, np.abs(inverse) * column(size)
    enter, leave = middle - reach, middle + reach
    squared = inverse * inverse
    depth = np.inf
    for i, j in ((0, 1), (0, 2), (1, 2)):
        spare = np.minimum(leave[j] - enter[i], leave[i] - enter[j]) / np.sqrt(squared[i] + squared[j])
        depth = np.minimum(depth, spare)
    first, last = enter.max(0), leave.min(0)
    t = np.where(np.maximum(first, last) > 0, np.maximum((first + last) / 2, 1e-3), 0)
    return depth, t


def openness(view: View, points, normals, reach: float = 0.35) -> np.ndarray:
    """Share of the surroundings that is open, from distances at `reach` metres above the surface (N,)."""
    tip = points + normals * np.float32(reach)
    result = np.ones(tip.shape[1], np.float32)
    for i, shape in enumerate(view.shapes):
        if shape.kind == "rect" and shape.solid:
            height = view.maps[i][2] @ tip + view.offsets[i][2]
            result *= 1 - 0.5 * np.clip(1 - np.abs(height) / np.float32(reach), 0, 1)
    squared = np.einsum("ij,ij->j", tip, tip)
    for centre, radius, members in zip(view.thing_middles, view.thing_radii, view.members, strict=True):
        near = np.flatnonzero(squared - 2 * (centre @ tip) < (radius + reach) ** 2 - centre @ centre)
        if not near.size:
            continue
        p, least = tip.take(near, axis=1), np.full(near.size, reach, np.float32)
        for i in members:
            q = view.maps[i] @ p + view.offsets[i][:, None]
            np.minimum(least, _distance(view.shapes[i], q) * np.float32(view.scale[i]), out=least)
        result[near] *= 1 - 0.75 * np.clip(1 - least / np.float32(reach), 0, 1)
    return result


def _distance(shape, q) -> np.ndarray:
    """Distance outside a shape, in local units (negative or zero inside)."""
    if shape.kind == "box":
        out = np.maximum(np.abs(q) - column(shape.size), 0)
        return np.sqrt(np.einsum("ij,ij->j", out, out))
    rho2 = q[0] * q[0] + q[1] * q[1]
    if shape.kind == "cone":
        slope, r0, length = slope_of(shape.size), shape.size[0], shape.size[2]
        z = np.clip((q[2] - slope * np.sqrt(rho2) / max(1 - slope**2, 0.1) ** 0.5), 0, length)
        return np.sqrt(rho2 + (q[2] - z) ** 2) - (r0 - slope * z)
    r0, r1, half = shape.size
    out = np.maximum(np.sqrt(rho2) - ((r0 + r1) / 2 - (r0 - r1) / (2 * half) * np.clip(q[2], -half, half)), 0)
    return np.hypot(out, np.maximum(np.abs(q[2]) - half, 0))


def sky_colour(sky: Sky, camera: Camera, x, y) -> np.ndarray:
    """Light (3, N) along rays (x, y, 1) that hit nothing: clouds, two painted ranges of hills, a hazy plain."""
    horizon, zenith, hills = map(column, (sky.horizon, sky.zenith, sky.hills))
    way = camera.rotation.T.astype(np.float32) @ np.stack([x, y, np.ones_like(x)])
    rise, around = way[2] / np.hypot(way[0], way[1]), np.arctan2(way[0], way[1])
    up = np.clip(rise, 0, 1)
    colour = horizon + (zenith - horizon) * (up**0.6)
    flat = 1 / (up + 0.25)
    cover = np.clip((soft_noise(np.sin(around) * flat, np.cos(around) * flat * 1.5, 0.07) - 1 + sky.clouds) * 3, 0, 0.8)
    colour += (horizon.max() * np.float32([[1.0], [0.98], [0.97]]) - colour) * cover * np.minimum(up * 8, 1)
    for height, scale, share in ((0.11, 0.10, 0.45), (0.06, 0.21, 0.8)):
        hump = np.sin(around / scale + 1) + np.sin(around / scale * 0.43 + 4) * np.sin(around / scale * 1.7)
        line = height * (0.25 + (0.5 + 0.25 * hump))  # a smooth line of hills over the azimuth
        colour = np.where(rise < line, horizon + (hills - horizon) * np.float32(share), colour)
    return colour


def tone(radiance: np.ndarray, exposure: float) -> np.ndarray:
    """Linear light -> sRGB in 0..1, with highlights rolled off smoothly instead of clipped."""
    x = np.maximum(radiance, 0) * np.float32(exposure)
    x = x * (2.51 * x + 0.1) / (x * (2.43 * x + 0.62) + 0.14)  # Narkowicz' fit of a film curve, with a softer toe
    srgb = np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.maximum(x, 1e-6) ** np.float32(1 / 2.4) - 0.055)
    return np.minimum(srgb, 1)
