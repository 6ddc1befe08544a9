"""One training as plain values: its settings, its name, and everything that is made of them before it begins."""

import copy
import hashlib
import itertools
import json
import reprlib
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from ptsa_lite.backbones import SMALL_WEIGHTS, load_backbone
from ptsa_lite.checks import COUNT, POSITIVE, SHARE, SIZE, TEXT, check
from ptsa_lite.costs import count_macs, count_parameters
from ptsa_lite.data import SOURCES, count_frames, open_dataset
from ptsa_lite.data.describe import describe
from ptsa_lite.fast import fast
from ptsa_lite.lora import GroupedLoRALinear
from ptsa_lite.methods import METHODS, build_model
from ptsa_lite.metrics import measured_by
from ptsa_lite.model import check_ranks, check_tree
from ptsa_lite.recipe import TrainConfig
from ptsa_lite.scenes import SCENES_VERSION
from ptsa_lite.tasks import Task, known, select, suite
from ptsa_lite.training import adapters
from ptsa_lite.training.checkpoints import FREE
from ptsa_lite.training.formats import short_norms
from ptsa_lite.training.sameness import plain
from ptsa_lite.tree import TaskTree, check_n_groups

N_STAGES = 4  # of every family of backbones here
SAME_RESULT = {*FREE} - {"amp"}
"""Settings of the training that do not enter a run's name: they change how fast it is and what is told of it."""

RULES = {
    "method": TEXT, "root": TEXT, "backbone": TEXT, "weights": TEXT, "label": TEXT,
    "data": (lambda v: isinstance(v, str | Mapping), "a text, or a map that says where data of your own lie"),
    "tasks": (
        lambda v: isinstance(v, list | tuple | Mapping) and v and all(isinstance(task, str) for task in v),
        "a list of task names",
    ),
    "tree": (lambda v: v is None or isinstance(v, dict), "a tree"),
    "groups": (lambda v: isinstance(v, list | tuple), "numbers of groups, one a stage"),
    "n_frames": (lambda v: v is None or COUNT[0](v), "a whole number of at least 1, or null for all frames"),
    "seed": SIZE, "img_size": COUNT, "scale": POSITIVE, "dropout": SHARE, "drop_path": SHARE,
    "holdout": (lambda v: SIZE[0](v) and v != 1, "0, or a whole number of at least 2"),
    "similarity": (lambda v: isinstance(v, Mapping), "a map of settings to values"),
    "metrics": (lambda v: isinstance(v, Mapping) and all(map(TEXT[0], v.values())), "a map of tasks to metrics"),
}  # fmt: skip
SIMILARITY_RULES = {"epochs": COUNT, "lr": POSITIVE, "frames": COUNT, "batch_size": COUNT}  # of `grow.measure`


@dataclass(frozen=True)
class Run:
    """One training: everything that decides its result, as plain values.

    Raises ValueError in one sentence for the first setting that cannot be.
    """

    method: str
    tasks: tuple[str, ...]  # or, of data of one's own, {name: description}, which `data` keeps then
    tree: dict | None = None  # TaskTree.to_dict, for ptsa; None where it is yet to be grown
    rank: int | tuple[int, ...] = 16
    data: str | dict = "scenes"  # one of SOURCES, or a map of `data.describe`
    root: str = ""
    n_frames: int | None = None  # the first so many of each split; None for all
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
    groups: tuple[int, ...] = ()  # a stage, of a tree that is grown by the tasks' similarity
    similarity: dict = field(default_factory=dict)  # how that is measured: settings of `grow.measure`
    metrics: dict = field(default_factory=dict)  # of a task, another metric than its own: {"edge": "odsF"}

    def __post_init__(self):
        check(RULES, vars(self))
        for name in ("tree", "data", "config", "similarity", "metrics"):  # the caller may change his own
            if isinstance(getattr(self, name), Mapping):
                object.__setattr__(self, name, copy.deepcopy(dict(getattr(self, name))))
        known(self.method, METHODS, "method")
        if isinstance(self.tasks, Mapping):
            if isinstance(self.data, str):
                raise ValueError(f"data {self.data!r:.80} has tasks of its own: list their names, or give data.path")
            object.__setattr__(self, "data", self.data | {"tasks": dict(self.tasks)})
            object.__setattr__(self, "tasks", tuple(self.tasks))
        tasks = run_tasks(self)
        ranks = check_ranks(self.rank, N_STAGES)
        if self.method == "ptsa" and not (self.tree or self.groups):
            raise ValueError("method ptsa needs a tree")
        if self.method != "ptsa" and (self.tree or self.groups):
            raise ValueError(f"{self.method} takes no tree; leave it out")
        if self.groups and len(check_n_groups(self.groups, len(tasks))) != N_STAGES:
            raise ValueError(f"tree {reprlib.repr(list(self.groups))}: give {N_STAGES} numbers of groups, one a stage")
        if self.tree:
            check_tree(TaskTree.from_dict(self.tree), tasks, ranks)
        TrainConfig.from_dict(self.config)
        if self.config.get("seed", self.seed) != self.seed:
            raise ValueError(f"config.seed is {self.config['seed']}, and seed {self.seed}; give seed alone")
        for setting in self.similarity:
            known(setting, SIMILARITY_RULES, "setting of the similarity")
        check(SIMILARITY_RULES, self.similarity)
        for task in self.metrics:
            known(task, tasks, "task of this run")
        given = {"tasks": self.tasks, "groups": self.groups, "rank": ranks if len({*ranks}) > 1 else ranks[0]}
        for name, value in given.items():  # lists are as JSON and YAML read them; one rank everywhere is one rank
            object.__setattr__(self, name, tuple(value) if isinstance(value, list) else value)

    def content(self) -> dict:
        """All that decides the result, as JSON holds it: weights by what their file holds, scenes by their version.

        Where the data lies and how tables call the run is left out. A tree that is grown follows from its groups.
        """
        settings = asdict(self) | {"data": named_only(self.data)}
        for name in ("label", "root", *(("tree",) if self.groups else ("groups", "similarity"))):
            del settings[name]
        if not self.metrics:  # names of runs that were made before there was this setting
            del settings["metrics"]
        settings["config"] = run_config(self).to_dict()
        settings["weights"] = weights_content(self.backbone, self.weights)
        settings["scenes"] = SCENES_VERSION if self.data == "scenes" else None
        return plain(settings)

    def name(self) -> str:
        """Readable, and different for different runs: method-rank-seed-hash of `content`."""
        content = self.content()
        content["config"] = {key: value for key, value in content["config"].items() if key not in SAME_RESULT}
        content = json.loads(json.dumps(content), parse_int=float)  # 1 and 1.0 are the same setting
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
        rank = "-".join(map(str, self.rank)) if isinstance(self.rank, tuple) else self.rank
        return f"{self.method}-r{rank}-s{self.seed}-{digest}"

    @classmethod
    def from_dict(cls, data: Mapping) -> "Run":
        """The inverse of `dataclasses.asdict`; raises ValueError with the nearest name for an unknown setting."""
        settings = {known(key, cls.__dataclass_fields__, "setting of a run"): value for key, value in data.items()}
        return cls(**{"method": "", "tasks": ()} | settings)


def weights_content(backbone: str = "swin_small_distilled", weights: str = "pretrained") -> str:
    """A hash of the file of weights; where there is no file, what was asked for."""
    packaged = weights == "pretrained" and backbone == "swin_small_distilled"
    path = SMALL_WEIGHTS if packaged else Path(weights)
    return _hash_of(path, path.stat().st_mtime_ns, path.stat().st_size) if path.is_file() else weights


@lru_cache
def _hash_of(path: Path, *_) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def prepare(run: Run) -> tuple:
    """(tasks, (training set, test set), model): all that a training needs, each made once.

    What fails cheaply fails first: files that are not there, then a model that cannot be; only then are frames read.
    Raises ValueError or FileNotFoundError in one sentence.
    """
    data, tasks = own_data(run)
    size, n = run_config(run).batch_size, count_frames(data, run.root, "train", run.n_frames, tasks)
    if n is not None and size > n:
        raise ValueError(f"batch_size {size} exceeds the {n} training frames; lower it")
    model = make_model(run)
    return run_tasks(run), open_sets(run), model


def run_tasks(run: Run) -> dict[str, Task]:
    """The tasks of a run, measured as it asks for."""
    if isinstance(run.data, str):
        tasks = select(suite(known(run.data, SOURCES, "data set")), run.tasks)
    else:
        tasks = describe(*own_data(run)).tasks
    return {name: measured_by(task, run.metrics.get(name, task.metric)) for name, task in tasks.items()}


def own_data(run: Run) -> tuple:
    """What `open_dataset` takes as data and tasks: of one's own without and with their descriptions."""
    if isinstance(run.data, str):
        return run.data, list(run.tasks)
    data = {key: value for key, value in run.data.items() if key != "tasks"}
    described, columns = run.data.get("tasks"), data.get("columns")
    if isinstance(described, Mapping):
        left = described.keys() - {*run.tasks}
        described = select(described, run.tasks)
        data["columns"] = {key: name for key, name in (columns or {}).items() if key not in left}
    return data, described


def named_only(data: str | Mapping) -> str | dict:
    """Data of one's own with the names of their folders and files, not where these lie; others as they are."""

    def name(path):
        if isinstance(path, Mapping):
            return {split: name(one) for split, one in path.items()}
        if isinstance(path, list | tuple):
            return [name(one) for one in path]
        if not isinstance(path, str | Path):
            raise ValueError(f"a run's data lie in files, which its name is made of, not in a {type(path).__name__}")
        return Path(path).name

    return data if isinstance(data, str) else data | {"path": name(data["path"])}


def run_config(run: Run) -> TrainConfig:
    """A run's settings of the training."""
    return TrainConfig.from_dict(run.config | {"seed": run.seed})


def make_model(run: Run) -> nn.Module:
    """The model of a run as its training begins; every call draws the same. On the GPU if there is one."""
    return build(run, load_backbone(run.backbone, run.weights, run.img_size, drop_path=run.drop_path)).to(_device())


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def build(run: Run, backbone: nn.Module) -> nn.Module:
    """A run's model over a backbone: the only place where one is built.

    A tree that is yet to be grown is stood in for by any with its groups, which has the same shapes and costs.
    """
    tree = run.tree and TaskTree.from_dict(run.tree)
    if run.groups and not tree:
        tree = next(TaskTree.enumerate(run.tasks, run.groups))
    options = dict(rank=run.rank, dropout=run.dropout, scale=run.scale, **fast(_device()))
    if run.config.get("compile") is True:
        options["layer"] = GroupedLoRALinear  # the quicker one has a gradient of its own, which is not compiled
    with torch.random.fork_rng():
        torch.manual_seed(run.seed)
        return short_norms(build_model(run.method, backbone, run_tasks(run), tree, **options))


def open_sets(run: Run, augment: bool = True) -> tuple:
    """What a run trains on, augmented or not, and what it is measured on.

    Raises ValueError where held-out frames leave a task without a label on either side.
    """
    name, tasks = own_data(run)
    data = dict(root=run.root, img_size=run.img_size, tasks=tasks, n_frames=run.n_frames)
    large = run.img_size * 3 // 2 if run.data != "scenes" else None  # augmented or not: one copy serves both
    train_set = open_dataset(name, split="train", work_size=large, augment=augment, **data)
    if not run.holdout:
        return train_set, open_dataset(name, split="val", **data)
    plain = open_dataset(name, split="train", augment=False, **data)
    index = list(plain.with_format(None)["index"])  # in turns, a frame comes several times
    held_out, first = {*sorted({*index})[:: run.holdout]}, {frame: i for i, frame in reversed([*enumerate(index)])}
    sets = (
        train_set.select([i for i, frame in enumerate(index) if frame not in held_out]),
        plain.select(sorted(first[frame] for frame in held_out)),
    )
    for task, (frames, use) in itertools.product(run.tasks, zip(sets, ("train", "measure"), strict=True)):
        labels = frames.select_columns([task]).with_format("arrow")[:].column(task)
        if labels.null_count == len(labels):
            raise ValueError(f"holdout {run.holdout} leaves no frame with a label of task {task!r} to {use} on; "
                             "give another number, or leave the task out")  # fmt: skip
    return sets


def result_of(run: Run, model: nn.Module, history: list[dict], sets: tuple) -> dict:
    """What is kept of a finished run: what was asked, metrics and losses of its last epoch, costs, versions."""
    return {
        "name": run.name(),
        "run": asdict(run) | {"root": Path(run.root).name, "data": named_only(run.data)},
        "metrics": history[-1]["metrics"],
        "losses": history[-1]["losses"],
        "parameters": count_parameters(model),
        "gmacs": count_macs(model) / 1e9,
        "seconds": round(sum(record["seconds"] for record in history), 1),
        "frames": [len(frames) for frames in sets],
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """What a result depends on besides its settings."""
    git, root = "", Path(__file__).parents[2]
    command = ["git", "--git-dir=.git", "rev-parse", "--short", "HEAD"]  # never that of a repository around it
    with suppress(OSError):  # no git on this machine
        git = subprocess.run(command, capture_output=True, text=True, cwd=root).stdout.strip()
    return {**adapters.versions(), "git": git or "not a clone", "device": _device()}
