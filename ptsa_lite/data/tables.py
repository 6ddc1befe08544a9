"""The Arrow tables behind the data sets: frames of scenes, paths of an archive, frames of a prepared archive.

Each function returns the table with the source that turns its rows into frames.
"""

import ast
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from ptsa_lite.tasks import PASCAL, SCENES, known, suite

from . import frames, hub_nyuv2, nyud, pascal, store
from .files import DataError, read_frame

ARCHIVES = {"nyud": nyud, "pascal": pascal}
SOURCES = ("scenes", *ARCHIVES, "nyuv2_13")
SCENE_COUNT = {"train": 512, "val": 128}
FIRST_SCENE = {"train": 0, "val": 1_000_000}  # far apart: no scene of val is ever one of train


@dataclass(frozen=True)
class Stored:
    """Rows that hold frames."""

    def read_row(self, row: dict) -> frames.Frame:
        return frames.decode(row)


@dataclass(frozen=True)
class Listed:
    """Rows that hold the paths of a frame's files, relative to the archive's root."""

    archive: nyud.NyudArchive | pascal.PascalArchive
    tasks: tuple[str, ...]

    def read_row(self, row: dict) -> frames.Frame:
        return read_frame(self.archive, row, self.tasks)


@dataclass(frozen=True)
class Listing:
    """One split of an archive: its frames' names, and the tasks that were asked for."""

    name: str
    archive: nyud.NyudArchive | pascal.PascalArchive
    split: str
    frames: list[str]
    tasks: tuple[str, ...]

    def rows(self, tasks, limit: int | None = None) -> list[dict]:
        return [
            {"index": index, "name": name, **self.archive.files(name, tasks)}
            for index, name in enumerate(self.frames[:limit])
        ]


def _archive(name: str, root: str | Path) -> nyud.NyudArchive | pascal.PascalArchive:
    if not str(root):
        raise ValueError(f"data set {name!r} needs root=, the folder of the archive")
    if not Path(root).is_dir():
        raise DataError("missing", f"{root} is no folder; expected the root of the {name} archive")
    return ARCHIVES[name].open_archive(root)


def scene_tasks(tasks) -> tuple[str, ...]:
    """The chosen tasks in the suite's order; the four of PASCAL by default."""
    return _ordered(PASCAL if tasks is None else tasks, SCENES)


def scenes(split: str, size: int, limit: int | None, seed: int, tasks: tuple[str, ...], cache) -> tuple:
    """Rendered on first use, with every label, and kept; a change of the renderer's source renders anew."""
    from ptsa_lite.scenes.render import render_scene

    n, first, title = limit or SCENE_COUNT[split], FIRST_SCENE[split], f"rendering {split} scenes"
    key = store.fingerprint(_source_hash("scenes"), size, seed, split)
    folder = store.cache_folder(cache) / f"scenes-{split}-{size}-{key}"

    def row_at(i: int) -> dict:
        return frames.encode(render_scene(first + i, seed=seed, size=size), i, SCENES)

    paths = store.build(folder, n, row_at, frames.schema(SCENES), title)
    words = f"{split}: {n} procedural scenes, {size}x{size}, seed {seed}"
    return store.open_parts(paths, n, frames.columns(tasks), words), Stored()


def parquet(root: str | Path, split: str, limit: int | None, tasks, cache) -> tuple:
    """(table, source, tasks) of the Hugging Face copy of NYUv2 with 13 classes."""
    if not str(root):
        raise ValueError("data set 'nyuv2_13' needs root=, the folder of the parquet files")
    chosen = _ordered(hub_nyuv2.TASKS if tasks is None else tasks, hub_nyuv2.TASKS)
    paths, n = hub_nyuv2.build(root, split, limit, cache)
    words = f"{split}: NYUv2 with 13 classes (tanganke/nyuv2), {n} frames"
    return store.open_parts(paths, n, frames.columns(chosen), words), Stored(), chosen


def list_archive(name: str, root: str | Path, split: str, tasks) -> Listing:
    """Opens an archive and reads its split list. Raises ValueError where the root or a task's folder is missing."""
    archive = _archive(name, root)
    chosen = _ordered(suite(name) if tasks is None else tasks, ARCHIVES[name].TASKS)
    for task in chosen:
        if task not in archive.tasks:
            raise DataError(
                "missing",
                f"{root} has no folder {archive.folder(task)}, which task {task!r} needs; add it, or choose among "
                f"tasks={archive.tasks}",
            )
    return Listing(name, archive, split, archive.names(split), chosen)


def count(name: str, root: str | Path, split: str, limit: int | None) -> int | None:
    """How many frames a split will have, without reading one; None where only reading tells."""
    from .prepared import is_prepared, read_manifest

    if name == "scenes":
        return limit or SCENE_COUNT[split]
    if name not in ARCHIVES:
        return None
    prepared_there = is_prepared(root)
    n = read_manifest(root)["splits"][split]["frames"] if prepared_there else len(_archive(name, root).names(split))
    return min(n, limit or n)


def listed(listing: Listing, limit: int | None) -> tuple:
    """One row of paths a frame; every file of the chosen tasks must be there. Memory: one frame a read."""
    rows = listing.rows(listing.tasks, limit)
    _stats(listing, rows, listing.tasks)
    hf = store.hugging_face()
    info = hf.DatasetInfo(description=f"{listing.split}: {listing.archive.describe()}, {listing.archive.root}")
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    return hf.Dataset.from_dict(columns, info=info), Listed(listing.archive, listing.tasks)


def prepared(listing: Listing, work_size: int, limit: int | None, cache) -> tuple:
    """The archive's frames at a square working size, decoded once and kept (`build_copy`)."""
    _, paths, n = build_copy(listing, work_size, limit, cache)
    words = f"{listing.split}: {listing.archive.describe()}, {listing.archive.root}, at {work_size}x{work_size}"
    return store.open_parts(paths, n, frames.columns(listing.tasks), words), Stored()


def build_copy(listing: Listing, work_size: int, limit: int | None, cache, check: bool = False) -> tuple:
    """(folder, part files, number of frames) of the prepared copy, building what lacks of it.

    Its folder is named after the archive's files as they are now and the code that reads them, so that a change of
    either makes a new copy. It holds the suite's other tasks too where their files are complete: runs on fewer tasks
    share it.
    """
    from .transforms import shrink

    archive, (labels, stats) = listing.archive, _labels(listing)
    code, root = _source_hash(listing.name, "transforms"), str(archive.root.resolve())
    key = store.fingerprint(code, root, work_size, labels, listing.frames, stats)
    folder = store.cache_folder(cache) / f"{listing.name}-{listing.split}-{work_size}-{key}"
    rows = listing.rows(labels, limit)

    def row_at(i: int) -> dict:
        return frames.encode(shrink(read_frame(archive, rows[i], labels), work_size), i, labels)

    title = f"preparing {listing.split} of {archive.root}"
    return folder, store.build(folder, len(rows), row_at, frames.schema(labels), title, check), len(rows)


def _labels(listing: Listing) -> tuple[tuple[str, ...], dict]:
    """The labels that a prepared copy holds, and the size and time of every file that it is made from."""
    stats = _stats(listing, listing.rows(listing.tasks), listing.tasks)
    labels = set(listing.tasks)
    for task in suite(listing.name):
        if task not in labels and task in listing.archive.tasks:
            try:
                stats |= _stats(listing, listing.rows((task,)), (task,))
            except DataError:
                continue  # nobody asked for it
            labels.add(task)
    return tuple(task for task in ARCHIVES[listing.name].TASKS if task in labels), stats


def _stats(listing: Listing, rows: list[dict], tasks) -> dict[str, tuple[int, int]]:
    """Size and time of each file. Raises DataError that counts the missing ones and names the first."""
    stats, missing = {}, []
    for row in rows:
        for key, path in row.items():
            if key in ("index", "name") or not path:
                continue
            try:
                found = os.stat(listing.archive.root / path)
                stats[path] = (found.st_size, found.st_mtime_ns)
            except OSError:
                missing.append(path)
    if missing:
        raise DataError(
            "missing",
            f"{listing.archive.root} lacks {len(missing)} files of {listing.split} ({', '.join(tasks)}), the first is "
            f"{missing[0]}; `python -m ptsa_lite data verify {listing.name} ROOT` lists them all",
        )
    return stats


def _ordered(tasks, choices) -> tuple[str, ...]:
    names = [known(task, choices, "task") for task in ([tasks] if isinstance(tasks, str) else tasks)]
    if len(set(names)) < len(names) or not names:
        raise ValueError(f"tasks are {names}; name at least one, and each once")
    return tuple(task for task in choices if task in names)


def _source_hash(*modules: str) -> str:
    """Changes with the source of these modules of this folder, and of those that they import from it."""
    here, todo, texts = Path(__file__).parent, list(modules), {}
    while todo:
        path = here / f"{todo.pop()}.py"
        if path.name in texts or not path.is_file():
            continue
        texts[path.name] = path.read_bytes()
        for node in ast.walk(ast.parse(texts[path.name])):
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                todo += [node.module] if node.module else [alias.name for alias in node.names]
    return hashlib.sha256(b"".join(texts[name] for name in sorted(texts))).hexdigest()
