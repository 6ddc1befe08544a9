"""Distil a Swin from the feature maps of another network: the recipe behind the packaged weights.

Each map of the student is asked for the teacher's map one level deeper, on the same grid (`teacher.py`), and as much
for the teacher's map of its own stride, averaged onto it; the last one, pooled, for the teacher's class scores. The
student answers through 1x1 projections that are thrown away. The loss is the mean squared error of standardised maps,
so 1 - loss is the share of the teacher's variance explained.

Student and targets are flipped together; the student's colours are jittered against a fixed target. The matrices are
trained by Muon, the rest by AdamW; notebook 90 lets them race. Student and teacher share a device.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms.functional import normalize

from ptsa_lite.backbones import IMAGENET_MEAN, IMAGENET_STD, SMALL_NAME, load_backbone
from ptsa_lite.checks import AT_LEAST_0, COUNT, POSITIVE, SHARE, SIZE, TEXT, check, known
from ptsa_lite.data.cache import fingerprint
from ptsa_lite.data.disk import make_folder, write_whole
from ptsa_lite.families import Backbone, SwinBackbone
from ptsa_lite.training.checkpoints import Checkpoint
from ptsa_lite.training.sameness import digest

from .muon import Muon
from .teacher import Views, channel_statistics, device_of, list_photographs, make_views

HELD_OUT = 10_000  # the number of the view that is only measured on

RULES = {
    **dict.fromkeys(("minutes", "lr", "lr_rest", "warmup"), POSITIVE),
    **dict.fromkeys(("size", "views", "batch_size", "held_out"), COUNT),
    "weight_decay": SHARE, "score_weight": AT_LEAST_0, "seed": SIZE, "backbone": TEXT,
}  # fmt: skip


@dataclass(frozen=True)
class DistilConfig:
    """What decides the result; kept beside it. Raises ValueError for a value that cannot be."""

    minutes: float = 1.0  # of training; the cosine schedule ends there
    size: int = 128  # the student's crops; the teacher's are twice as large
    views: int = 8  # crops of each photograph, drawn once
    batch_size: int = 64
    lr: float = 5e-3  # peak, of the backbone's matrices
    lr_rest: float = 2e-3  # peak, of everything else
    weight_decay: float = 0.05
    warmup: float = 0.03  # share of the minutes
    score_weight: float = 0.5  # of the class scores against the four maps
    held_out: int = 128  # photographs kept for measuring
    seed: int = 0
    amp: str = "float32"  # of the student's forward pass; bfloat16 where the processor has instructions for it
    backbone: str = SMALL_NAME  # the student: it, or one of timm's Swins

    def __post_init__(self):
        check(RULES, vars(self))
        known(self.amp, ("float32", "bfloat16"), "amp")


def configured(settings: Mapping) -> DistilConfig:
    """The defaults with some settings changed; raises ValueError with the nearest name for an unknown one."""
    names = DistilConfig.__dataclass_fields__
    return DistilConfig(**{known(key, names, "setting of a distillation"): value for key, value in settings.items()})


class Student(nn.Module):
    """A Swin and the projections through which it answers; the projections are thrown away afterwards."""

    def __init__(self, backbone: Backbone, target_channels: Sequence[int], n_scores: int):
        super().__init__()
        self.backbone = backbone
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in backbone.widths)
        self.projections = nn.ModuleList(map(nn.Linear, backbone.widths, target_channels))
        self.scores = nn.Linear(backbone.widths[-1], n_scores)

    def forward(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """(B, 3, S, S) normalised -> maps (B, C_t, h, w) of the blocks' outputs at strides 4, 8, 16, 32; scores."""
        x = self.backbone.embed(images)
        maps = []
        for i in range(self.backbone.n_stages):
            x = self.backbone.blocks(i)(x)
            normed = self.norms[i](x)
            maps.append(self.projections[i](normed).permute(0, 3, 1, 2))
            x = self.backbone.end(i, x)
        return maps, self.scores(normed.mean((1, 2)))


def unexplained(maps: Sequence[Tensor], targets: Sequence[Sequence[Tensor]]) -> Tensor:
    """mean (map - target)^2 a stage: the share of the teacher's (unit) variance that the student misses. (4,)

    Where a stage has several targets, they count alike, however many channels they have: the deeper map has more, and
    would crowd out the finer one, which carries edges and surfaces.
    """
    stages = []
    for m, ts in zip(maps, targets, strict=True):
        answers = m.float().split([t.shape[1] for t in ts], dim=1)
        stages.append(torch.stack(list(map(F.mse_loss, answers, ts))).mean())
    return torch.stack(stages)


def channels_of(targets: Sequence[Sequence[Tensor]]) -> list[int]:
    """How many channels the student answers for at each stage."""
    return [sum(t.shape[1] for t in ts) for ts in targets]


def jitter(images: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness, contrast and saturation of each image scaled by 0.6 to 1.4; (B, 3, S, S) in 0..1."""
    b, c, s = torch.empty(3, len(images), 1, 1, 1).uniform_(0.6, 1.4, generator=generator).to(images.device)
    images = images * b
    images = images.mean((1, 2, 3), keepdim=True).lerp(images, c)
    return images.mean(1, keepdim=True).lerp(images, s).clamp(0, 1)


def normalise(images: Tensor) -> Tensor:
    return normalize(images, IMAGENET_MEAN, IMAGENET_STD)


def distil(
    folders: Sequence[str | Path], teacher: nn.Module, out: Path, config: DistilConfig,
    report: Callable[[str], None] = print,
) -> dict:  # fmt: skip
    """Train the student for `config.minutes`, on the device of the teacher.

    Resumes from `out`, leaves backbone.safetensors, a checkpoint and its history there.
    Returns {"steps", "minutes", "explained": share of variance per stage on held-out photographs, "history"}.
    Raises ValueError for a backbone that is no Swin, and where `out` holds a run of other settings or inputs.
    """
    photographs = [path for folder in folders for path in list_photographs(folder)]
    backbone = load_backbone(config.backbone, "random", config.size, config.seed)
    if not isinstance(backbone, SwinBackbone):
        raise ValueError(f"backbone {config.backbone} is no Swin, and only a Swin's maps lie on the teacher's grids")
    seen = f"sha256 {fingerprint([(path.name, path.stat().st_size) for path in photographs])}"
    asked = asdict(config) | {"photographs": seen, "teacher": digest(teacher.state_dict().items())}
    checkpoint = Checkpoint(out, asked)
    views_of = make_folder(out / fingerprint(asked))  # of other photographs nothing is taken for these
    kept, held = split_photographs(photographs, config)
    channel_statistics(kept, teacher, views_of, config.size, config.seed)
    test = make_views(held, teacher, views_of, HELD_OUT, config.size, config.seed)
    _, targets, scores = test.batch(np.arange(1))
    student = Student(backbone, channels_of(targets), scores.shape[1]).to(device_of(teacher))
    optimisers = make_optimisers(student, config)
    history = checkpoint.restore(student, _Together(optimisers))
    last = history[-1] if history else {"step": 0, "minutes": 0.0}
    while last["minutes"] < config.minutes:
        views = make_views(kept, teacher, views_of, len(history) % config.views, config.size, config.seed)
        last = {"epoch": len(history) + 1} | one_pass(student, views, optimisers, config, len(history), last)
        last["held_out"] = measure(student, test, config.batch_size)
        history.append(last)
        checkpoint.save(student, _Together(optimisers), history)
        report(
            f"pass {last['epoch']:3d}, step {last['step']:5d}: explained {last['train']:.3f} in training, held out "
            f"{' '.join(f'{share:.3f}' for share in last['held_out'])}; "
            f"{max(0.0, config.minutes - last['minutes']):.1f} min left"
        )
    weights = {key: value.half().cpu().contiguous() for key, value in student.backbone.state_dict().items()}
    write_whole(out / "backbone.safetensors", lambda beside: save_file(weights, beside))
    return {"steps": last["step"], "minutes": last["minutes"], "history": history, "explained": last["held_out"]}


class _Together:
    """Several optimisers as one thing that is saved and restored."""

    def __init__(self, optimisers: Sequence[torch.optim.Optimizer]):
        self.optimisers = optimisers

    def state_dict(self) -> dict:
        return {"all": [one.state_dict() for one in self.optimisers]}

    def load_state_dict(self, state: dict) -> None:
        for one, saved in zip(self.optimisers, state["all"], strict=True):
            one.load_state_dict(saved)


def split_photographs(photographs: Sequence[Path], config: DistilConfig) -> tuple[list[Path], list[Path]]:
    """(kept for training, held out), by the seed."""
    order = np.random.default_rng(config.seed).permutation(len(photographs))
    n_held = min(config.held_out, len(photographs) // 4)
    if not n_held:
        raise ValueError(f"{len(photographs)} photographs are too few; give at least 4, of which one is measured on")
    return [photographs[i] for i in order[n_held:]], [photographs[i] for i in order[:n_held]]


def make_optimisers(student: Student, config: DistilConfig) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of blocks and merging; AdamW for the rest, without decay on norms and biases."""
    matrices = [m.weight for m in student.backbone.modules() if isinstance(m, nn.Linear)]
    taken = set(map(id, matrices))
    rest = [p for p in student.parameters() if id(p) not in taken]
    groups = [{"params": [p for p in rest if p.ndim > 1], "weight_decay": config.weight_decay},
              {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0}]  # fmt: skip
    return [Muon(matrices, config.lr, config.weight_decay), torch.optim.AdamW(groups, config.lr_rest)]


def one_pass(student: Student, views: Views, optimisers, config: DistilConfig, number: int, last: dict) -> dict:
    """Every crop of a view once, or until the minutes are over, after the `last` pass's "step" and "minutes".

    Returns these after it, and "train", the mean share of variance explained.
    """
    rng = np.random.default_rng([config.seed, 1, number])
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + number)
    rows, size = rng.permutation(len(views)), min(config.batch_size, len(views))
    started, missing = time.monotonic() - 60 * last["minutes"], []
    student.train()
    for start in range(0, len(rows) - size + 1, size):
        progress = (time.monotonic() - started) / (config.minutes * 60)  # share of the minutes that are over
        if progress >= 1:
            break
        # The rate rises in a straight line to its peak, and falls along a cosine to zero.
        factor = min(1.0, progress / config.warmup) * 0.5 * (1 + math.cos(math.pi * progress))
        for optimiser, peak in zip(optimisers, (config.lr, config.lr_rest), strict=True):
            for group in optimiser.param_groups:
                group["lr"] = peak * factor
        images, targets, scores = views.batch(np.sort(rows[start : start + size]))
        if rng.random() < 0.5:  # student and targets together
            images, targets = images.flip(-1), [[t.flip(-1) for t in ts] for ts in targets]
        with torch.autocast(images.device.type, torch.bfloat16, enabled=config.amp == "bfloat16"):
            maps, answer = student(normalise(jitter(images, generator)))
        missed = unexplained(maps, targets).mean()
        wrong = F.kl_div(answer.float().log_softmax(1), scores.log_softmax(1), log_target=True, reduction="batchmean")
        student.zero_grad()
        (missed + config.score_weight * wrong / 7).backward()  # about 7 nats: log 1000, the divergence of a guess
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step()
        missing.append(missed.detach())  # not its number, which a GPU would have to be waited for
    share = 1 - float(torch.stack(missing).mean()) if missing else float("nan")
    return {"step": last["step"] + len(missing), "minutes": (time.monotonic() - started) / 60, "train": share}


@torch.inference_mode()
def measure(student: Student, views: Views, batch_size: int) -> list[float]:
    """The share of the teacher's variance that the student explains, per stage, on views it never trained on."""
    student.eval()
    total = torch.zeros(4, device=device_of(student))
    for rows in np.array_split(np.arange(len(views)), max(1, len(views) // batch_size)):
        images, targets, _ = views.batch(rows)
        total += unexplained(student(normalise(images))[0], targets) * len(rows)
    return (1 - total / len(views)).tolist()
