"""Samples that are made in batches on a device: those of `transforms.to_sample`, pixel for pixel."""

import datasets
import numpy as np
import pytest
import torch
from archives import random_frame

from ptsa_lite.data import make_loader, open_dataset
from ptsa_lite.data import transforms as tr
from ptsa_lite.data.loading import EpochLoader, batches_of
from ptsa_lite.data.on_device import DeviceFrames, fits, resize_weights, warp_images
from ptsa_lite.tasks import IGNORE

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def levels(image: torch.Tensor) -> torch.Tensor:
    """A normalised picture's grey levels."""
    mean, std = (torch.from_numpy(numbers)[:, None, None] for numbers in (tr.MEAN, tr.STD))
    return (image.cpu() * std + mean) * 255


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("recipe", ["nyud", "pascal", ""])
@pytest.mark.parametrize("work, size", [(96, 64), (64, 64), (50, 33)])
def test_pictures_and_the_pixels_of_labels_are_those_of_one_frame_at_a_time(device, recipe, work, size):
    smooth = np.random.default_rng(0).integers(0, 256, (12, 3, 6, 6)).astype(np.float32)
    smooth = torch.nn.functional.interpolate(torch.from_numpy(smooth), (work, work), mode="bicubic").clamp(0, 255)
    images = smooth.permute(0, 2, 3, 1).byte().numpy()
    images[0] = np.random.default_rng(1).integers(0, 256, images[0].shape)  # noise
    aspects = [float(np.float32(0.7 + 0.1 * i)) for i in range(len(images))]
    warps = [tr.RECIPES[recipe](tr.generator(0, 1, i)) if recipe else tr.Warp() for i in range(len(images))]

    flat = torch.from_numpy(images).flatten(1, 2).to(device)
    seen = levels(warp_images(flat, size, warps, aspects))
    pixels, inside = tr.source_pixels((work, work), size, warps, aspects, device)
    for i, (image, warp, aspect) in enumerate(zip(images, warps, aspects, strict=True)):
        expected = tr.warp_image(image, size, warp, aspect).transpose(2, 0, 1).astype(np.float32)
        apart = (seen[i] - torch.from_numpy(expected)).abs()
        assert (apart > 1.01).float().mean() < 1e-3 and apart.max() < 2.01  # ties of both passes can meet
        assert apart.mean() < 0.05
        (at,), (valid,) = tr.source_pixels((work, work), size, [warp], [aspect])
        assert torch.equal(pixels[i].cpu(), at) and torch.equal(inside[i].cpu(), valid)


@pytest.mark.parametrize("device", DEVICES)
def test_a_batch_is_the_loaders(device):
    data = open_dataset("scenes", split="train", img_size=32, work_size=48, n_frames=12)
    on_device = DeviceFrames(data, torch.device(device))
    loader = EpochLoader(data, 4, seed=3)
    for epoch in (0, 2):
        for rows, batch in zip(batches_of(12, 4, 3, epoch, drop_last=True), loader.epoch(epoch), strict=True):
            made = on_device.batch(rows, epoch, seed=3)
            assert made.keys() == batch.keys()
            for key, value in batch.items():
                assert made[key].dtype == value.dtype and made[key].shape == value.shape
                exact = key not in ("image", "normals")
                close = torch.equal(made[key].cpu(), value) if exact else torch.allclose(
                    made[key].cpu(), value, atol=0.018 if key == "image" else 1e-6
                )  # fmt: skip
                assert close, key


def test_a_task_that_frames_lack_is_ignored_there():
    tasks = {kind: {"kind": kind} for kind in ("binary", "normals", "regression", "depth")}
    frame = random_frame(1)
    full = {"image": frame["image"], "binary": frame["edge"], "normals": frame["normals"], "regression": frame["depth"],
            "depth": frame["depth"]}  # fmt: skip
    data = open_dataset([full, {"image": frame["image"]}], tasks=tasks, img_size=16, augment=False)
    made, plain = DeviceFrames(data, torch.device("cpu")).batch([0, 1], 0), next(iter(make_loader(data, 2)))
    for task in tasks:
        assert (made[task][1] == IGNORE).all() and (plain[task][1] == IGNORE).all()
        assert torch.allclose(made[task][0], plain[task][0], atol=1e-6) and (made[task][0] != IGNORE).any()


def test_weights_are_a_mean_of_the_pixels_that_are_seen():
    weights = resize_weights(40, [0.0, 10.0], [20, 40], torch.device("cpu"))
    assert torch.allclose(weights.sum(-1), torch.ones(()))
    assert weights[0, 20:].eq(weights[0, 19]).all()  # beyond its size
    assert weights[1].argmax(-1).min() >= 9 and weights[1].argmax(-1).max() <= 30


def test_frames_lie_on_a_gpu_where_they_are_of_one_square_size_and_have_room(monkeypatch):
    gpu, free = torch.device("cuda"), [10**9]
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free[0], 10**9))
    data = open_dataset("scenes", split="val", img_size=16, n_frames=3)
    assert fits(data, gpu) and not fits(data, torch.device("cpu")) and not fits([1, 2], gpu)
    other = open_dataset("scenes", split="val", img_size=24, n_frames=3)
    both = datasets.concatenate_datasets([data.with_format(None), other.with_format(None)])
    assert not fits(both.with_transform(data.format["format_kwargs"]["transform"]), gpu)
    free[0] = 3 * 16 * 16 * 4
    assert not fits(data, gpu)
