"""A run trained in a folder that is its whole state, and measured from it.

run.json              what is trained: a `run.Run`
similarity.json       what the tree was grown from, where the run asks for that
checkpoint.pt         the last epoch; training goes on from it
history.json          a record for every epoch
last.safetensors      what was trained, after the last epoch: the result
best.safetensors      the same after the evaluation that was best on the test frames, which makes it no fair result
result.json           metrics of the last epoch, parameters, multiply-adds, versions
"""

import math
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, replace
from importlib.resources import files
from pathlib import Path

from torch import nn

from ptsa_lite.data.disk import alone, read_json, write_json
from ptsa_lite.metrics import delta_m
from ptsa_lite.tasks import Task, known
from ptsa_lite.training import distributed
from ptsa_lite.training.adapters import load_adapters, save_adapters
from ptsa_lite.training.checkpoints import FREE, read_history
from ptsa_lite.training.loop import describe, evaluate, train_epochs
from ptsa_lite.training.sameness import differences

from .grow import grow
from .run import Run, make_model, open_sets, prepare, result_of, run_config, run_tasks

LEFT = ("history.json", "history.csv", "last.safetensors", "best.safetensors", "result.json")
"""What a training leaves, beside run.json or at least a checkpoint."""
TOUR = Path(str(files("ptsa_lite") / "assets" / "tour"))  # a run that comes with the package


def train_run(
    run: Run, folder: str | Path, report: Callable[[str], None] = print,
    watch: Callable[[nn.Module, dict], None] | None = None,
) -> dict:  # fmt: skip
    """Trains a run in a folder, or goes on there, and returns its result; started by torchrun, with the others.

    Only the first process reports, writes, and lets `watch` see the model and the record after each epoch. What cannot
    change the result may differ from an earlier start (`FREE`). Raises ValueError where the folder holds another run,
    where another training is at work in it, or where the run cannot be carried out: that is told before anything heavy
    starts, and leaves nothing behind.
    """
    folder = Path(folder)
    with distributed.processes(), _alone(folder):
        first = distributed.rank() == 0
        say = report if first else lambda line: None
        began = (folder / "run.json").is_file()
        foreign = [name for name in LEFT if (folder / name).exists()]
        if foreign and not (began or (folder / "checkpoint.pt").is_file()):
            raise ValueError(f"{folder} holds {foreign[0]}, which no training left there; give another --out")
        if differ := began and differences(run_of(folder).content(), run.content(), FREE):
            words = f"{folder} holds another run: {', '.join(differ)}; use its settings, or give another --out"
            raise ValueError(words)
        tasks, sets, model = prepare(run)
        if run.groups and not run.tree:
            run = replace(run, tree=grow(run, folder, say).to_dict())
            model = make_model(run)
        if first:
            write_json(folder / "run.json", asdict(run))
        say(f"{run.name()}: {len(sets[0])} frames to train on, {len(sets[1])} to measure on; writes to {folder}")
        epochs = train_epochs(model, *sets, tasks, run_config(run), folder)  # restores what was done before
        keep_best(model, tasks, folder)  # an earlier start may have ended between an epoch and this
        for record in epochs:
            say(describe(record, tasks))
            if watch and first:
                watch(model, record)
            keep_best(model, tasks, folder)
        result = result_of(run, model, read_history(folder), sets)
        if first:
            size = save_adapters(model, folder / "last.safetensors", run=asdict(run), metrics=result["metrics"])
            say(f"what was trained: {size / 1e6:.1f} MB in {folder / 'last.safetensors'}")
            write_json(folder / "result.json", result)
    return result


@contextmanager
def _alone(folder: Path):
    """The folder for this training alone: the first process holds it, and the others hear whether it could."""
    with ExitStack() as held:
        refused = None
        if distributed.rank() == 0:
            try:
                held.enter_context(alone(folder))
            except (ValueError, OSError) as error:
                refused = error
        refused = distributed.broadcast(refused)
        if refused:
            raise refused
        try:
            yield
        finally:
            if distributed.rank() == 0 and [path.name for path in folder.iterdir()] == [".lock"]:  # it came to nothing
                with suppress(OSError):  # Windows keeps a file that is open
                    (folder / ".lock").unlink()
                    folder.rmdir()


def folder_of(folder: str | Path) -> Path:
    """The folder of a run; the package's own, where `tour` is none."""
    return TOUR if str(folder) == "tour" and not (Path(folder) / "run.json").is_file() else Path(folder)


def run_of(folder: str | Path) -> Run:
    """The run that a folder was made for; `tour` is the one that comes with the package."""
    path = folder_of(folder) / "run.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no run.json; give a folder that `python -m ptsa_lite train` wrote")
    settings = read_json(path, then="train again into another folder")
    try:
        return Run.from_dict(settings)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def keep_best(model: nn.Module, tasks: dict[str, Task], folder: Path) -> None:
    """Writes best.safetensors if no evaluation was better than the last epoch's: delta_m against the run's first one,
    over the tasks that both could measure."""
    history = read_history(folder) if (folder / "history.json").is_file() else []
    evaluated = [record for record in history if record["metrics"]]
    if distributed.rank() or not evaluated or evaluated[-1] is not history[-1]:
        return
    first = evaluated[0]["metrics"]

    def score(record: dict) -> float:
        metrics = record["metrics"]
        usable = {n: task for n, task in tasks.items()
                  if first[n] and math.isfinite(first[n]) and math.isfinite(metrics[n])}  # fmt: skip
        return delta_m(metrics, first, usable) if usable else 0.0

    best = max(evaluated, key=score)
    if best is history[-1]:
        words = "picked by its metrics on the test frames: not a fair result"
        save_adapters(model, folder / "best.safetensors", epoch=best["epoch"], metrics=best["metrics"], picked=words)


def load_run(folder: str | Path, weights: str = "last", root: str = "") -> tuple[Run, nn.Module]:
    """A folder's run and its model, with the weights that were trained: last or best. Ready for use, on the GPU if any.

    root: where the archive lies now, if not where it did.
    """
    run = run_of(folder)
    run = replace(run, root=root or run.root)
    model = make_model(run)
    load_adapters(model, folder_of(folder) / f"{known(weights, ('last', 'best'), 'weights')}.safetensors")
    return run, model.eval()


def evaluate_run(folder: str | Path, weights: str = "last", root: str = "") -> dict:
    """Measures a trained run again: {"metrics", "weights", "frames", ...}; started by torchrun, with the others."""
    started = time.perf_counter()
    with distributed.processes():
        run, model = load_run(folder, weights, root)
        config, val_set = run_config(run), open_sets(run)[1]
        size = config.batch_size // config.accumulate
        metrics = evaluate(model, val_set, run_tasks(run), size, config.workers, config.amp)
        return {"run": run.name(), "weights": weights, "metrics": metrics, "frames": len(val_set),
                "seconds": round(time.perf_counter() - started, 1)}  # fmt: skip
