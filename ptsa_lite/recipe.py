"""Every setting of a training, checked in one place, and the learning rate that follows from them."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from .checks import AT_LEAST_0, COUNT, FLAG, POSITIVE, SHARE, SIZE, Rule, check, known, or_none

RULES: dict[str, Rule] = {
    **dict.fromkeys(("epochs", "batch_size", "eval_every", "accumulate"), COUNT),
    **dict.fromkeys(("seed", "workers"), SIZE),
    **dict.fromkeys(("base_lr", "clip_norm"), POSITIVE),
    **dict.fromkeys(("warmup_lr", "min_lr", "warmup_epochs", "weight_decay"), AT_LEAST_0),
    **dict.fromkeys(("gradient_checkpointing", "cuda_graph"), FLAG),
    "lr": or_none(POSITIVE),
    "compile": (lambda v: v == "auto" or isinstance(v, bool), "'auto', True or False"),
    "betas": (lambda v: isinstance(v, tuple) and len(v) == 2 and all(map(SHARE[0], v)),
              "two numbers from 0 to below 1"),
    "amp": (lambda v: v in ("auto", "float32", "bfloat16", "float16"), "'auto', 'float32', 'bfloat16' or 'float16'"),
}  # fmt: skip


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
    gradient_checkpointing: bool = False  # recompute activations in the backward pass: less memory, more time
    accumulate: int = 1  # parts that a process computes its batch in, one after the other: less memory
    compile: bool | str = "auto"  # torch.compile blocks, heads and loss; auto: on one GPU, if that saves time in all
    cuda_graph: bool = True  # on one GPU, record a step's kernels once and replay them

    def __post_init__(self) -> None:
        if isinstance(self.betas, list):  # as JSON and YAML read it
            object.__setattr__(self, "betas", tuple(self.betas))
        check(RULES, vars(self))
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs ({self.warmup_epochs}) must be below epochs ({self.epochs})")
        for name in ("warmup_lr", "min_lr"):
            if getattr(self, name) > self.base_lr:
                raise ValueError(f"{name} ({getattr(self, name)}) must not exceed base_lr ({self.base_lr})")

    def to_dict(self) -> dict:
        """Plain values, for JSON and YAML."""
        return {**asdict(self), "betas": list(self.betas)}

    @classmethod
    def from_dict(cls, settings: Mapping) -> "TrainConfig":
        """The inverse of to_dict; raises ValueError with the nearest name for an unknown setting."""
        if not isinstance(settings, Mapping):
            raise ValueError(f"config must map training settings to values, not be {settings!r:.60}")
        names = cls.__dataclass_fields__
        return cls(**{known(name, names, "training setting"): value for name, value in settings.items()})


def learning_rate(step: int, config: TrainConfig, steps_per_epoch: int) -> float:
    """Linear from warmup_lr to the peak over the warm-up, then min + (peak - min) (1 + cos(pi * share done)) / 2.

    step counts from 0 over the whole training; the rate is the one that this step's update uses.
    """
    peak = config.base_lr * config.batch_size / 512 if config.lr is None else config.lr
    first = peak * config.warmup_lr / config.base_lr
    last = peak * config.min_lr / config.base_lr
    warmup = round(config.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return first + (peak - first) * step / warmup
    done = min((step - warmup) / max(config.epochs * steps_per_epoch - warmup, 1), 1.0)
    return last + (peak - last) * (1 + math.cos(math.pi * done)) / 2
