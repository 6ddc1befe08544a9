"""Geometry of the transforms: picture and every label move as one, and normals and depth change as they must."""

import numpy as np
import pytest
import torch
from archives import random_frame

from ptsa_lite.data import transforms as tr
from ptsa_lite.data.frames import KINDS
from ptsa_lite.data.transforms import Warp
from ptsa_lite.tasks import IGNORE, SCENES

TASKS = tuple(SCENES)


def to_sample(frame, size, tasks, warp=Warp()):  # noqa: B008
    return tr.to_sample(frame, size, {task: KINDS[task] for task in tasks}, warp)


def denormalise(image):
    """The inverse of what transforms do to a picture: (3, H, W) float32 -> (H, W, 3) uint8."""
    return np.clip(np.rint((image.permute(1, 2, 0).numpy() * tr.STD + tr.MEAN) * 255), 0, 255).astype(np.uint8)


def ball(height: int, width: int, radius: float = 0.35) -> dict[str, np.ndarray]:
    """A ball seen from afar, in the middle: under any turn or flip it looks the same, if its normals turn along.

    `radius` is a share of the height. Its picture is its normals.
    """
    y, x = np.mgrid[:height, :width]
    x, y = (x + 0.5 - width / 2) / (radius * height), (y + 0.5 - height / 2) / (radius * height)
    z = 1 - x * x - y * y
    normals = np.stack([x, y, -np.sqrt(np.maximum(z, 0))], -1).astype(np.float32)
    normals[z <= 0] = 0
    return {
        "image": np.rint((normals + 1) * 127.5).astype(np.uint8),
        "semseg": (z > 0).astype(np.uint8),
        "normals": normals,
        "depth": np.full((height, width), 4.0, np.float32),
    }


def sphere_error(sample: dict[str, torch.Tensor], frame_aspect: float, scale: float) -> float:
    """Mean distance of the seen normals from those that the ball has where it is seen."""
    size = sample["semseg"].shape[-1]
    at = (torch.arange(size) + 0.5) / size - 0.5
    x, y = at[None] * frame_aspect / (0.35 * scale), at[:, None] / (0.35 * scale)
    inside = (x * x + y * y < 0.9) & (sample["normals"][0] != IGNORE)
    z = -torch.sqrt((1 - x * x - y * y).clamp(min=0))
    true = torch.stack([x.expand(size, size), y.expand(size, size), z])
    assert inside.sum() > 100
    return (sample["normals"] - true).norm(dim=0)[inside].mean().item()


def test_tensors_are_as_the_tasks_describe_them():
    frame = random_frame(1)
    frame["normals"] *= np.float32(0.99)  # 8 bits leave them a little short
    sample = to_sample(frame, 16, TASKS, Warp(True, 10, 0.8))
    assert sample["image"].shape == (3, 16, 16) and sample["image"].dtype == torch.float32
    for name, task in SCENES.items():
        label = sample[name]
        if task.kind == "segmentation":
            assert label.shape == (16, 16) and label.dtype == torch.int64
        else:
            channels = 3 if task.kind == "normals" else 1
            assert label.shape == (channels, 16, 16) and label.dtype == torch.float32
    length = sample["normals"].norm(dim=0)[sample["normals"][0] != IGNORE]
    assert torch.allclose(length, torch.ones(()), atol=1e-6)


def test_without_a_warp_and_at_its_own_size_a_frame_stays_what_it_is():
    frame = random_frame(1, 32, 32)
    sample = to_sample(frame, 32, TASKS)
    assert np.array_equal(denormalise(sample["image"]), frame["image"])
    for task in ("semseg", "human_parts"):
        assert np.array_equal(sample[task], frame[task])
    for task in ("saliency", "edge", "depth"):
        assert np.array_equal(sample[task][0], frame[task])
    assert np.allclose(sample["normals"], frame["normals"].transpose(2, 0, 1), atol=1e-6)


@pytest.mark.parametrize("warp", [Warp(), Warp(scale=1.5)])
def test_a_flip_mirrors_everything_and_negates_the_normals_x(warp):
    frame = random_frame(2)
    plain = to_sample(frame, 16, TASKS, warp)
    flipped = to_sample(frame, 16, TASKS, Warp(True, warp.angle, warp.scale))
    for name in ("image", *TASKS):
        expected = plain[name].flip(-1)
        if name == "normals":
            expected = expected * torch.tensor([-1.0, 1, 1])[:, None, None]
        assert torch.equal(flipped[name], expected), name


def test_a_quarter_turn_is_counter_clockwise_as_seen():
    frame = random_frame(3, 32, 32)
    turned = to_sample(frame, 32, TASKS, Warp(angle=90))
    for task in ("semseg", "depth"):
        assert np.array_equal(turned[task].squeeze(0), np.rot90(frame[task])), task
    assert np.abs(denormalise(turned["image"]).astype(int) - np.rot90(frame["image"])).max() <= 1
    # A surface that looked right (x) now looks up (-y).
    assert np.allclose(turned["normals"][1], -np.rot90(frame["normals"])[..., 0], atol=1e-6)
    assert np.allclose(turned["normals"][0], np.rot90(frame["normals"])[..., 1], atol=1e-6)


@pytest.mark.parametrize("shape", [(128, 128), (96, 192), (160, 120)])
@pytest.mark.parametrize("warp", [Warp(), Warp(angle=20), Warp(True, -17, 0.75), Warp(True, 5, 1.25), Warp(scale=1.5)])
def test_a_turned_ball_looks_like_the_ball(shape, warp):
    frame = ball(*shape)
    sample = to_sample(frame, 128, ("semseg", "normals"), warp)
    assert sphere_error(sample, shape[1] / shape[0], warp.scale) < 0.03
    # The picture shows the frame's own normals: turned back, they are those of the label.
    seen = denormalise(sample["image"]).astype(np.float32) / 127.5 - 1
    turned = sample["normals"].numpy()
    (c, s), f = warp.turn, -1.0 if warp.flip else 1.0
    x, y = f * (c * turned[0] - s * turned[1]), s * turned[0] + c * turned[1]
    there = turned[0] != IGNORE
    error = np.abs(seen[..., 0] - x)[there].mean() + np.abs(seen[..., 1] - y)[there].mean()
    assert error < 0.06


@pytest.mark.parametrize("recipe", ["pascal", "nyud"])
@pytest.mark.parametrize("shape", [(96, 128), (192, 192), (300, 200)])
def test_picture_and_labels_move_as_one(recipe, shape):
    y, x = np.mgrid[: shape[0], : shape[1]]
    ids = ((x * 4 // shape[1]) + 4 * (y * 4 // shape[0])).astype(np.uint8)  # sixteen fields, each of its own colour
    levels = np.stack(np.meshgrid([0, 80, 170, 255], [0, 128, 255], [0, 255]), -1).reshape(-1, 3)
    colours = np.random.default_rng(0).permutation(levels)
    frame = {"image": colours[ids].astype(np.uint8), "semseg": ids}
    for index in range(8):
        warp = tr.RECIPES[recipe](tr.generator(0, 0, index))
        sample = to_sample(frame, 96, ("semseg",), warp)
        pixels = denormalise(sample["image"]).astype(int)
        nearest = np.abs(pixels[:, :, None] - colours[:16]).sum(-1).argmin(-1)
        valid = sample["semseg"].numpy() != IGNORE
        assert (nearest == sample["semseg"].numpy())[valid].mean() > 0.93
        outside = np.abs(pixels - tr.FILL).max(-1) <= 1
        assert (outside[~valid]).mean() > 0.9 if (~valid).sum() > 50 else True


def test_a_zoom_shows_the_middle_and_divides_depth():
    frame = random_frame(4, 48, 48)
    sample = to_sample(frame, 32, ("depth", "semseg"), Warp(scale=1.5))
    middle = np.s_[8:40, 8:40]
    assert np.array_equal(sample["semseg"], frame["semseg"][middle])
    assert np.allclose(sample["depth"][0], frame["depth"][middle] / 1.5, rtol=1e-6)


def test_ignore_stays_ignore_and_what_lies_outside_is_ignored_by_every_label():
    frame = random_frame(5, 32, 32)
    frame["semseg"][:8], frame["human_parts"][:8], frame["saliency"][:8], frame["edge"][:8] = 255, 255, 255, 255
    frame["normals"][:8], frame["depth"][:8] = 0, 0
    for warp, rows in ((Warp(), slice(0, 8)), (Warp(True), slice(0, 8)), (Warp(scale=0.5), slice(0, 12))):
        sample = to_sample(frame, 32, TASKS, warp)
        for name in TASKS:
            label = sample[name].reshape(-1, 32, 32)
            assert (label[:, rows] == IGNORE).all(), name
            assert (label[:, 12:20, 8:24] != IGNORE).all(), name
    for name in TASKS:  # of the last one, which shows the frame at half its size
        assert (sample[name].reshape(-1, 32, 32)[:, :, :8] == IGNORE).all(), name


def test_parts_without_people_and_absent_labels_are_ignored_everywhere():
    frame = random_frame(6, 32, 32)
    frame["human_parts"][:] = 0
    frame["human_parts"][:2, :2] = 3
    assert (to_sample(frame, 32, ("human_parts",))["human_parts"] == 0).any()
    assert (to_sample(frame, 32, ("human_parts",), Warp(scale=1.5))["human_parts"] == IGNORE).all()  # cropped away
    bare = {"image": frame["image"]}
    for name, label in to_sample(bare, 8, TASKS).items():
        assert name == "image" or (label == IGNORE).all()


def test_a_fine_pattern_shrinks_to_its_mean_and_not_to_an_alias():
    checker = (np.indices((240, 320)).sum(0) % 2 * 255).astype(np.uint8)
    frame = {"image": np.repeat(checker[..., None], 3, 2)}
    for warp in (Warp(), Warp(scale=1.5), Warp(angle=15, scale=0.75), Warp(angle=-15, scale=1.25)):
        seen = denormalise(to_sample(frame, 64, (), warp)["image"])[24:40, 24:40]
        assert np.abs(seen.astype(int) - 127).max() < 12


def test_draws_lie_in_the_recipes_ranges_and_depend_on_seed_epoch_and_index_alone():
    draws = [tr.draw_pascal(tr.generator(0, 0, i)) for i in range(400)]
    angles, scales = np.array([w.angle for w in draws]), np.array([w.scale for w in draws])
    assert -20 <= angles.min() < -18 and 18 < angles.max() <= 20
    assert 0.75 <= scales.min() < 0.78 and 1.22 < scales.max() <= 1.25
    assert 0.4 < np.mean([w.flip for w in draws]) < 0.6
    zooms = [tr.draw_nyud(tr.generator(0, 0, i)) for i in range(400)]
    assert {w.scale for w in zooms} == {1.0, 1.2, 1.5} and {w.angle for w in zooms} == {0.0}
    again = tr.draw_pascal(tr.generator(0, 0, 7))
    assert again == draws[7]
    assert len({tr.draw_pascal(tr.generator(*key)) for key in ((0, 0, 7), (1, 0, 7), (0, 1, 7), (0, 7, 0))}) == 4


@pytest.mark.parametrize("warp", [Warp(), Warp(True, 15, 0.9), Warp(scale=1.5)])
def test_a_turn_after_shrinking_to_a_square_is_the_same_turn(warp):
    frame = ball(96, 192)
    small = tr.shrink(frame, 128)
    assert small["_aspect"] == 2 and small["image"].shape == (128, 128, 3) and small["normals"].dtype == np.float16
    assert sphere_error(to_sample(small, 128, ("semseg", "normals"), warp), 2.0, warp.scale) < 0.03


def test_normals_in_half_precision_are_off_by_less_than_a_twentieth_of_a_degree():
    frame = random_frame(7, 64, 64)
    exact, half = (to_sample(f, 64, ("normals",))["normals"] for f in (frame, tr.shrink(frame, 64)))
    angle = torch.rad2deg(2 * torch.asin((exact - half).norm(dim=0) / 2))
    assert 0 < angle.max() < 0.05
