"""Data sets of images with several labels, all as Hugging Face `datasets.Dataset` with a transform set.

    scenes   procedural frames with exact labels for six tasks; needs nothing (`scenes.py`)
    nyud     an NYUD-v2 archive (`nyud.py`)
    pascal   a PASCAL-Context archive (`pascal.py`)
    nyuv2_13 the Hugging Face copy of NYUv2 with 13 classes, a protocol of its own (`hub_nyuv2.py`)

Instead of an archive, nyud and pascal take a folder that `data prepare` made of it (`prepared.py`).

Behind each stands an Arrow table: of frames (scenes, prepared archives) or of file paths (archives). A row becomes a
frame, and a frame becomes a sample, only when it is asked for (`transforms.py`).
"""

import signal
import threading
from dataclasses import dataclass, replace
from pathlib import Path

from ptsa_lite.tasks import known

from . import tables
from .prepared import is_prepared, open_prepared


@dataclass(frozen=True)
class View:
    """Rows of a table as samples: the transform that every data set of this module carries."""

    source: object  # its read_row(row) gives the frame
    recipe: str  # whose draws augment: a key of transforms.RECIPES, or "" for none
    tasks: tuple[str, ...]
    size: int
    work_size: int | None  # resize to it first; None where the rows hold frames of the wanted size
    seed: int
    epoch: int = 0

    def __call__(self, batch: dict[str, list]) -> dict[str, list]:
        rows = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
        samples = [self.sample(row) for row in rows]
        return {key: [sample[key] for sample in samples] for key in (samples[0] if samples else ())}

    def sample(self, row: dict) -> dict:
        from . import transforms as tr

        frame = self.source.read_row(row)
        if self.work_size:
            frame = tr.shrink(frame, self.work_size)
        warp = tr.Warp()
        if self.recipe:
            warp = tr.RECIPES[self.recipe](tr.generator(self.seed, self.epoch, row["index"]))
        return {**tr.to_sample(frame, self.size, self.tasks, warp), "index": row["index"]}


def open_dataset(
    name: str,
    root: str | Path = "",
    split: str = "train",
    img_size: int = 128,
    tasks=None,
    limit: int | None = None,
    seed: int = 0,
    work_size: int | None = None,
    augment: bool | None = None,
    *,
    cache: str | Path | None = None,
    prepared: bool = True,
):
    """A `datasets.Dataset` whose samples are {"image": (3, S, S) float32, "index": int, task: label tensor, ...}.

    S is `img_size`; labels are as `ptsa_lite.tasks.Task` describes them, IGNORE where there is none.

    name, root  scenes (no root), nyud or pascal with the archive's folder or a prepared one, nyuv2_13 with its files'
    split       train or val ("test" means val)
    tasks       names; by default the suite's, for scenes the four of PASCAL
    limit       the first so many frames; for scenes the number of frames (512 and 128 by default)
    seed        decides which scenes are drawn, and the augmentation
    work_size   resize frames to this square first. About 1.5 times img_size loses nothing to a zoom of 1.5 and makes
                reading cheap, because archives are then decoded once into a prepared copy (below). Without
                augmentation, work_size=img_size is the plain test transform from such a copy
    augment     by default only train
    cache       where scenes and prepared copies are kept (`store.cache_folder`)
    prepared    False reads the archive itself even with a work_size: the same samples, bit for bit, more slowly

    Raises ValueError (DataError for the archive's own faults) in one sentence.
    """
    split = _checked(name, split, img_size=img_size, limit=limit, work_size=work_size)
    if work_size and work_size < img_size:
        raise ValueError(f"work_size {work_size} is below img_size {img_size}; give at least img_size, or None")
    if name == "scenes":
        tasks = tables.scene_tasks(tasks)
        table, source = tables.scenes(split, work_size or img_size, limit, seed, tasks, cache)
        work_size = None  # they are drawn at it
    elif name == "nyuv2_13":
        table, source, tasks = tables.parquet(root, split, limit, tasks, cache)
    elif is_prepared(root):
        table, source, tasks, work_size = open_prepared(name, root, split, tasks, work_size, limit)
    else:
        listing = tables.list_archive(name, root, split, tasks)
        tasks = listing.tasks
        if work_size and prepared:
            table, source = tables.prepared(listing, work_size, limit, cache)
            work_size = None
        else:
            table, source = tables.listed(listing, limit)
    augment = split == "train" if augment is None else augment
    return _seen_through(table, View(source, name if augment else "", tasks, img_size, work_size, seed))


def _seen_through(table, view: View):
    """The table with that transform. Ctrl-C waits until it is set.

    `datasets` hashes the transform, at each epoch, within a bare `except:`; a KeyboardInterrupt that falls there is
    taken for a transform that cannot be hashed, and the training runs on.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is None or threading.current_thread() is not threading.main_thread():  # the only one to be interrupted
        return table.with_transform(view)
    came = []
    signal.signal(signal.SIGINT, lambda *call: came.append(call))
    try:
        return table.with_transform(view)
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            signal.raise_signal(signal.SIGINT)


def set_epoch(dataset, epoch: int, seed: int | None = None):
    """The same data with the augmentation of that epoch (and seed, where one is given)."""
    view = dataset.format["format_kwargs"].get("transform")
    if not isinstance(view, View):
        raise ValueError("set_epoch needs a data set of open_dataset, with its own transform")
    return _seen_through(dataset, replace(view, epoch=epoch, seed=view.seed if seed is None else seed))


def make_loader(
    dataset, batch_size: int, seed: int | None = None, epoch: int = 0, workers: int = 0, drop_last: bool = False,
    part: tuple[int, int] = (0, 1),
):  # fmt: skip
    """A DataLoader over one epoch: shuffled by (seed, epoch) where a seed is given, else in order.

    The seed decides the augmentation too, so that two runs that differ in it see different samples. The batches are
    the same for any number of workers. part: (rank, size), to load every size-th of the batches only.
    """
    from torch.utils.data import DataLoader

    from .loading import batches_of, workers_here

    _positive(batch_size=batch_size)
    if drop_last and batch_size > len(dataset):
        raise ValueError(f"batch size {batch_size} exceeds the {len(dataset)} frames, which leaves no whole batch")
    batches = batches_of(len(dataset), batch_size, seed, epoch, drop_last)[part[0] :: part[1]]
    return DataLoader(set_epoch(dataset, epoch, seed), batch_sampler=batches, num_workers=workers_here(workers))


def prepare(name: str, root: str | Path, split: str, work_size: int, tasks=None, limit=None, cache=None) -> Path:
    """Decodes an archive's split once, resizes it to work_size and stores it; returns the folder.

    Resumes where an earlier call stopped, and compares the checksums of what that call left. `open_dataset` with the
    same work_size then reads this copy, and finds by itself that it belongs to the archive as it is now.
    """
    split = _checked(name, split, limit=limit, work_size=work_size)
    listing = tables.list_archive(name, root, split, tasks)
    return tables.build_copy(listing, work_size, limit, cache, check=True)[0]


def _checked(name: str, split: str, **numbers) -> str:
    """The split's own name, after a look at the arguments that every data set takes."""
    known(name, tables.SOURCES, "data set")
    _positive(**numbers)
    return known({"test": "val"}.get(split, split), ("train", "val"), "split")


def _positive(**numbers) -> None:
    for what, number in numbers.items():
        if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
            raise ValueError(f"{what} is {number!r}; expected a whole number of at least 1")
