"""The tree of a run, grown from the similarity of its tasks on its own backbone and frames."""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import nn

from ptsa_lite.data import make_loader
from ptsa_lite.data.disk import read_json, write_json
from ptsa_lite.recipe import TrainConfig
from ptsa_lite.similarity import Similarity, gradient_similarity
from ptsa_lite.tasks import Task
from ptsa_lite.training import distributed
from ptsa_lite.training.loop import describe, train_epochs
from ptsa_lite.training.sameness import differences
from ptsa_lite.training.step import to_device
from ptsa_lite.tree import TaskTree

from .run import Run, make_model, open_sets, run_tasks

CHOICE = "plain, same"
"""Reading and pairs that trees are grown from: both tasks on the same frame (notebook 03 says why)."""
APART = "plain, different"
"""The same where there are tasks that no frame is labelled for both of: then each on a frame of its own."""


def grow(run: Run, folder: Path, report: Callable[[str], None] = print) -> TaskTree:
    """The tree with the run's groups that keeps the most similar tasks together (`TaskTree.from_similarity`)."""
    matrix = decisive(measure(run, folder, report), report)["matrix"]
    tree = TaskTree.from_similarity(matrix, run.tasks, run.groups)
    report(f"tree {tree.n_groups}: {tree}")
    return tree


def decisive(measured: dict, report: Callable[[str], None] = print) -> dict:
    """Of what `measure` found, the reading that decides: {"matrix", "error", ...}."""
    same, apart = (measured["readings"][choice] for choice in (CHOICE, APART))
    if None not in sum(same["matrix"], []):
        return same
    report("some tasks are labelled on no frame together, so similarity is that of different frames")
    return apart


def measure(run: Run, folder: Path, report: Callable[[str], None] = print) -> dict:
    """Gradient similarity of a run's tasks, as `Similarity.to_dict` says it, with the settings that made it.

    `run.similarity`: heads are fitted first, on the frozen backbone for `epochs` at a peak rate `lr` in batches of
    `batch_size`; then gradients are taken on so many `frames`. All are the run's training frames, not augmented. Kept
    in folder/similarity.json, and read from there the next time. Of several processes all fit the heads, and the first
    one measures.
    """
    how = {"epochs": 2, "lr": 3e-3, "frames": 96, "batch_size": 16} | run.similarity
    alike = ("data", "root", "n_frames", "holdout", "img_size", "backbone", "weights", "seed")
    probe = Run("decoders_only", run.tasks, **{key: getattr(run, key) for key in alike})
    settings, path = how | probe.content(), folder / "similarity.json"
    found = distributed.broadcast(read_json(path, then="delete it to measure again") if path.is_file() else None)
    if found and not differences(found.get("settings", {}), settings):
        return found
    frames, tasks = open_sets(probe, augment=False)[0], run_tasks(run)
    processes = distributed.size()
    config = TrainConfig(
        epochs=how["epochs"], batch_size=max(min(how["batch_size"], len(frames)) // processes, 1) * processes,
        lr=how["lr"], warmup_epochs=0, seed=run.seed, workers=run.config.get("workers", 0),
    )  # fmt: skip
    model = make_model(probe)
    for record in train_epochs(model, frames, None, tasks, config):
        report("heads for the similarity, " + describe(record, tasks))
    if distributed.rank() == 0:
        loader = make_loader(frames, 1, seed=run.seed)
        similarity = similarity_on(model, loader, tasks, min(how["frames"], len(frames)), report)
        found = similarity.to_dict() | {"settings": settings}
        write_json(path, found)
    return distributed.broadcast(found)


def similarity_on(
    model: nn.Module, loader, tasks: Mapping[str, Task], n: int, report: Callable[[str], None]
) -> Similarity:
    """The similarity of tasks on the first n samples of a loader, which brings them one by one."""
    device = next(model.parameters()).device
    return gradient_similarity(model, (to_device(one, tasks, device) for one in loader), tasks, n, report=report)
