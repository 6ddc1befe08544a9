"""A grid of trainings (method x tree x rank x seed), one result file a run; resumable, shared by several processes.

A folder of results is the whole state: `NAME.json` is a finished run, `NAME/` the checkpoint of an unfinished one, and
a locked `NAME.claim` says that some process works on it. A process takes the next run that is neither finished nor
claimed; so the same call, made again after any interruption, or at the same time by another process or machine that
sees the folder, does what is left. The system itself gives a lock back when its process ends, however it ends.
"""

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import IO

import torch
from torch import nn

from . import adapters
from .backbones import SMALL_WEIGHTS, load_backbone
from .checkpoints import read_history
from .claims import claim
from .costs import count_macs, count_parameters
from .data import open_dataset, tables
from .disk import make_folder, read_json, write_json
from .memory import processes
from .methods import METHODS, build_model
from .progress import clock_time
from .tasks import Task, known, select, suite
from .train_config import TrainConfig
from .training import describe, train_epochs
from .tree import TaskTree

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

        The contents of the weights' file and the source of the scenes do count: a result of older ones is another's.
        """
        content = {k: v for k, v in asdict(self).items() if k not in ("label", "root", "weights")}
        if not self.holdout:
            del content["holdout"]  # younger than the names of the first results
        if not self.drop_path:
            del content["drop_path"]  # and so is this
        content["weights"] = _content_of(self.backbone, self.weights)
        content["scenes"] = _scenes_source() if self.data == "scenes" else ""
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
        rank = "-".join(map(str, self.rank)) if isinstance(self.rank, tuple) else self.rank
        return f"{self.method}-r{rank}-s{self.seed}-{digest}"

    @classmethod
    def from_dict(cls, data: Mapping) -> "Run":
        names = [f.name for f in fields(cls)]
        return cls(**{known(key, names, "setting of a run"): value for key, value in data.items()})


def _content_of(backbone: str, weights: str) -> str:
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


@cache
def _scenes_source() -> str:
    return tables._source_hash("scenes")


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
    data = dict(root=run.root, img_size=run.img_size, tasks=list(run.tasks), limit=run.limit or None)
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


def run_study(
    runs: Sequence[Run], folder: str | Path, jobs: int = 1, report: Callable[[str], None] = print
) -> list[dict]:
    """Do every run that is not done, and wait for those that other processes do; all results, in the order of `runs`.

    jobs: processes on this machine, each with its share of the cores, fewer where its memory does not hold as many.
    Checkpoints of finished runs are removed.
    A run that fails raises here, also if it failed in a helper first: this process then takes it up where that one
    stopped. What else helpers had to say is in folder/helper-N.log.
    """
    folder = make_folder(Path(folder))
    runs, jobs = list({run.name(): run for run in runs}.values()), processes(jobs)
    helpers = _start_helpers(runs, folder, jobs - 1) if len(_left(runs, folder)) > 1 else []
    threads = torch.get_num_threads()
    try:
        if helpers:
            torch.set_num_threads(max(1, (os.cpu_count() or 1) // jobs))
        _work(runs, folder, report)
    finally:
        torch.set_num_threads(threads)
        for helper in helpers:
            helper.terminate()
            helper.wait()
        (folder / f"queue-{os.getpid()}.json").unlink(missing_ok=True)
    return [_result(run, folder) for run in runs]


def collected(path: str | Path) -> list[dict]:
    """The results that a file of `collect` holds; none where there is no such file."""
    path = Path(path)
    return read_json(path, then="move it away, and the study begins anew")["runs"] if path.is_file() else []


def restore(results: Sequence[dict], runs: Sequence[Run], folder: str | Path) -> int:
    """Lay results of these runs into the study's folder, where it has none: they are done. How many were laid."""
    folder, names = make_folder(Path(folder)), {run.name() for run in runs}
    new = [r for r in results if r["name"] in names and not (folder / f"{r['name']}.json").exists()]
    for result in new:
        write_json(folder / f"{result['name']}.json", result, shared=True)
    return len(new)


def collect(runs: Sequence[Run], folder: str | Path, path: str | Path, command: str) -> int:
    """Write every result that is there into one file, in the order of `runs`; returns how many are still to do.

    The file names the command that makes it, and the labels of these runs, whatever they were called when they ran.
    """
    folder, runs = Path(folder), list({run.name(): run for run in runs}.values())
    done = [run for run in runs if (folder / f"{run.name()}.json").is_file()]
    results = [_result(run, folder) for run in done]
    for run, result in zip(done, results, strict=True):
        result["run"]["label"] = run.label
    make_folder(Path(path).parent)
    write_json(Path(path), {"command": command, "left": len(runs) - len(done), "runs": results}, shared=True)
    return len(runs) - len(done)


def _left(runs: Sequence[Run], folder: Path) -> list[Run]:
    return [run for run in runs if not (folder / f"{run.name()}.json").is_file()]


def _result(run: Run, folder: Path) -> dict:
    return read_json(folder / f"{run.name()}.json", then="delete it, and the run is done again")


def _work(runs: Sequence[Run], folder: Path, report: Callable[[str], None]) -> None:
    """Take runs that nobody has until every one is done, by whomever; a line for each as it is done."""
    started, left = time.monotonic(), _left(runs, folder)
    before = len(runs) - len(left)
    if before:
        report(f"{before} of {len(runs)} runs were done before")
    while left:
        if not any(_do(run, folder) for run in left):
            time.sleep(0.2)  # others are at what is left
        still = _left(runs, folder)
        pace = (time.monotonic() - started) / max(1, len(runs) - len(still) - before)
        for number, run in enumerate((run for run in left if run not in still), len(runs) - len(left) + 1):
            shown = ", ".join(f"{task} {value:.3g}" for task, value in _result(run, folder)["metrics"].items())
            report(f"{number}/{len(runs)}  {run.label or METHODS[run.method]}, seed {run.seed}: {shown}; "
                   f"{clock_time(pace * len(still))} left")  # fmt: skip
        left = still


def _do(run: Run, folder: Path) -> bool:
    """Execute a run unless it is done or another process is at it; whether it was executed here."""
    path = folder / f"{run.name()}.json"
    with claim(path.with_suffix(".claim")) as mine:
        if not mine or path.is_file():  # it may have been finished between the look and the claim
            return False
        checkpoint = folder / run.name()
        result = execute_run(run, checkpoint, report=lambda line: None)
        write_json(path, result)
        for file in checkpoint.glob("*"):
            file.unlink()
        checkpoint.rmdir()
        return True


def _start_helpers(runs: Sequence[Run], folder: Path, n: int) -> list[subprocess.Popen]:
    """Further processes that work on the same folder, from the last run backwards."""
    if n < 1:
        return []
    queue = folder / f"queue-{os.getpid()}.json"
    queue.write_text(json.dumps([asdict(run) for run in reversed(runs)]))
    environment = os.environ | {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // (n + 1)))}
    command = [sys.executable, "-m", "ptsa_lite.study", str(queue), str(folder)]
    helpers = []
    for number in range(1, n + 1):
        with (folder / f"helper-{number}.log").open("w") as log:
            helpers.append(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, env=environment)
            )
    return helpers


def _end_with(parent: IO) -> None:
    """A helper's watch: its standard input ends when the process that started it does, however that ends."""
    parent.read()
    os._exit(1)


if __name__ == "__main__":
    queue, folder = map(Path, sys.argv[1:3])
    threading.Thread(target=_end_with, args=(sys.stdin,), daemon=True).start()
    _work([Run.from_dict(run) for run in json.loads(queue.read_text())], folder, lambda line: print(line, flush=True))
