"""The teacher's answers: photographs cropped once, the teacher asked once a crop, both kept on disk.

The teacher sees each crop at twice the student's resolution. Its map at stride 2s then has the very grid of the
student's map at stride s, and comes from one level deeper: richer targets at no cost to the student. Maps are
standardised per channel and kept in 8 bits a value.
"""

from collections.abc import Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from ptsa_lite.data.disk import write_whole
from ptsa_lite.weights import read_weights

STEP = 1 / 16  # of a standard deviation: the grid on which targets are kept as int8, to +-8 deviations
LISTS = {"gt_sets/train.txt": "images", "ImageSets/Context/train.txt": "JPEGImages", "train.txt": "images"}
"""What lists an archive's training frames, and the folder of their photographs: NYUD, PASCAL, others."""


def list_photographs(folder: str | Path) -> list[Path]:
    """The photographs of a folder: every .jpg below it, or of an archive those of its training split."""
    folder = Path(folder)
    for split, images in LISTS.items():
        if (folder / split).is_file():
            return [folder / images / f"{name}.jpg" for name in (folder / split).read_text("utf-8-sig").split()]
    photographs = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    if not photographs:
        raise FileNotFoundError(f"no .jpg below {folder}; give a folder of photographs")
    return photographs


def load_teacher(path: str | Path, name: str = "tf_efficientnet_lite0") -> nn.Module:
    """An ImageNet classifier of timm from a file of its weights; on the GPU if there is one.

    Raises ValueError for weights of something else.
    """
    teacher = timm.create_model(name)
    for key in teacher.load_state_dict(read_weights(Path(path)), strict=False).missing_keys:
        if not key.endswith("num_batches_tracked"):  # counters that older files have not
            raise ValueError(f"{path} has no {key}; give a file of the weights of {name}, by timm's names")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return teacher.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)


def device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def random_box(image: Image.Image, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """The corners of 25 to 100 % of a photograph's area, sides in ratio 3:5 to 5:3."""
    width, height = image.size
    area, ratio = width * height * rng.uniform(0.25, 1.0), np.exp(rng.uniform(-1, 1) * np.log(5 / 3))
    w, h = min(width, round((area * ratio) ** 0.5)), min(height, round((area / ratio) ** 0.5))
    x, y = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
    return x, y, x + w, y + h


def crop(image: Image.Image, box: tuple[int, int, int, int], size: int) -> np.ndarray:
    """What is in a box, resized to (2*size, 2*size, 3) uint8: the teacher's copy of a crop."""
    return np.asarray(image.convert("RGB").resize((2 * size, 2 * size), Image.BICUBIC, box))


def random_crop(image: Image.Image, size: int, rng: np.random.Generator) -> np.ndarray:
    return crop(image, random_box(image, rng), size)


@torch.inference_mode()
def teacher_maps(teacher: nn.Module, crops: Tensor) -> list[Tensor]:
    """uint8 (B, 3, 2S, 2S) -> maps on the student's grids S/4, S/8, S/16 (B, C, h, w), and class scores (B, K).

    The S/4 grid holds the teacher's strides 4 (averaged down) and 8, the others strides 16 and 32. On the teacher's
    device.
    """
    images = ((crops.to(device_of(teacher)).float() / 255 - 0.5) / 0.5).contiguous(memory_format=torch.channels_last)
    last, (_, stride_4, stride_8, stride_16, stride_32) = teacher.forward_intermediates(images)
    fine = torch.cat([F.avg_pool2d(stride_4, 2), stride_8], 1)
    return [fine, stride_16, stride_32, teacher.forward_head(last)]


def student_targets(maps: Sequence[Tensor]) -> list[list[Tensor]]:
    """The stored maps -> the targets of each student stage: the teacher's map of its own stride, averaged onto its
    grid, and the one a level deeper, which lies on it. The last stage has the first of these alone.
    """
    fine, stride_16, stride_32 = maps
    stride_4, stride_8 = fine[:, :-40], fine[:, -40:]  # the teacher's channels at stride 8
    return [[stride_4, stride_8], [F.avg_pool2d(stride_8, 2), stride_16], [F.avg_pool2d(stride_16, 2), stride_32],
            [F.avg_pool2d(stride_32, 2)]]  # fmt: skip


class Views:
    """One crop of every photograph with the teacher's answers, as memory-mapped arrays under `folder/view_K`."""

    names = ("image", "fine", "middle", "coarse", "scores")

    def __init__(self, folder: Path, device: torch.device):
        self.device = device  # where batches go, before their bytes become floats
        self.arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in self.names}

    def __len__(self) -> int:
        return len(self.arrays["image"])

    def batch(self, rows: np.ndarray) -> tuple[Tensor, list[list[Tensor]], Tensor]:
        """Rows -> images (B, 3, S, S) in 0..1, the targets of four stages, class scores (B, K)."""
        image, *maps, scores = (torch.from_numpy(self.arrays[name][rows]).to(self.device) for name in self.names)
        return image.float() / 255, student_targets([m.float() * STEP for m in maps]), scores.float()


def make_views(photographs: Sequence[Path], teacher: nn.Module, folder: Path, view: int, size: int, seed: int) -> Views:
    """Crop every photograph once, ask the teacher, keep both. A finished view is read back; a half one is redone."""
    final, part = folder / f"view_{view}", folder / f"view_{view}.part"
    if final.is_dir():
        return Views(final, device_of(teacher))
    part.mkdir(parents=True, exist_ok=True)
    statistics = channel_statistics(photographs, teacher, folder, size, seed)
    rng, arrays = np.random.default_rng([seed, view]), {}
    with ThreadPool() as threads:  # they decode side by side what has been drawn before, one after the other
        for start in range(0, len(photographs), 16):
            opened = [Image.open(path) for path in photographs[start : start + 16]]
            boxes = [(image, random_box(image, rng), size) for image in opened]
            crops = torch.from_numpy(np.stack(threads.starmap(crop, boxes))).permute(0, 3, 1, 2)  # (B, 3, 2S, 2S)
            *maps, scores = (answer.cpu() for answer in teacher_maps(teacher, crops))
            maps = [
                ((m - mean) / std / STEP).round().clamp(-127, 127).to(torch.int8)
                for m, (mean, std) in zip(maps, statistics, strict=True)
            ]
            stored = [F.avg_pool2d(crops.float(), 2).round().byte(), *maps, scores.half()]
            for name, value in zip(Views.names, (one.numpy() for one in stored), strict=True):
                if name not in arrays:
                    shape = (len(photographs), *value.shape[1:])
                    arrays[name] = np.lib.format.open_memmap(part / f"{name}.npy", "w+", value.dtype, shape)
                arrays[name][start : start + len(value)] = value
    for array in arrays.values():
        array.flush()
    del array, arrays  # Windows renames no folder whose files are open
    part.rename(final)
    return Views(final, device_of(teacher))


def channel_statistics(
    photographs: Sequence[Path], teacher: nn.Module, folder: Path, size: int, seed: int
) -> list[tuple[Tensor, Tensor]]:
    """Mean and deviation of every teacher channel over 256 crops, measured once and kept."""
    path = folder / "statistics.pt"
    if not path.is_file():
        rng, maps = np.random.default_rng([seed, 12345]), []
        chosen = rng.choice(len(photographs), min(256, len(photographs)), replace=False)
        for rows in np.array_split(chosen, max(1, len(chosen) // 16)):
            crops = np.stack([random_crop(Image.open(photographs[i]), size, rng) for i in rows])
            answers = teacher_maps(teacher, torch.from_numpy(crops).permute(0, 3, 1, 2))
            maps.append([m.cpu() for m in answers[:-1]])
        stages, over = map(torch.cat, zip(*maps, strict=True)), dict(dim=(0, 2, 3), keepdim=True)
        found = [(values.mean(**over), values.std(**over).clamp_min(1e-3)) for values in stages]
        write_whole(path, lambda beside: torch.save(found, beside))
    return torch.load(path, weights_only=True)
