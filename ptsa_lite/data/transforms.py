"""From a frame to a sample: one draw of a random warp, one pass over the picture and over each label.

The recipes of the multi-task line (facts: the MTLoRA line), training only:

- PASCAL: flip with probability 1/2; rotation within 20 degrees and scale 0.75..1.25 about the centre.
- NYUD and scenes: flip with probability 1/2; zoom by 1, 1.2 or 1.5 about the centre.

Both then resize to a square without keeping the aspect. A test sample is resized only.

With f = -1 for a flip and +1 without, s the scale, t the angle (counter-clockwise as seen) and coordinates from the
centre, x right and y down, a point p of the frame is seen at q = s R(t) F p, where F = diag(f, 1) and
R(t) = [[cos t, sin t], [-sin t, cos t]]. Normals turn along, n -> R F n (z is kept), and depth is divided by s.

Two departures, both deliberate: what lies outside the frame is ignored by every label (the line's code counts it as
background), and there the picture has the mean colour, which normalises to about 0 (there: black).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import cos, radians, sin

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ptsa_lite.backbones import IMAGENET_MEAN, IMAGENET_STD
from ptsa_lite.tasks import IGNORE

from .files import nearest
from .frames import Frame, nothing

MEAN, STD = np.float32(IMAGENET_MEAN), np.float32(IMAGENET_STD)
FILL = tuple(int(round(255 * float(m))) for m in MEAN)

ROTATION, SCALES = 20.0, (0.75, 1.25)  # PASCAL
ZOOMS = (1.0, 1.2, 1.5)  # NYUD


@dataclass(frozen=True)
class Warp:
    """q = s R(t) F p about the centre; Warp() leaves everything in place."""

    flip: bool = False
    angle: float = 0.0  # degrees, counter-clockwise as seen
    scale: float = 1.0

    @property
    def turn(self) -> tuple[float, float]:
        return cos(radians(self.angle)), sin(radians(self.angle))

    def source(self, size: int, aspect: float) -> tuple[float, ...]:
        """(a, b, c, d, e, f): output pixel (x, y) shows the frame's point (a x + b y + c, d x + e y + f) in 0..1.

        x, y count pixels from the output's corner, so a pixel's centre is at (i + 1/2). The rotation is one of the
        picture in its own aspect, whatever it was resized to since.
        """
        (c, s), f, k = self.turn, -1.0 if self.flip else 1.0, 1.0 / (self.scale * size)
        a, b, d, e = f * c * k, -f * s * k / aspect, s * k * aspect, c * k
        middle = size / 2
        return a, b, 0.5 - (a + b) * middle, d, e, 0.5 - (d + e) * middle


def draw_pascal(rng: np.random.Generator) -> Warp:
    return Warp(bool(rng.random() < 0.5), float(rng.uniform(-ROTATION, ROTATION)), float(rng.uniform(*SCALES)))


def draw_nyud(rng: np.random.Generator) -> Warp:
    return Warp(bool(rng.random() < 0.5), 0.0, ZOOMS[rng.integers(len(ZOOMS))])


RECIPES = {"pascal": draw_pascal, "nyud": draw_nyud, "scenes": draw_nyud}


def generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The generator of one sample's choices: the same in every process, whatever was drawn before."""
    return np.random.default_rng((seed, epoch, index))


def to_sample(frame: Frame, size: int, kinds: Mapping[str, str], warp: Warp = Warp()) -> dict[str, torch.Tensor]:  # noqa: B008
    """The frame seen through the warp, resized to (size, size): tensors as `ptsa_lite.tasks.Task` describes labels.

    kinds: of each wanted task, a key of LABELS, which says how it moves. "image" is (3, size, size) float32, normalised
    by ImageNet's mean and std. A task whose label the frame lacks is IGNORE everywhere.
    """
    h, w = frame["image"].shape[:2]
    aspect = float(np.float32(frame.get("_aspect", w / h)))
    sample = {"image": normalise(warp_image(frame["image"], size, warp, aspect))}
    pixels, inside = source_pixels((h, w), size, [warp], [aspect])
    for task, kind in kinds.items():
        label = frame[task] if task in frame else nothing(kind, h, w)
        seen = label.reshape(h * w, -1).take(pixels[0].numpy(), axis=0)
        sample[task] = to_label(kind, torch.from_numpy(seen)[None], inside, [warp])[0]
    return sample


def source_pixels(
    shape: tuple[int, int], size: int, warps: Sequence[Warp], aspects: Sequence[float],
    device: str | torch.device = "cpu",
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Of frames (H, W), one a warp: (B, S*S) flat indices of the pixel under each output pixel's centre, and (B, S*S)
    bool, which of them lie inside."""
    h, w = shape
    numbers = [warp.source(size, aspect) for warp, aspect in zip(warps, aspects, strict=True)]
    a, b, c, d, e, f = torch.tensor(numbers, dtype=torch.float64, device=device).T[:, :, None, None]  # (B, 1, 1) each
    centres = torch.arange(size, dtype=torch.float64, device=device) + 0.5
    x, y = a * centres + c, e * centres[:, None] + f  # (B, 1, S), (B, S, 1)
    if any(warp.angle for warp in warps):
        x, y = a * centres + (b * centres[:, None] + c), d * centres + y  # (B, S, S) each
    x, y = (x * w).floor().long(), (y * h).floor().long()
    still = torch.tensor([warp.angle == 0.0 and warp.scale == 1.0 for warp in warps], device=device)[:, None, None]
    flip = torch.tensor([warp.flip for warp in warps], device=device)[:, None, None]
    across, down = (torch.from_numpy(nearest(size, n)).to(device) for n in (w, h))  # exact, where floor may be off
    x = torch.where(still, torch.where(flip, across.flip(0), across), x)
    y = torch.where(still, down[:, None], y)
    inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
    return (y.clamp(0, h - 1) * w + x.clamp(0, w - 1)).flatten(1), inside.flatten(1)


def warp_image(image: np.ndarray, size: int, warp: Warp, aspect: float) -> np.ndarray:
    """(H, W, 3) -> (S, S, 3) uint8.

    Without rotation: one bicubic resize of the part that is seen, antialiased when it shrinks. With rotation: that
    resize to the warp's scale, then the turn itself, bilinear at a scale near 1, so that nothing aliases.
    """
    h, w = image.shape[:2]
    picture = Image.fromarray(image)
    if warp.angle == 0.0 and warp.scale >= 1.0:
        left, top = w * (0.5 - 0.5 / warp.scale), h * (0.5 - 0.5 / warp.scale)
        out = picture.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, w - left, h - top))
        return np.asarray(out)[:, ::-1] if warp.flip else np.asarray(out)
    m = max(round(size * warp.scale), 1)
    picture = picture.resize((m, m), Image.Resampling.BICUBIC)
    matrix = tuple(m * number for number in warp.source(size, aspect))
    turned = picture.transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=FILL)
    return np.asarray(turned)


def normalise(image: np.ndarray) -> torch.Tensor:
    """(v / 255 - mean) / std: (H, W, 3) uint8 -> (3, H, W) float32."""
    out = np.multiply(image.transpose(2, 0, 1), (1 / (255 * STD))[:, None, None], dtype=np.float32, order="C")
    out -= (MEAN / STD)[:, None, None]
    return torch.from_numpy(out)


def to_label(kind: str, seen: Tensor, inside: Tensor, warps: Sequence[Warp]) -> Tensor:
    """Labels of B frames as a task has them, from what is seen of each at the S * S pixels of the output.

    seen (B, S*S, 1 or 3), as `frames` stores it; inside (B, S*S), False where nothing is seen; one warp a frame. On
    whatever device they are.
    """
    dtype, look = LABELS[kind]
    values, none = look(seen.mT.to(dtype).contiguous(), warps)  # (B, 1 or 3, S*S), (B, S*S)
    none = none | ~inside
    if kind == "parts":  # of which a sample says nothing where no part of a person is seen
        none = none | ~((values[:, 0] > 0) & ~none).any(1, keepdim=True)
    size = math.isqrt(seen.shape[1])
    label = values.where(~none[:, None], IGNORE).unflatten(-1, (size, size))
    return label[:, 0] if dtype is torch.int64 else label


def _classes(values: Tensor, warps: Sequence[Warp]) -> tuple[Tensor, Tensor]:
    return values, values[:, 0] == IGNORE


def _depth(depth: Tensor, warps: Sequence[Warp]) -> tuple[Tensor, Tensor]:
    """A zoom by s brings everything s times nearer."""
    metres = depth / _each([warp.scale for warp in warps], depth)[:, None]
    return _beside(metres), depth[:, 0] == 0


def _regression(values: Tensor, warps: Sequence[Warp]) -> tuple[Tensor, Tensor]:
    """Numbers that stay what they are, not finite where there is none."""
    return _beside(values), ~values[:, 0].isfinite()


def _beside(values: Tensor) -> Tensor:
    """A number that is IGNORE by chance becomes the next one."""
    return values.where(values != IGNORE, float(np.nextafter(np.float32(IGNORE), np.float32(np.inf))))


def _normals(n: Tensor, warps: Sequence[Warp]) -> tuple[Tensor, Tensor]:
    """Unit vectors turn with the picture."""
    x, y, z = n.unbind(1)  # (B, S*S)
    x = x * _each([-1.0 if warp.flip else 1.0 for warp in warps], x)
    if any(warp.angle for warp in warps):
        c, s = (_each(numbers, x) for numbers in zip(*(warp.turn for warp in warps), strict=True))
        x, y = c * x + s * y, c * y - s * x
    length = (x * x + y * y + z * z).sqrt()
    none = length < 0.5
    return torch.stack([x, y, z], 1) / length.where(~none, 1)[:, None], none


def _each(numbers: Sequence[float], like: Tensor) -> Tensor:
    """(B, 1), one number a frame."""
    return torch.tensor(numbers, dtype=like.dtype, device=like.device)[:, None]


LABELS: dict[str, tuple[torch.dtype, Callable]] = {
    "segmentation": (torch.int64, _classes),
    "parts": (torch.int64, _classes),
    "binary": (torch.float32, _classes),
    "normals": (torch.float32, _normals),
    "regression": (torch.float32, _regression),
    "depth": (torch.float32, _depth),
}
"""By kind: type, and what warps do to the values (B, C, S*S) that they see, with where there is no label."""


def shrink(frame: Frame, size: int) -> Frame:
    """The frame at a square working size, remembering its aspect: picture bicubic and antialiased, labels nearest.

    Vectors become float16, which is off by at most 0.03 degrees, so that a stored frame costs half.
    """
    h, w = frame["image"].shape[:2]
    small = {"_aspect": np.float32(frame.get("_aspect", w / h))}
    for key, array in frame.items():
        if key == "image":
            small[key] = warp_image(array, size, Warp(), w / h)
        elif key != "_aspect":
            small[key] = array[nearest(size, h)[:, None], nearest(size, w)]
    return {key: a.astype(np.float16) if a.ndim == 3 and a.dtype == np.float32 else a for key, a in small.items()}
