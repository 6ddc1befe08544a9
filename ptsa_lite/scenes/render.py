"""(image, labels) = render_scene(index): procedural pictures of people in rooms and outdoors, with exact labels.

Everything follows from (seed, index): a generator furnishes a place (rooms.py, grounds.py), rays find what each pixel's
centre sees (raycast.py), paints and soft light colour it (textures.py, light.py). Labels are read off the same rays:
one exact sample a pixel. Only the image is smoothed, by three more rays where colours change.
"""

import numpy as np

from .furniture import GROUND, PERSON
from .grounds import open_ground
from .layout import Scene
from .light import openness, sky_colour, tone, visible_share
from .raycast import View, surface
from .rooms import room
from .textures import albedo, column

PROBE = 24  # side of the coarse picture by which subjects are chosen, whatever the size of the frame
NEIGHBOURS = ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1]))  # each pair of adjacent pixels once


def render_scene(index: int, seed: int = 0, size: int | tuple[int, int] = 128) -> dict[str, np.ndarray]:
    """One frame and its labels; the same for the same (index, seed), whatever else is rendered.

    size: the side of a square frame or (H, W); the shorter side always spans the same field of view, so that other
    sizes sample the same scene. Returns

    ============ ==================== ===================================================================
    image        (H, W, 3) uint8      sRGB
    semseg       (H, W) uint8         position in SCENE_CLASSES
    human_parts  (H, W) uint8         0 background, 1 head, 2 torso, 3 upper and 4 lower arms, 5 upper and 6 lower legs
    saliency     (H, W) uint8         1 on the subjects: people of good size, else the most prominent thing
    normals      (H, W, 3) float32    unit vectors, x right, y down, z forward; zero where there is no surface
    depth        (H, W) float32       metres along z; 0 where there is no surface
    edge         (H, W) uint8         1 on the nearer side of every boundary of a thing, a part or a jump in depth
    ============ ==================== ===================================================================

    Raises ValueError on a size without pixels or a negative index or seed.
    """
    height, width = (size, size) if np.isscalar(size) else size
    if min(height, width) < 1:
        raise ValueError(f"a frame of {height} x {width} has no pixels; give a positive side or (height, width)")
    scene, view, subjects = _scene(index, seed)
    x, y = scene.camera.rays(height, width)
    depth, seen = _look(view, x, y)
    label, part, thing = view.label[seen], view.part[seen], view.thing[seen]
    edge = _edges(seen, thing, part, depth)
    radiance, normals = _radiance(scene, view, *(a.ravel() for a in (x, y, depth, seen)))
    typical = float(np.exp(np.log(radiance.mean(0) + 1e-3).mean()))  # the geometric mean of the frame's light
    exposure = 0.7 * (0.3 / typical) ** 0.67  # brings it to mid grey, by two thirds of the way
    image = _smooth(scene, view, x, y, seen, _picture(tone(radiance, exposure), height, width), exposure)
    return {
        "image": (image * 255 + 0.5).astype(np.uint8),
        "semseg": label,
        "human_parts": part,
        "saliency": np.isin(thing, subjects).astype(np.uint8),
        "normals": _picture(normals, height, width),
        "depth": np.where(seen >= 0, depth, np.float32(0)),
        "edge": edge.astype(np.uint8),
    }


def _picture(rows, height: int, width: int) -> np.ndarray:
    """(3, H * W) -> (H, W, 3)."""
    return np.ascontiguousarray(rows.T).reshape(height, width, 3)


def _scene(index: int, seed: int) -> tuple[Scene, View, list[int]]:
    """The scene of (seed, index), its view and its subjects: the first draw whose subject is well in view."""
    if index < 0 or seed < 0:
        raise ValueError(f"scene index {index} and seed {seed} must not be negative")
    rng = np.random.default_rng([seed, index])
    for _ in range(6):
        scene = room(rng) if rng.random() < 0.6 else open_ground(rng)
        view = View(scene.things, scene.camera)
        subjects, share = _subjects(view)
        if share > (0.035 if scene.sights else 0.03):
            break
    return scene, view, subjects


def _subjects(view: View) -> tuple[list[int], float]:
    """Things that the picture is about, and the share of the (central square of the) frame that the first one fills.

    People who appear at least 0.4 times as large as the largest; without people, the thing that is largest when pixels
    count more towards the middle.
    """
    x, y = view.camera.rays(PROBE, PROBE)
    _, seen = _look(view, x, y)
    label, thing = view.label[seen], view.thing[seen]
    people = np.bincount(thing[label == PERSON], minlength=1) / PROBE**2
    if people.max() > 0.015:
        return np.flatnonzero(people >= 0.4 * people.max()).tolist(), float(people.max())
    free, middle = label > GROUND, np.exp(-6 * view.camera.focal**2 * (x * x + y * y))  # the classes after it can move
    weight = np.bincount(thing[free], middle[free], minlength=1)
    return [int(weight.argmax())], float((thing == weight.argmax()).mean())


def _look(view: View, x, y):
    """Depth and shape number, windows taken for the sky that they show."""
    depth, seen = view.cast(x, y)
    for i, shape in enumerate(view.shapes):
        if shape.paint.texture == "sky":
            depth[seen == i], seen[seen == i] = np.inf, -1
    return depth, seen


def _edges(seen, thing, part, depth) -> np.ndarray:
    """Pixels with a neighbour (left, right, above, below) on another thing or part, or far behind on another shape.

    Of the two, the nearer one is marked: lines are one pixel wide and lie on the thing that they outline.
    """
    edge = np.zeros(seen.shape, bool)
    for a, b in NEIGHBOURS:
        with np.errstate(invalid="ignore"):
            gap = depth[a] - depth[b]
            jump = (seen[a] != seen[b]) & (np.abs(gap) > 0.06 + 0.03 * np.minimum(depth[a], depth[b]))
        border = (thing[a] != thing[b]) | (part[a] != part[b]) | jump
        edge[a] |= border & ~(gap > 0)
        edge[b] |= border & (gap > 0)
    return edge


def _radiance(scene: Scene, view: View, x, y, depth, seen) -> tuple[np.ndarray, np.ndarray]:
    """Linear light (3, N) along rays, and the normals (3, N) of what they hit (zero in the sky)."""
    radiance, normals = np.empty((3, len(x)), np.float32), np.zeros((3, len(x)), np.float32)
    order = np.argsort(seen, kind="stable")
    cuts = np.searchsorted(seen[order], np.arange(len(view.shapes) + 1))
    sky, hit = order[: cuts[0]], order[cuts[0] :]
    radiance[:, sky] = sky_colour(scene.sky, scene.camera, x[sky], y[sky])
    points = np.stack([x[hit], y[hit], np.ones(hit.size, np.float32)]) * depth[hit]
    normal, colour = np.empty_like(points), np.empty_like(points)
    gloss, emit = np.zeros(hit.size, np.float32), np.zeros(hit.size, np.float32)
    for i, shape in enumerate(view.shapes):
        part = slice(cuts[i] - cuts[0], cuts[i + 1] - cuts[0])
        if part.start == part.stop:
            continue
        q = view.maps[i] @ points[:, part] + view.offsets[i][:, None]
        outward, u, v = surface(shape.kind, shape.size, q)
        normal[:, part] = view.maps[i].T @ outward
        colour[:, part] = albedo(shape.paint, u, v, q)
        gloss[part], emit[part] = shape.paint.gloss, shape.paint.emit
    normal /= np.sqrt(np.einsum("ij,ij->j", normal, normal))
    normals[:, hit] = normal
    radiance[:, hit] = _shade(scene, view, points, normal, colour, gloss, emit, seen[hit])
    return radiance, normals


def _shade(scene: Scene, view: View, points, normal, colour, gloss, emit, own) -> np.ndarray:
    """Light (3, N) that leaves points towards the camera."""
    rotation, sky = scene.camera.rotation.astype(np.float32), scene.sky
    upward = (rotation[:, 2] @ normal) * 0.5 + 0.5
    above, below = map(column, (sky.above, sky.below))
    light = (below + (above - below) * upward) * openness(view, points, normal)
    shine = np.zeros_like(points)
    eye = -points / np.sqrt(np.einsum("ij,ij->j", points, points))
    glossy = np.flatnonzero(gloss)
    for lamp in scene.lights:
        tint = column(lamp.colour)
        share = visible_share(view, lamp, points, normal, own)
        way = column(rotation @ (lamp.position - scene.camera.position)) - points
        if np.isfinite(lamp.reach):
            share = share * (2 / (1 + np.einsum("ij,ij->j", way, way) / np.float32(lamp.reach**2)))
        light += tint * share
        half = way[:, glossy] / np.linalg.norm(way[:, glossy], axis=0) + eye[:, glossy]
        half /= np.linalg.norm(half, axis=0)
        spark = np.maximum(np.einsum("ij,ij->j", half, normal[:, glossy]), 0) ** 40
        shine[:, glossy] += tint * (gloss[glossy] * spark * np.minimum(share[glossy] * 4, 1))
    result = colour * (light + emit) + shine
    if sky.haze:
        veil = 1 - np.exp(-np.float32(sky.haze) * points[2])
        result += (column(sky.horizon) - result) * veil
    return result


SUBPIXELS = np.array([(0.33, 0.08), (-0.22, 0.28), (-0.14, -0.34)], np.float32)  # beside the centre, in pixels


def _smooth(scene, view, x, y, seen, image, exposure) -> np.ndarray:
    """The image, with four samples a pixel where contrast is strong or shapes of different colour meet."""
    grey = image @ np.float32([0.3, 0.6, 0.1])
    rough = np.zeros(seen.shape, bool)
    for a, b in NEIGHBOURS:
        contrast = np.abs(grey[a] - grey[b])
        far = (contrast > 0.1) | (seen[a] != seen[b]) & (contrast > 0.025)
        rough[a] |= far
        rough[b] |= far
    rows, columns = np.nonzero(rough)
    step = SUBPIXELS / (scene.camera.focal * min(seen.shape))
    u, v = (x[rows, columns] + step[:, :1]).ravel(), (y[rows, columns] + step[:, 1:]).ravel()
    order = np.argsort(v, kind="stable")  # as `cast` wants them
    u, v = u[order], v[order]
    radiance, _ = _radiance(scene, view, u, v, *_look(view, u, v))
    samples = np.empty_like(radiance)
    samples[:, order] = tone(radiance, exposure)
    image[rows, columns] = (image[rows, columns] + samples.reshape(3, 3, -1).sum(1).T) / 4
    return image
