"""One training as plain values: its name, data, model and result. Everything else that trains is made of these."""

import hashlib
import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import torch
from torch import nn

from ptsa_lite.backbones import SMALL_WEIGHTS, load_backbone
from ptsa_lite.costs import count_macs, count_parameters
from ptsa_lite.data import open_dataset
from ptsa_lite.methods import METHODS, build_model
from ptsa_lite.recipe import TrainConfig
from ptsa_lite.scenes import SCENES_VERSION
from ptsa_lite.tasks import Task, known, select, suite
from ptsa_lite.training import adapters
from ptsa_lite.training.checkpoints import read_history
from ptsa_lite.training.loop import describe, train_epochs
from ptsa_lite.tree import TaskTree

LOW_RANK = ("single_task_lora", "lora_shared", "lora_separate", "mtlora", "ptsa")


@dataclass(frozen=True)
class Run:
    """One training: everything that decides its result, as plain values."""

    method: str
    tasks: tuple[str, ...]
    tree: dict | None = None  # TaskTree.to_dict, for ptsa
    rank: int | tuple[int, ...] = 16
    data: str = "scenes"
    root: str = ""
    limit: int = 0  # frames of each split; 0 for all
    img_size: int = 128
    backbone: str = "swin_small_distilled"
    weights: str = "pretrained"
    dropout: float = 0.05  # of the low-rank input
    scale: float = 4.0  # of the low-rank output
    drop_path: float = 0.0  # share of a block's outputs that is left out, rising to this with depth
    seed: int = 0  # of heads, adapters, data order, augmentation
    config: dict = field(default_factory=dict)  # TrainConfig's settings
    holdout: int = 0  # k: every k-th training frame is measured on, not trained on, and val is not looked at
    label: str = ""  # how tables call it; does not change the result

    def __post_init__(self):
        known(self.method, METHODS, "method")
        object.__setattr__(self, "tasks", tuple(self.tasks))
        if isinstance(self.rank, list):
            object.__setattr__(self, "rank", tuple(self.rank))
        TrainConfig.from_dict(self.config)

    def name(self) -> str:
        """Readable, and different for different runs: method-rank-seed-hash. Where the data lies does not count.

        The contents of the weights' file and the version of the scenes do count: a result of older ones is another's.
        """
        content = {k: v for k, v in asdict(self).items() if k not in ("label", "root", "weights")}
        if not self.holdout:
            del content["holdout"]  # younger than the names of the first results
        if not self.drop_path:
            del content["drop_path"]  # and so is this
        content["weights"] = weights_content(self.backbone, self.weights)
        content["scenes"] = SCENES_VERSION if self.data == "scenes" else 0
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
        rank = "-".join(map(str, self.rank)) if isinstance(self.rank, tuple) else self.rank
        return f"{self.method}-r{rank}-s{self.seed}-{digest}"

    @classmethod
    def from_dict(cls, data: Mapping) -> "Run":
        names = [f.name for f in fields(cls)]
        return cls(**{known(key, names, "setting of a run"): value for key, value in data.items()})


def weights_content(backbone: str = "swin_small_distilled", weights: str = "pretrained") -> str:
    """A hash of the file of weights; where there is no file, what was asked for."""
    packaged = weights == "pretrained" and backbone == "swin_small_distilled"
    path = Path(str(files("ptsa_lite") / "assets" / SMALL_WEIGHTS)) if packaged else Path(weights)
    if not path.is_file():
        return weights
    status = path.stat()
    return _hash_of(path, status.st_mtime_ns, status.st_size)


@lru_cache
def _hash_of(path: Path, *_) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def execute_run(run: Run, folder: Path | None = None, report: Callable[[str], None] = print) -> dict:
    """Train and evaluate one run; returns its result: what was asked, metrics of the last epoch, costs, versions.

    folder: where its checkpoint is kept, after each epoch; training goes on from one that lies there. The seconds are
    those of all its epochs, evaluation included, whichever process did them; reading the data is not.
    """
    tasks, sets, model = run_tasks(run), open_sets(run), make_model(run)
    history = []
    for record in train_epochs(model, *sets, tasks, run_config(run), folder):
        history.append(record)
        report(describe(record, tasks))
    return result_of(run, model, read_history(folder) if folder else history, sets)


def run_tasks(run: Run) -> dict[str, Task]:
    """The tasks of a run."""
    return select(suite(run.data), run.tasks)


def run_config(run: Run) -> TrainConfig:
    """A run's settings of the training."""
    return TrainConfig.from_dict(run.config | {"seed": run.seed})


def make_model(run: Run) -> nn.Module:
    """The model of a run as its training begins; every call draws the same. On the GPU if there is one."""
    stochastic = {"drop_path": run.drop_path} if run.drop_path else {}
    backbone = load_backbone(run.backbone, run.weights, run.img_size, **stochastic)
    options = dict(rank=run.rank, dropout=run.dropout, scale=run.scale) if run.method in LOW_RANK else {}
    with torch.random.fork_rng():
        torch.manual_seed(run.seed)
        tree = run.tree and TaskTree.from_dict(run.tree)
        model = build_model(run.method, backbone, run_tasks(run), tree, **options)
    return model.to("cuda" if torch.cuda.is_available() else "cpu")


def result_of(run: Run, model: nn.Module, history: list[dict], sets: tuple) -> dict:
    """What is kept of a finished run: what was asked, metrics and losses of its last epoch, costs, versions."""
    return {
        "name": run.name(),
        "run": asdict(run) | {"root": Path(run.root).name},
        "metrics": history[-1]["metrics"],
        "losses": history[-1]["losses"],
        "parameters": count_parameters(model),
        "gmacs": count_macs(model, run.img_size) / 1e9,
        "seconds": round(sum(record["seconds"] for record in history), 1),
        "frames": [len(frames) for frames in sets],
        "versions": versions(),
    }


def open_sets(run: Run) -> tuple:
    """What a run trains on and what it is measured on."""
    data = dict(root=run.root, img_size=run.img_size, tasks=list(run.tasks), n_frames=run.limit or None)
    work_size = run.img_size * 3 // 2 if run.data != "scenes" else None  # a zoom of 1.5 loses nothing
    train_set = open_dataset(run.data, split="train", work_size=work_size, **data)
    if not run.holdout:
        return train_set, open_dataset(run.data, split="val", work_size=run.img_size, **data)
    plain = open_dataset(run.data, split="train", work_size=run.img_size, augment=False, **data)
    held_out = range(0, len(plain), run.holdout)
    return train_set.select([i for i in range(len(train_set)) if i not in held_out]), plain.select(held_out)


def versions() -> dict[str, str]:
    """What a result depends on besides its settings."""
    try:
        git = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent
        ).stdout.strip()
    except OSError:  # no git on this machine
        git = ""
    return {
        **adapters.versions(),
        "git": git or "not a clone",
        "device": "cuda" if torch.cuda.is_available() else "cpu",
    }
