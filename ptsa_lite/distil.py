"""Distil a small Swin from the feature maps of a larger network: the recipe behind the packaged weights.

The teacher sees each crop at twice the student's resolution. Its map at stride 2s then has the very grid of the
student's map at stride s, and comes from one level deeper: richer targets at no cost to the student. Each student map
is also asked for the teacher's map of its own stride, averaged down to its grid, and the last one, pooled, for the
teacher's class scores. Maps are standardised per channel; the student answers through 1x1 projections that are thrown
away. The loss is the mean squared error, so 1 - loss is the share of the teacher's variance explained.

A crop's targets are computed once and kept (8 bits a value): the teacher costs one pass over the crops, not one an
epoch. Student and targets are flipped together, and the student's colours are jittered against a fixed target.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from .backbones import SwinBackbone, load_backbone

STEP = 1 / 16  # of a standard deviation: the grid on which targets are kept as int8, to +-8 deviations
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


@dataclass(frozen=True)
class DistilConfig:
    """What decides the result; kept beside it."""

    minutes: float = 1.0  # of training; the cosine schedule ends there
    size: int = 128  # the student's crops; the teacher's are twice as large
    views: int = 8  # crops of each photograph, drawn once
    batch_size: int = 64
    lr: float = 2e-3
    weight_decay: float = 0.05
    warmup: float = 0.03  # share of the minutes
    score_weight: float = 0.5  # of the class scores against the four maps
    held_out: int = 128  # photographs kept for measuring
    seed: int = 0


def list_photographs(folder: str | Path) -> list[Path]:
    """The photographs of a folder, training split only where the folder is an archive with splits.

    Knows gt_sets/train.txt (NYUD), ImageSets/Context/train.txt (PASCAL), train.txt; else every .jpg below it.
    """
    folder = Path(folder)
    for split, images in (
        ("gt_sets/train.txt", "images"),
        ("ImageSets/Context/train.txt", "JPEGImages"),
        ("train.txt", "images"),
    ):
        if (folder / split).is_file():
            return [folder / images / f"{name}.jpg" for name in (folder / split).read_text().split()]
    photographs = sorted(folder.rglob("*.jpg"))
    if not photographs:
        raise FileNotFoundError(f"no .jpg below {folder}; give a folder of photographs")
    return photographs


def load_teacher(path: str | Path, name: str = "tf_efficientnet_lite0") -> nn.Module:
    """An ImageNet classifier of timm from a file of its weights (read without running any code in it)."""
    teacher = timm.create_model(name)
    teacher.load_state_dict(torch.load(path, weights_only=True), strict=False)
    return teacher.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def random_crop(image: Image.Image, size: int, rng: np.random.Generator) -> np.ndarray:
    """A crop of 25 to 100 % of the area, sides in ratio 3:5 to 5:3, resized to (2*size, 2*size, 3) uint8."""
    width, height = image.size
    area, ratio = width * height * rng.uniform(0.25, 1.0), np.exp(rng.uniform(-1, 1) * np.log(5 / 3))
    w, h = min(width, round((area * ratio) ** 0.5)), min(height, round((area / ratio) ** 0.5))
    x, y = rng.integers(width - w + 1), rng.integers(height - h + 1)
    return np.asarray(image.convert("RGB").resize((2 * size, 2 * size), Image.BICUBIC, (x, y, x + w, y + h)))


@torch.inference_mode()
def teacher_maps(teacher: nn.Module, crops: Tensor) -> list[Tensor]:
    """uint8 (B, 3, 2S, 2S) -> maps on the student's grids S/4, S/8, S/16 (B, C, h, w), and class scores (B, K).

    The S/4 grid holds the teacher's strides 4 (averaged down) and 8, the others strides 16 and 32.
    """
    images = ((crops.float() / 255 - 0.5) / 0.5).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        last, maps = teacher.forward_intermediates(images)
        scores = teacher.forward_head(last)
    fine, *rest = maps[1:]  # strides 4, 8, 16, 32
    return [torch.cat([F.avg_pool2d(fine.float(), 2), rest[0].float()], 1), rest[1].float(), rest[2].float(), scores.float()]


def student_targets(maps: Sequence[Tensor]) -> list[Tensor]:
    """The stored maps -> one target a student stage: the map on its own grid, and the finer one averaged onto it."""
    fine, middle, coarse = maps
    stride_8 = fine[:, -40:] if fine.shape[1] > 40 else fine
    return [
        fine,
        torch.cat([F.avg_pool2d(stride_8, 2), middle], 1),
        torch.cat([F.avg_pool2d(middle, 2), coarse], 1),
        F.avg_pool2d(coarse, 2),
    ]


class Views:
    """One crop of every photograph with the teacher's answers, as memory-mapped arrays under `folder/view_K`."""

    names = ("image", "fine", "middle", "coarse", "scores")

    def __init__(self, folder: Path):
        self.arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in self.names}

    def __len__(self) -> int:
        return len(self.arrays["image"])

    def batch(self, rows: np.ndarray) -> tuple[Tensor, list[Tensor], Tensor]:
        """Rows -> images (B, 3, S, S) in 0..1, four targets, class scores (B, K)."""
        image, *maps, scores = (torch.from_numpy(self.arrays[name][rows]) for name in self.names)
        return image.float() / 255, student_targets([m.float() * STEP for m in maps]), scores.float()


def make_views(photographs: Sequence[Path], teacher: nn.Module, folder: Path, view: int, config: DistilConfig) -> Views:
    """Crop every photograph once, ask the teacher, keep both. A finished view is read back; a half one is redone."""
    final = folder / f"view_{view}"
    if not final.is_dir():
        part = folder / f"view_{view}.part"
        part.mkdir(parents=True, exist_ok=True)
        statistics = _statistics(photographs, teacher, folder, config)
        rng = np.random.default_rng([config.seed, view])
        arrays: dict[str, np.ndarray] = {}
        for start in range(0, len(photographs), 16):
            opened = [Image.open(path) for path in photographs[start : start + 16]]
            crops = torch.from_numpy(np.stack([random_crop(image, config.size, rng) for image in opened]))
            crops = crops.permute(0, 3, 1, 2)  # (B, 3, 2S, 2S)
            *maps, scores = teacher_maps(teacher, crops)
            small = F.avg_pool2d(crops.float(), 2).round().byte()
            stored = [small, *(_quantise(m, *s) for m, s in zip(maps, statistics, strict=True)), scores.half()]
            for name, value in zip(Views.names, stored, strict=True):
                if name not in arrays:
                    shape = (len(photographs), *value.shape[1:])
                    arrays[name] = np.lib.format.open_memmap(part / f"{name}.npy", "w+", value.numpy().dtype, shape)
                arrays[name][start : start + len(value)] = value.numpy()
        for array in arrays.values():
            array.flush()
        part.rename(final)
    return Views(final)


def _quantise(value: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    return ((value - mean) / std / STEP).round().clamp(-127, 127).to(torch.int8)


def _statistics(photographs, teacher, folder: Path, config: DistilConfig) -> list[tuple[Tensor, Tensor]]:
    """Mean and deviation of every teacher channel over 256 crops, measured once and kept."""
    path = folder / "statistics.npz"
    if not path.is_file():
        rng = np.random.default_rng([config.seed, 12345])
        chosen = rng.choice(len(photographs), min(256, len(photographs)), replace=False)
        maps: list[list[Tensor]] = []
        for rows in np.array_split(chosen, max(1, len(chosen) // 16)):
            crops = np.stack([random_crop(Image.open(photographs[i]), config.size, rng) for i in rows])
            maps.append(teacher_maps(teacher, torch.from_numpy(crops).permute(0, 3, 1, 2))[:-1])
        arrays = {}
        for i, group in enumerate(zip(*maps, strict=True)):
            values = torch.cat(group)
            arrays[f"mean{i}"] = values.mean((0, 2, 3), keepdim=True).numpy()
            arrays[f"std{i}"] = values.std((0, 2, 3), keepdim=True).clamp_min(1e-3).numpy()
        np.savez(path.with_suffix(".part.npz"), **arrays)
        path.with_suffix(".part.npz").rename(path)
    data = np.load(path)
    return [(torch.from_numpy(data[f"mean{i}"]), torch.from_numpy(data[f"std{i}"])) for i in range(3)]


class Student(nn.Module):
    """The small Swin and the projections through which it answers; the projections are thrown away afterwards."""

    def __init__(self, backbone: SwinBackbone, target_channels: Sequence[int], n_scores: int):
        super().__init__()
        self.backbone = backbone
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in backbone.widths)
        self.projections = nn.ModuleList(
            nn.Linear(width, channels) for width, channels in zip(backbone.widths, target_channels, strict=True)
        )
        self.scores = nn.Linear(backbone.widths[-1], n_scores)

    def forward(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """(B, 3, S, S) normalised -> maps (B, C_t, h, w) of the blocks' outputs at strides 4, 8, 16, 32; scores."""
        x = self.backbone.patch_embed(images)
        maps = []
        for i in range(self.backbone.n_stages):
            x = self.backbone.blocks(i)(x)
            normed = self.norms[i](x)
            maps.append(self.projections[i](normed).permute(0, 3, 1, 2))
            merging = self.backbone.merging(i)
            x = x if merging is None else merging(x)
        return maps, self.scores(normed.mean((1, 2)))


def unexplained(maps: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """mean (map - target)^2 a stage: the share of the teacher's (unit) variance that the student misses. (4,)"""
    return torch.stack([F.mse_loss(m.float(), t) for m, t in zip(maps, targets, strict=True)])


def jitter(images: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness, contrast and saturation of each image scaled by 0.6 to 1.4; (B, 3, S, S) in 0..1."""
    b, c, s = torch.empty(3, len(images), 1, 1, 1).uniform_(0.6, 1.4, generator=generator)
    images = images * b
    images = (images - images.mean((1, 2, 3), keepdim=True)) * c + images.mean((1, 2, 3), keepdim=True)
    grey = images.mean(1, keepdim=True)
    return (grey + (images - grey) * s).clamp(0, 1)


def normalise(images: Tensor) -> Tensor:
    return (images - MEAN.view(3, 1, 1)) / STD.view(3, 1, 1)


def distil(
    folders: Sequence[str | Path],
    teacher: nn.Module,
    out: str | Path,
    config: DistilConfig = DistilConfig(),  # noqa: B008 frozen
    compile: bool = False,
    report: Callable[[str], None] = print,
) -> dict:
    """Train the small Swin for `config.minutes`; resumes from `out`, leaves backbone.safetensors and history.json.

    Returns {"steps", "minutes", "explained": share of variance per stage on held-out photographs, "history"}.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    photographs = [path for folder in folders for path in list_photographs(folder)]
    order = np.random.default_rng(config.seed).permutation(len(photographs))
    n_held = min(config.held_out, len(photographs) // 4)
    held = [photographs[i] for i in order[:n_held]]
    kept = [photographs[i] for i in order[n_held:]]
    _statistics(kept, teacher, out, config)
    test = make_views(held, teacher, out, 10_000, config)
    _, targets, scores = test.batch(np.arange(1))

    backbone = load_backbone(weights="random", img_size=config.size, seed=config.seed)
    student = Student(backbone, [t.shape[1] for t in targets], scores.shape[1])
    decayed = [p for p in student.parameters() if p.ndim > 1]
    plain = [p for p in student.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}], config.lr
    )
    state = {"step": 0, "pass": 0, "seconds": 0.0, "history": []}
    if (out / "state.pt").is_file():
        saved = torch.load(out / "state.pt", weights_only=True)
        if saved["config"] != asdict(config):
            raise ValueError(f"{out} holds a run of another configuration: {saved['config']}; give another folder")
        student.load_state_dict(saved["student"])
        optimiser.load_state_dict(saved["optimiser"])
        state = saved["progress"]
    run = torch.compile(student) if compile else student

    total = config.minutes * 60
    while state["seconds"] < total:
        views = make_views(kept, teacher, out, state["pass"] % config.views, config)
        rng = np.random.default_rng([config.seed, 1, state["pass"]])
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + state["pass"])
        rows = rng.permutation(len(views))
        n_batches = max(1, len(rows) // config.batch_size)
        sums, started = 0.0, time.monotonic()
        student.train()
        for i in range(n_batches):
            progress = min(1.0, (state["seconds"] + time.monotonic() - started) / total)
            if progress >= 1:
                break
            rate = config.lr * min(1.0, progress / config.warmup) * 0.5 * (1 + np.cos(np.pi * progress))
            for group in optimiser.param_groups:
                group["lr"] = rate
            images, targets, scores = views.batch(np.sort(rows[i * config.batch_size : (i + 1) * config.batch_size]))
            if rng.random() < 0.5:  # student and targets together
                images, targets = images.flip(-1), [t.flip(-1) for t in targets]
            with torch.autocast("cpu", torch.bfloat16):
                maps, answer = run(normalise(jitter(images, generator)))
            missed = unexplained(maps, targets)
            wrong = F.kl_div(answer.float().log_softmax(1), scores.log_softmax(1), log_target=True, reduction="batchmean")
            optimiser.zero_grad()
            (missed.mean() + config.score_weight * wrong / 7).backward()  # 7 nats: the divergence of a first guess
            nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            optimiser.step()
            state["step"] += 1
            sums += missed.mean().item()
        state["seconds"] += time.monotonic() - started
        state["pass"] += 1
        explained = measure(student, test, config.batch_size)
        record = {"pass": state["pass"], "step": state["step"], "minutes": state["seconds"] / 60}
        record |= {"train": 1 - sums / max(1, i + 1), "held_out": explained}
        state["history"].append(record)
        report(
            f"pass {state['pass']:3d}  step {state['step']:5d}  explained {record['train']:.3f} train, held out "
            + " ".join(f"{e:.3f}" for e in explained)
            + f"  {max(0.0, total - state['seconds']) / 60:.1f} min left"
        )
        _save(out, student, optimiser, state, config)
    (out / "history.json").write_text(json.dumps(state["history"], indent=1))
    return {"steps": state["step"], "minutes": state["seconds"] / 60, "explained": measure(student, test), "history": state["history"]}


@torch.inference_mode()
def measure(student: Student, views: Views, batch_size: int = 64) -> list[float]:
    """The share of the teacher's variance that the student explains, per stage, on views it never trained on."""
    student.eval()
    total = torch.zeros(4)
    for rows in np.array_split(np.arange(len(views)), max(1, len(views) // batch_size)):
        images, targets, _ = views.batch(rows)
        total += unexplained(student(normalise(images))[0], targets) * len(rows)
    return (1 - total / len(views)).tolist()


def _save(out: Path, student: Student, optimiser, state: dict, config: DistilConfig) -> None:
    content = {"student": student.state_dict(), "optimiser": optimiser.state_dict(), "progress": state}
    torch.save(content | {"config": asdict(config)}, out / "state.part")
    (out / "state.part").rename(out / "state.pt")
    weights = {key: value.half().contiguous() for key, value in student.backbone.state_dict().items()}
    save_file(weights, out / "backbone.part")
    (out / "backbone.part").rename(out / "backbone.safetensors")
