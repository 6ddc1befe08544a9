"""A prepared data set in a GPU's memory, and its samples made there, a batch at a time.

The same samples as `transforms.to_sample` makes on a processor: the same draws, labels pixel for pixel, pictures within
a grey level of Pillow's (within two at the rare pixel where both of its passes meet a tie). A picture is resized by two
matrix products with Pillow's own weights, rounded in between as Pillow does; a turned one is then read between its
pixels, bilinearly.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from . import frames
from . import transforms as tr
from .open import Samples, samples_of

ROOM = 0.25  # of the memory that is free: the rest is the training's


class DeviceFrames:
    """All frames of a prepared data set on a device. `batch` makes samples of any of them.

    dataset: of `open_dataset`, of frames at one square size (scenes or a prepared archive; `fits` tells).
    """

    def __init__(self, dataset, device: torch.device):
        self.samples: Samples = samples_of(dataset)
        rows, found = dataset.with_format(None), {key: [] for key in ("image", *self.samples.kinds)}
        self.index, self.aspect = list(rows["index"]), np.float32(rows["_aspect"]).astype(np.float64)
        self.work = rows[0]["_height"]
        for row in rows:
            frame = frames.decode(row)
            for key, arrays in found.items():
                array = frame[key] if key in frame else frames.nothing(self.samples.kinds[key], self.work, self.work)
                arrays.append(torch.tensor(array.reshape(self.work**2, -1), device=device))
        # (n, H*W, 1 or 3) by key, as `frames` stores it
        self.stored = {key: torch.stack(found.pop(key)) for key in list(found)}

    def __len__(self) -> int:
        return len(self.index)

    def batch(self, rows: Sequence[int], epoch: int, seed: int | None = None) -> dict[str, Tensor]:
        """Samples of these frames, as `open_dataset` describes them, stacked; "index" stays on the processor."""
        index = [self.index[row] for row in rows]
        draw, seed = self.samples.recipe, self.samples.seed if seed is None else seed
        warps = [tr.RECIPES[draw](tr.generator(seed, epoch, i)) if draw else tr.Warp() for i in index]
        aspects = [float(self.aspect[row]) for row in rows]
        chosen = torch.tensor(rows, device=self.stored["image"].device)
        size, image = self.samples.size, self.stored["image"][chosen]
        sample = {"image": warp_images(image, size, warps, aspects), "index": torch.tensor(index)}
        pixels, inside = tr.source_pixels((self.work, self.work), size, warps, aspects, chosen.device)
        for task, kind in self.samples.kinds.items():
            label = self.stored[task][chosen]
            seen = label.gather(1, pixels[..., None].expand(-1, -1, label.shape[-1]))
            sample[task] = tr.to_label(kind, seen, inside, warps)
        return sample


def on_device(dataset, device: torch.device):
    """The data set's frames on the device, if they can lie there; else the data set itself."""
    return DeviceFrames(dataset, device) if dataset is not None and fits(dataset, device) else dataset


def fits(dataset, device: torch.device) -> bool:
    """Whether a data set's frames are of a kind that can lie on the device, and have room there."""
    samples = samples_of(dataset)
    if device.type != "cuda" or samples is None:
        return False
    rows = dataset.with_format(None)
    if {*rows["_height"], *rows["_width"]} != {samples.work_size}:  # not all at one square size
        return False
    row = rows[0]
    need = len(dataset) * sum(len(value) for value in row.values() if isinstance(value, bytes))
    return need < ROOM * torch.cuda.mem_get_info(device)[0]


def warp_images(images: Tensor, size: int, warps: Sequence[tr.Warp], aspects: Sequence[float]) -> Tensor:
    """`transforms.warp_image` and `normalise` of square pictures: (B, W*W, 3) uint8 -> (B, 3, S, S) float32.

    Where one of them is turned or shrunk all go the way of such pictures, which no recipe here mixes with others.
    """
    device, work = images.device, math.isqrt(images.shape[1])
    images = images.mT.unflatten(-1, (work, work)).float()  # (B, 3, W, W)
    upright = all(warp.angle == 0.0 and warp.scale >= 1.0 for warp in warps)
    if upright:
        margins, sizes = [work * (0.5 - 0.5 / warp.scale) for warp in warps], [size] * len(warps)
    else:
        margins, sizes = [0.0] * len(warps), [max(round(size * warp.scale), 1) for warp in warps]
    weights = resize_weights(work, margins, sizes, device)[:, None]  # (B, 1, M, W)
    out = _grey_levels(weights @ _grey_levels(images @ weights.mT))  # (B, 3, M, M)
    if upright:
        flip = torch.tensor([warp.flip for warp in warps], device=device)[:, None, None, None]
        out = torch.where(flip, out.flip(-1), out)
    else:
        maps = [[m * v for v in w.source(size, a)] for w, a, m in zip(warps, aspects, sizes, strict=True)]
        maps, sizes = torch.tensor(maps, dtype=torch.float64, device=device), torch.tensor(sizes, device=device)
        out = turn(out, size, maps, sizes)
    mean, std = (torch.from_numpy(numbers).to(device)[:, None, None] for numbers in (tr.MEAN, tr.STD))
    return out * (1 / (255 * std)) - mean / std


def resize_weights(work: int, margins: Sequence[float], sizes: Sequence[int], device: torch.device) -> Tensor:
    """(B, M, W): row i of a frame's matrix holds the weights with which its output pixel i sees the W input pixels.

    Pillow's bicubic resize of the part between the margins to `sizes` pixels: the cubic with a = -1/2, as wide as a
    step of the output where that is more than one input pixel, cut off at the borders and normalised. M is the largest
    of the sizes; the rows beyond a frame's own repeat its last one.
    """
    margin, size = (torch.tensor(v, dtype=torch.float64, device=device)[:, None, None] for v in (margins, sizes))
    step = (work - 2 * margin) / size
    row = torch.arange(max(sizes), dtype=torch.float64, device=device)[:, None].minimum(size - 1)
    centre = margin + (row + 0.5) * step
    x = ((torch.arange(work, dtype=torch.float64, device=device) + 0.5 - centre) / step.clamp(min=1)).abs()
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    weights = torch.where(x < 1, near, torch.where(x < 2, far, 0))
    return (weights / weights.sum(-1, keepdim=True)).float()


def turn(images: Tensor, size: int, maps: Tensor, sizes: Tensor) -> Tensor:
    """Pillow's bilinear affine transform: (B, 3, M, M), of which a frame fills (m, m) -> (B, 3, S, S).

    maps (B, 6): a frame's output pixel (x, y) shows its point (a x + b y + c, d x + e y + f) in pixels. What lies
    outside has the mean colour.
    """
    centres = torch.arange(size, dtype=torch.float64, device=images.device) + 0.5
    a, b, c, d, e, f = maps.T[:, :, None, None]
    x, y = a * centres + b * centres[:, None] + c, d * centres + e * centres[:, None] + f  # (B, S, S)
    end = sizes[:, None, None]
    inside = (x >= 0) & (x <= end) & (y >= 0) & (y <= end)
    places = torch.stack([x, y], -1) * (2 / images.shape[-1]) - 1  # -1..1 over all M pixels
    out = F.grid_sample(images, places.float(), padding_mode="border", align_corners=False)
    fill = torch.tensor(tr.FILL, dtype=images.dtype, device=images.device)[:, None, None]
    return torch.where(inside[:, None], (out + 1e-3).floor(), fill)  # Pillow cuts off; 99.9999 is 100


def _grey_levels(values: Tensor) -> Tensor:
    """Whole numbers 0..255, as Pillow leaves them after each of its two passes."""
    return values.add(0.5).floor().clamp(0, 255)
