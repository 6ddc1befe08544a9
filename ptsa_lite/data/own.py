"""Data of one's own: whatever Hugging Face `datasets` loads, with a column for the picture and one for each task.

A set is a path (a folder of pictures with metadata.csv, or of Parquet, CSV or JSON files, or one such file), the name
hf://datasets/OWNER/NAME of one on the hub, a `datasets.Dataset`, a map of splits to these, or a list of rows, each a
dict. Rows and a `Dataset`, which have no splits, are taken whole for each; a file or folder without is for training.
Several sets need not be labelled for the same tasks, nor has every frame a label of each.

What a cell may hold stands in `cells`; a path in it goes from the folder of its set, or from that of its picture, as in
a metadata.csv beside them. A label lies on the stored pixels of its picture; of another size, it is resampled where the
shape is the same (`files.fit`). Sets are read once, at working resolution, into the cache where archives' frames are
kept; lists of rows stay in memory.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ptsa_lite.checks import known
from ptsa_lite.tasks import Task

from . import cache, files, frames
from .cells import LABELS, is_empty, numbers, opened, paths_of
from .describe import MIXES, Description
from .files import DataError
from .pictures import read_picture
from .prepared import FRAMES_VERSION
from .transforms import shrink

NAMES = {"train": ("train",), "val": ("val", "validation", "test")}  # of splits, the first that is there
HUB = "hf://datasets/"
BUILDERS = {".parquet": "parquet", ".csv": "csv", ".json": "json", ".jsonl": "json", ".arrow": "arrow"}
WANTED = f"the folder of the pictures with metadata.csv, or a file of {', '.join(BUILDERS)}"


@dataclass(frozen=True)
class Table:
    """One set's rows of a split, and how a row becomes a frame."""

    rows: Any  # a datasets.Dataset whose pictures are not decoded, or a list of dicts
    name: str
    base: Path  # from which paths in it go
    stamp: list | None  # changes when its content does; None: in memory
    columns: Mapping[str, str]
    tasks: Mapping[str, Task]

    def __len__(self) -> int:
        return len(self.rows)

    def frame(self, i: int) -> frames.Frame:
        """Raises DataError that names row and column, what was expected and what was found."""
        return frames.read(*self.readers(i))

    def readers(self, i: int) -> frames.Readers:
        row = self.rows[i]
        labels = {task: partial(self._label, task, row, i) for task in self.tasks
                  if not is_empty(row.get(self.columns[task]))}  # fmt: skip
        return partial(self._image, row, i), labels

    def _image(self, row: Mapping, i: int) -> np.ndarray:
        def read(cell) -> np.ndarray:
            if isinstance(cell, np.ndarray) and cell.dtype.kind in "iu" and cell.dtype.itemsize > 2:
                cell = cell.astype(np.uint8) if 0 <= cell.min(initial=0) <= cell.max(initial=0) <= 255 else cell
            return read_picture(cell, turn=False)

        if is_empty(row.get(self.columns["image"])):
            raise DataError("missing", f"{self.name}, row {i}, column {self.columns['image']!r} holds no picture")
        return self._read("image", row, i, 3, read)

    def _label(self, name: str, row: Mapping, i: int, size: tuple[int, int] | None) -> np.ndarray | None:
        """As `frames` keeps it; None where no pixel has one."""
        task = self.tasks[name]

        def read(cell) -> np.ndarray:
            return files.fit(LABELS[task.kind](numbers(cell, task.kind), task), size, "the label")

        label = self._read(name, row, i, 3 if task.kind == "normals" else 1, read)
        return label if frames.labelled(task.moves, label).any() else None

    def _read(self, name: str, row: Mapping, i: int, channels: int, read: Callable) -> np.ndarray:
        column, picture = self.columns[name], row.get(self.columns["image"])
        path = Path(picture.get("path") or "") if isinstance(picture, Mapping) else Path()
        places = [self.base, path.parent] if path.is_absolute() else [self.base]
        try:
            return read(opened(row[column], places, channels))
        except DataError as error:
            raise DataError(error.kind, f"{self.name}, row {i}, column {column!r}: {error}") from None


def tables(described: Description, split: str, root: str | Path = "") -> list[Table]:
    """The sets of a split. Raises ValueError where one is not there, or a column is in none of them."""
    made, every, columns = [], {}, described.columns
    for source in described.sources:
        rows, name, base = _load(source, split, Path(root))
        there = dict.fromkeys(getattr(rows, "column_names", None) or (key for row in rows for key in row))
        if columns["image"] not in there and base.name == name:  # a folder, taken for one of pictures alone
            beside = [path for path in sorted(base.glob("*.*")) if path.suffix in BUILDERS and path.stem != "metadata"]
            name += "".join(f" (to read {path.name}, give path: {path})" for path in beside[:1])
        known(columns["image"], there, f"column of {name}")
        rows, stamp = _undecoded(rows, {*columns.values()} & {*there}, base)
        made.append(Table(rows, f"{split} of {name}", base, stamp, columns, described.tasks))
        every |= there
    for task in described.tasks:
        known(columns[task], every, f"column for task {task!r}:")
    return made


def mix_of(described: Description, split: str) -> str:
    """How the sets of a split are mixed: only frames to train on may come several times."""
    return described.mix if split == "train" else MIXES[0]


def order(lengths: Sequence[int], mix: str) -> list[tuple[int, int]]:
    """(set, row) of each frame: the sets one after the other; or a row of each in turn, until the longest has ended.

    In turns, the rows of a shorter set come again, so that each set has the same say in an epoch.
    """
    if mix == "concatenated":
        return [(k, i) for k, n in enumerate(lengths) for i in range(n)]
    return [(k, i % n) for i in range(max(lengths)) for k, n in enumerate(lengths) if n]


def open_own(described: Description, split: str, work_size: int, n_frames: int | None, root: str | Path):
    """The table of a split's frames at a square size, made where it lacks.

    Raises ValueError where a frame cannot be read, and where no frame has a label of a task.
    """
    hf, sets = cache.hugging_face(), tables(described, split, root)
    rows = order([len(table) for table in sets], mix_of(described, split))[:n_frames]
    needed = [1 + max((i for k, i in rows if k == number), default=-1) for number in range(len(sets))]
    if not rows:
        raise DataError("missing", f"{', '.join(table.name for table in sets)}: there is no frame in it")
    made = [_framed(table, n, work_size, split) for table, n in zip(sets, needed, strict=True) if n]
    whole = hf.concatenate_datasets(made)
    if len(sets) > 1:
        first = np.cumsum([0, *needed])
        whole = whole.remove_columns("index").add_column("index", np.arange(len(whole)))
        whole = whole.select([int(first[k]) + i for k, i in rows])
    where = ", ".join(table.name for table in sets)
    for task in described.tasks:
        if not len(whole) or whole.data.column(task).null_count == len(whole.data):
            raise DataError("missing", f"{where}: none of the {len(whole)} frames has a label for task {task!r}; leave "
                            "it out, or look at its column and its ignore")  # fmt: skip
    whole.info.description = f"{where}, at {work_size}x{work_size}"
    return whole


def _framed(table: Table, n: int, work_size: int, split: str):
    """The first n rows as frames: in the cache where the rows lie in files, else in memory."""

    def frame_at(i: int) -> frames.Frame:
        return shrink(table.frame(i), work_size)

    if table.stamp is None:
        rows = [frames.encode(frame_at(i), i, table.tasks) for i in range(n)]
        return cache.hugging_face().Dataset(frames.table(rows, table.tasks))
    labels = {name: (task.moves, task.channels, task.ignore, task.scale) for name, task in table.tasks.items()}
    key = cache.fingerprint(FRAMES_VERSION, table.stamp, dict(table.columns), labels)
    place = cache.cache_folder() / f"own-{split}-{work_size}-{key}"
    made = cache.build(place, n, frame_at, table.tasks, f"reading {table.name}")
    return cache.open_parts(made, n, table.tasks, table.name)


def _load(source: Any, split: str, root: Path, whole: bool = False) -> tuple[Any, str, Path]:
    """(rows, what they are called, the folder that paths in them start from). whole: what has one split is meant."""
    hf = cache.hugging_face()
    if isinstance(source, Mapping):
        return _load(_of_split(source, split, "the map of splits"), split, root, whole=True)
    if isinstance(source, list | tuple) and source and all(isinstance(row, Mapping) for row in source):
        return source, "the list of rows", root
    if isinstance(source, hf.Dataset):
        if source.format["type"] == "custom":
            raise ValueError("the datasets.Dataset has a transform, which is not carried out here; apply it by .map()")
        return source.with_format(None), "the data set", root
    if not isinstance(source, str | Path):
        raise ValueError(f"data cannot be read from {type(source).__name__}; give a path, a datasets.Dataset or rows")
    path, on_hub = root / source, str(source).startswith(HUB)
    if not on_hub and not path.exists():  # `datasets` would look whether the hub, or its cache, has one of that name
        raise DataError("missing", f"there is no {path}; give {WANTED}")
    name, why = str(source).removeprefix(HUB), ""
    if on_hub and Path(name).exists():  # and `datasets` would take it
        raise DataError("unreadable", f"{source}: {name} lies where you stand, too; give that path, or stand elsewhere")
    try:
        if path.is_file():
            found = hf.load_dataset(BUILDERS[path.suffix.lower()], data_files=str(path))
        elif (path / "state.json").is_file() or (path / "dataset_dict.json").is_file():
            found = hf.load_from_disk(str(path))
        elif on_hub:
            from ptsa_lite.weights.hub import asked_once

            with asked_once() as why:
                found = hf.load_dataset(name)
        else:
            found = hf.load_dataset(str(path))
    except Exception as error:  # `datasets` raises whatever a folder leads it to
        words = why or " ".join(str(error).split())[:200]
        name = source if on_hub else path
        raise DataError("unreadable", f"{name} cannot be read as a data set ({words}); expected {WANTED}") from None
    if isinstance(found, Mapping):
        found = next(iter(found.values())) if whole and len(found) == 1 else _of_split(found, split, str(path))
    return found, Path(source).name, path if path.is_dir() else path.parent


def _of_split(sets: Mapping, split: str, where: str):
    for name in NAMES[split]:
        if name in sets:
            return sets[name]
    raise DataError("missing", f"{where} has no split {split}, only {', '.join(map(str, sets))}; give each a path, as "
                    "path: {train: ..., val: ...}, or measure on every fifth training frame, holdout: 5")  # fmt: skip


def _undecoded(rows, used: set[str], base: Path) -> tuple[Any, list | None]:
    """The rows with pictures as they are stored, and their stamp (`Table`)."""
    if isinstance(rows, list | tuple):
        return rows, None
    import pyarrow.compute as pc

    hf, paths = cache.hugging_face(), []
    rows = rows.select_columns(sorted(used))
    stamp = [rows._fingerprint]
    for column in sorted(used):
        kind, cells = rows.features[column], rows.data.column(column)
        if isinstance(kind, hf.Image):
            rows = rows.cast_column(column, hf.Image(decode=False))
            paths += pc.struct_field(cells, "path").to_pylist()
        elif getattr(kind, "dtype", "") in ("string", "large_string"):
            paths += cells.to_pylist()
    arrays = [name for name, kind in rows.features.items() if isinstance(kind, hf.Array2D | hf.Array3D)]
    if arrays:  # else each comes as lists of Python's numbers
        rows = rows.with_format("numpy", arrays, output_all_columns=True)
    places = [base, *sorted({Path(path).parent for path in filter(None, paths) if Path(path).is_absolute()})]
    for path in filter(None, paths):
        for place in paths_of(path, places):  # without one it is packed with the rows, or missed when it is read
            with suppress(OSError):
                found = os.stat(place)
                stamp.append((os.path.abspath(place), found.st_size, found.st_mtime_ns))
    return rows, stamp
