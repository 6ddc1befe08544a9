"""The tree of a run, grown from the similarity of its tasks on its own backbone and frames."""

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from ptsa_lite.checks import COUNT, POSITIVE, check
from ptsa_lite.data import make_loader, open_dataset
from ptsa_lite.data.disk import read_json, write_json
from ptsa_lite.recipe import TrainConfig
from ptsa_lite.similarity import gradient_similarity
from ptsa_lite.tasks import known
from ptsa_lite.training import distributed
from ptsa_lite.training.loop import describe, train_epochs
from ptsa_lite.tree import TaskTree

from .run import Run, make_model, run_tasks

SETTINGS = {"epochs": COUNT, "lr": POSITIVE, "frames": COUNT, "batch_size": COUNT}


def check_settings(settings: Mapping) -> None:
    """Raises ValueError naming what `measure` does not take."""
    if not isinstance(settings, Mapping):
        raise ValueError(f"similarity must map settings to values, not be {settings!r:.60}")
    check(SETTINGS, {known(name, SETTINGS, "setting of the similarity"): value for name, value in settings.items()})


def grow(
    run: Run, groups: Sequence[int], folder: Path, report: Callable[[str], None] = print, **settings
) -> TaskTree:
    """The tree with these groups a stage that keeps the most similar tasks together (`TaskTree.from_similarity`).

    The similarity is measured once and kept in folder/similarity.json; settings are those of `measure`. The reading is
    the plain one, both tasks on the same frame (notebook 03 says why).
    """
    measured = measure(run, folder, report, **settings)
    matrix = measured["readings"]["plain, same"]["matrix"]
    tree = TaskTree.from_similarity(matrix, run.tasks, groups)
    report(f"tree {tree.n_groups}: {tree}")
    return tree


def measure(
    run: Run, folder: Path, report: Callable[[str], None] = print,
    epochs: int = 2, lr: float = 3e-3, frames: int = 96, batch_size: int = 16,
) -> dict:  # fmt: skip
    """Gradient similarity of a run's tasks, as `Similarity.to_dict` says it, with the settings that made it.

    Heads are fitted first, on the frozen backbone for so many epochs at a peak rate `lr`; then gradients are taken on
    so many training frames, not augmented. Kept in folder/similarity.json, and read from there the next time. Of
    several processes all fit the heads, and the first one measures.
    """
    settings = {"epochs": epochs, "lr": lr, "frames": frames, "batch_size": batch_size}
    settings |= {key: asdict(run)[key] for key in ("data", "tasks", "limit", "img_size", "backbone", "weights", "seed")}
    settings, path = json.loads(json.dumps(settings)), folder / "similarity.json"
    measured = read_json(path, then="delete it to measure again") if path.is_file() else None
    measured = distributed.first_says(measured)
    if measured and measured.get("settings") == settings:
        return measured
    tasks, names = run_tasks(run), list(run.tasks)
    train_set = open_dataset(
        run.data, run.root, img_size=run.img_size, tasks=names, n_frames=run.limit or None, augment=False,
        work_size=None if run.data == "scenes" else run.img_size,
    )  # fmt: skip
    model = make_model(Run("decoders_only", run.tasks, **{
        key: getattr(run, key) for key in ("data", "img_size", "backbone", "weights", "seed")
    }))  # fmt: skip
    device = next(model.parameters()).device
    processes = distributed.size()
    batch_size = max(min(batch_size, len(train_set)) // processes, 1) * processes
    config = TrainConfig(
        epochs=epochs, batch_size=batch_size, lr=lr, warmup_epochs=0, seed=run.seed,
        eval_every=epochs, workers=run.config.get("workers", 0),
    )  # fmt: skip
    for record in train_epochs(model, train_set, None, tasks, config):
        report("heads for the similarity, " + describe(record, tasks))
    if distributed.rank() == 0:
        stream = itertools.islice(make_loader(train_set, 1, seed=run.seed), frames)
        samples = ({key: value.to(device) for key, value in sample.items()} for sample in stream)
        similarity = gradient_similarity(model, samples, tasks, min(frames, len(train_set)), report=report)
        measured = similarity.to_dict() | {"settings": settings}
        write_json(path, measured)
    return distributed.first_says(measured)
