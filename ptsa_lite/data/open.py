"""open_dataset: whatever holds the frames, the same samples of it, as a Hugging Face `datasets.Dataset`.

Behind each stands an Arrow table of frames at a square size: drawn, or read once, and kept (`cache`). A frame becomes
a sample only when it is asked for.
"""

import signal
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch.utils.data import ConcatDataset, Subset

from ptsa_lite.checks import COUNT, FLAG, SIZE, Rule, check, or_none
from ptsa_lite.scenes import SCENES_VERSION, render_scene
from ptsa_lite.tasks import SCENES, Task, known, suite

from . import frames, own
from . import transforms as tr
from .cache import build, cache_folder, fingerprint, open_parts
from .describe import describe, task_of
from .listing import ARCHIVES, tasks_of
from .prepared import FRAMES_VERSION, build_copy, is_prepared, open_prepared, read_manifest

SOURCES = ("scenes", *ARCHIVES)
SCENE_COUNT = {"train": 512, "val": 128}
PATH: Rule = (lambda v: isinstance(v, str | Path), "a path, or empty")
FIRST_SCENE = {"train": 0, "val": 1_000_000}  # far apart: no scene of val is ever one of train


@dataclass(frozen=True)
class Samples:
    """Rows of a table as samples: the transform that every data set of `open_dataset` carries."""

    recipe: str  # whose draws augment: a key of transforms.RECIPES, or "" for none
    kinds: dict[str, str]  # of each task, how its label moves: a key of transforms.LABELS
    size: int
    work_size: int  # rows of another size are resized to it first
    seed: int
    epoch: int = 0

    def __call__(self, batch: dict[str, list]) -> dict[str, list]:
        rows = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
        samples = [self.sample(row) for row in rows]
        return {key: [sample[key] for sample in samples] for key in (samples[0] if samples else ())}

    def sample(self, row: dict) -> dict:
        frame = frames.decode(row)
        if row["_height"] != self.work_size:
            frame = tr.shrink(frame, self.work_size)
        warp = tr.Warp()
        if self.recipe:
            warp = tr.RECIPES[self.recipe](tr.generator(self.seed, self.epoch, row["index"]))
        return {**tr.to_sample(frame, self.size, self.kinds, warp), "index": row["index"]}


def open_dataset(
    name: Any,
    root: str | Path = "",
    split: str = "train",
    img_size: int = 128,
    tasks: Iterable[str] | Mapping[str, Task | Mapping] | None = None,
    n_frames: int | None = None,
    seed: int = 0,
    work_size: int | None = None,
    augment: bool | None = None,
    *,
    columns: Mapping[str, str] | None = None,
):
    """A `datasets.Dataset` whose samples are {"image": (3, S, S) float32, "index": int, task: label tensor, ...}.

    S is `img_size`; labels are as `ptsa_lite.tasks.Task` describes them, IGNORE where there is none.

    name, root  scenes (no root), nyud or pascal with the archive's folder or a prepared one, or data of your own: a
                path, a `datasets.Dataset`, rows, several of these, or a map of settings (`describe`, `own`)
    split       train or val ("test" means val)
    tasks       names; by default the suite's, for scenes the four of PASCAL. Of your own data {name: task}, each a Task
                or a map such as {"kind": "segmentation", "classes": 5}
    n_frames    the first so many frames; for scenes the number of frames (512 and 128 by default)
    seed        decides which scenes are drawn, and the augmentation
    work_size   frames are read once and kept at this square size, in `cache.cache_folder`. By default 1.5 times
                img_size where they are augmented, so that a zoom of 1.5 loses nothing, else img_size; scenes are drawn
                at img_size. Larger frames of a prepared folder are resized to it, smaller ones refused
    augment     by default only train
    columns     of your own data, {"image" or task: column} where a column has another name

    Raises ValueError (DataError for the archive's own faults) in one sentence.
    """
    check({"img_size": COUNT, "seed": SIZE, "augment": or_none(FLAG), "root": PATH}, locals())
    check(dict.fromkeys(("n_frames", "work_size"), or_none(COUNT)), locals())
    split = _split(split)
    if work_size and work_size < img_size:
        raise ValueError(f"work_size {work_size} is below img_size {img_size}; give at least img_size, or None")
    augment = split == "train" if augment is None else augment
    work_size = work_size or (img_size * 3 // 2 if augment and name != "scenes" else img_size)
    if is_own(name, tasks):
        described = describe(name, tasks, columns)
        table = own.open_own(described, split, work_size, n_frames, root)
        recipe = described.augment if augment and described.augment != "none" else ""
        kinds = {task: one.moves for task, one in described.tasks.items()}
        return _seen_as(table, Samples(recipe, kinds, img_size, work_size, seed))
    name = known(name, SOURCES, "data set")
    if columns:
        raise ValueError(f"data set {name!r} has no columns to name; leave columns out")
    if isinstance(tasks, Mapping):
        _check_as_suite(name, tasks)
    tasks = tasks_of(name, tasks)
    if name == "scenes":
        if str(root):
            raise ValueError(f"the scenes are drawn, not read from {root}; leave out root, or name the data set there")
        table = _scenes(split, work_size, n_frames, seed, tasks)
    elif is_prepared(root):
        table = open_prepared(name, root, split, tasks, work_size, n_frames)
    else:
        archive = ARCHIVES[name].open(root)
        archive.need(tasks)
        made = build_copy(archive, split, tasks, work_size, n_frames, cache_folder())
        table = open_parts(*made, tasks, f"{split}: {archive.described}, {archive.root}, at {work_size}x{work_size}")
    kinds = {task: frames.KINDS[task] for task in tasks}
    return _seen_as(table, Samples(name if augment else "", kinds, img_size, work_size, seed))


def _split(name: str) -> str:
    return known({"test": "val"}.get(name, name), ("train", "val"), "split")


def _check_as_suite(name: str, tasks: Mapping) -> None:
    """Labels of a suite are what they are: raises ValueError for a description that says otherwise."""
    for task, given in tasks.items():
        theirs, said = vars(suite(name)[task]), vars(task_of(task, given))
        for key in ("kind", "channels", "ignore", "scale", "foreground"):
            if said[key] != theirs[key]:
                words = f"its {key} is {theirs[key]!r}, not {said[key]!r}"
                raise ValueError(f"task {task!r} of {name}: {words}; name the tasks in a list")


def is_own(name: Any, tasks: Any = None) -> bool:
    """Whether data are somebody's own, which say what their tasks are. Of SOURCES, tasks of the suite are names."""
    if not isinstance(name, str) or not isinstance(tasks, Mapping):
        return not isinstance(name, str)
    return name not in SOURCES or not tasks.keys() <= suite(name).keys()


def count_frames(name: Any, root: str | Path, split: str, n_frames: int | None = None, tasks=None) -> int | None:
    """How many frames a split will have, without reading one. tasks: of data of one's own, as `open_dataset` has it."""
    split = _split(split)
    if is_own(name, tasks):
        described = describe(name, tasks)
        n = len(own.order([len(table) for table in own.tables(described, split, root)], own.mix_of(described, split)))
    elif name == "scenes":
        return n_frames or SCENE_COUNT[split]
    elif is_prepared(root):
        n = read_manifest(root)["splits"][split]["frames"]
    else:
        n = len(ARCHIVES[name].open(root).names(split))
    return min(n, n_frames or n)


def set_epoch(dataset, epoch: int, seed: int | None = None):
    """The same data with the augmentation of that epoch (and seed, where one is given).

    What is not of `open_dataset`, but has a length and samples of its own, stays as it is: it augments itself.
    """
    # A part or a sum of such sets is augmented as they are.
    if isinstance(dataset, Subset):
        return Subset(set_epoch(dataset.dataset, epoch, seed), dataset.indices)
    if isinstance(dataset, ConcatDataset):
        return ConcatDataset([set_epoch(one, epoch, seed) for one in dataset.datasets])
    samples = samples_of(dataset)
    if samples is None:
        return dataset
    return _seen_as(dataset, replace(samples, epoch=epoch, seed=samples.seed if seed is None else seed))


def samples_of(dataset) -> Samples | None:
    """The transform of a data set of `open_dataset`, None of any other."""
    samples = getattr(dataset, "format", {}).get("format_kwargs", {}).get("transform")
    return samples if isinstance(samples, Samples) else None


def _seen_as(table, samples: Samples):
    """The table with that transform. Ctrl-C waits until it is set.

    `datasets` hashes the transform, at each epoch, within a bare `except:`; a KeyboardInterrupt that falls there is
    taken for a transform that cannot be hashed, and the training runs on.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is None or threading.current_thread() is not threading.main_thread():  # the only one to be interrupted
        return table.with_transform(samples)
    came = []
    signal.signal(signal.SIGINT, lambda *call: came.append(call))
    try:
        return table.with_transform(samples)
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            signal.raise_signal(signal.SIGINT)


def _scenes(split: str, size: int, n_frames: int | None, seed: int, tasks: tuple[str, ...]):
    """Rendered on first use, with every label, and kept until SCENES_VERSION grows."""
    n, first = n_frames or SCENE_COUNT[split], FIRST_SCENE[split]
    key = fingerprint(SCENES_VERSION, FRAMES_VERSION, size, seed, split)

    def frame_at(i: int) -> frames.Frame:
        return render_scene(first + i, seed=seed, size=size)

    place = cache_folder() / f"scenes-{split}-{size}-{key}"
    paths = build(place, n, frame_at, SCENES, f"rendering {split} scenes")
    return open_parts(paths, n, tasks, f"{split}: {n} procedural scenes, {size}x{size}, seed {seed}")
