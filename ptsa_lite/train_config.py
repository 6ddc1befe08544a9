"""Every setting of a training, checked in one place, and the learning rate that follows from them."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace

import torch

from .tasks import known


def _whole(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_COUNT = (lambda v: _whole(v) and v >= 1, "a whole number of at least 1")
_SIZE = (lambda v: _whole(v) and v >= 0, "a whole number of at least 0")
_POSITIVE = (lambda v: _number(v) and v > 0, "a number above 0")
_AT_LEAST_0 = (lambda v: _number(v) and v >= 0, "a number of at least 0")
_RULES = {
    "epochs": _COUNT,
    "batch_size": _COUNT,
    "base_lr": _POSITIVE,
    "warmup_lr": _AT_LEAST_0,
    "min_lr": _AT_LEAST_0,
    "lr": (lambda v: v is None or _POSITIVE[0](v), "None or a number above 0"),
    "warmup_epochs": _AT_LEAST_0,
    "weight_decay": _AT_LEAST_0,
    "betas": (
        lambda v: isinstance(v, tuple) and len(v) == 2 and all(_number(b) and 0 <= b < 1 for b in v),
        "two numbers from 0 to below 1",
    ),
    "clip_norm": _POSITIVE,
    "eval_every": _COUNT,
    "seed": _SIZE,
    "workers": _SIZE,
    "amp": (
        lambda v: v in ("auto", "float32", "bfloat16", "float16"), "'auto', 'float32', 'bfloat16' or 'float16'",
    ),
    "activation_checkpointing": (lambda v: isinstance(v, bool), "True or False"),
    "accumulate": _COUNT,
    "compile": (lambda v: isinstance(v, bool), "True or False"),
}


@dataclass(frozen=True)
class TrainConfig:
    """Every setting of a training. The defaults are the MTLoRA line's recipe, which the paper takes over on PASCAL.

    Its three rates are given for a batch of 512 images and scaled by batch_size / 512: 3.125e-5 at a batch of 32.
    Raises ValueError in one sentence for a value that cannot be.
    """

    epochs: int = 300
    batch_size: int = 32  # of a step, over all processes; the last partial batch of an epoch is dropped
    base_lr: float = 5e-4  # peak learning rate, for a batch of 512
    warmup_lr: float = 5e-7  # where the warm-up starts, for a batch of 512
    min_lr: float = 5e-6  # where the cosine ends, for a batch of 512
    lr: float | None = None  # the peak itself, for small runs: replaces the scaled base_lr, the others keep their ratio
    warmup_epochs: float = 20
    weight_decay: float = 0.05  # see parameter_groups for what is spared
    betas: tuple[float, float] = (0.9, 0.999)
    clip_norm: float = 5.0  # largest norm of the gradient, of each of the model's clip_groups
    eval_every: int = 20  # epochs between evaluations; the last epoch is always evaluated
    seed: int = 0  # of data order, augmentation, dropout
    workers: int = 0  # processes that load data; does not change the result
    amp: str = "auto"  # of the forward pass: float32, bfloat16, float16 (scaled); auto: bfloat16 on a GPU, else float32
    activation_checkpointing: bool = False  # recompute activations in the backward pass: less memory, more time
    accumulate: int = 1  # parts that a process computes its batch in, one after the other: less memory
    compile: bool = False  # torch.compile the forward and backward pass

    def __post_init__(self):
        if isinstance(self.betas, list):  # as JSON and YAML read it
            object.__setattr__(self, "betas", tuple(self.betas))
        for name, (fits, wanted) in _RULES.items():
            value = getattr(self, name)
            if not fits(value):
                raise ValueError(f"{name} must be {wanted}, not {value!r}{_hint(value)}")
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs ({self.warmup_epochs}) must be below epochs ({self.epochs})")
        for name in ("warmup_lr", "min_lr"):
            if getattr(self, name) > self.base_lr:
                raise ValueError(f"{name} ({getattr(self, name)}) must not exceed base_lr ({self.base_lr})")

    def on(self, device: torch.device) -> "TrainConfig":
        """The same settings with `auto` decided for a device."""
        if self.amp != "auto":
            return self
        return replace(self, amp="bfloat16" if device.type == "cuda" else "float32")

    def to_dict(self) -> dict:
        """Plain values, for JSON and YAML."""
        return {**asdict(self), "betas": list(self.betas)}

    @classmethod
    def from_dict(cls, settings: Mapping) -> "TrainConfig":
        """The inverse of to_dict; raises ValueError with the nearest name for an unknown setting."""
        names = [field.name for field in fields(cls)]
        return cls(**{known(name, names, "training setting"): value for name, value in settings.items()})


def _hint(value) -> str:
    try:
        float(value if isinstance(value, str) else "")
    except ValueError:
        return ""
    return " (a text: YAML takes 5e-4 for one, and 5.0e-4 for a number)"


def learning_rate(step: int, config: TrainConfig, steps_per_epoch: int) -> float:
    """Linear from warmup_lr to the peak over the warm-up, then min + (peak - min) (1 + cos(pi * share done)) / 2.

    step counts from 0 over the whole training; the rate is the one that this step's update uses.
    """
    peak = config.base_lr * config.batch_size / 512 if config.lr is None else config.lr
    first, last = peak * config.warmup_lr / config.base_lr, peak * config.min_lr / config.base_lr
    warmup, total = round(config.warmup_epochs * steps_per_epoch), config.epochs * steps_per_epoch
    if step < warmup:
        return first + (peak - first) * step / warmup
    done = min((step - warmup) / max(total - warmup, 1), 1.0)
    return last + (peak - last) * (1 + math.cos(math.pi * done)) / 2
