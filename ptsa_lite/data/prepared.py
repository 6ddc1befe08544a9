"""An archive decoded once, at working resolution, as a folder of its own that needs the archive no more.

    OUT/prepared.json            what it holds and was made from
    OUT/NAME-SPLIT-SIZE-KEY/     the frames of a split, in checksummed parts (`store`)

Training frames are kept at 1.5 times the size that is trained at, so that a zoom of 1.5 loses nothing; test frames at
the size itself. A training that is given OUT for the archive's root sees the same samples, bit for bit.
"""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from ptsa_lite.checks import COUNT, check
from ptsa_lite.tasks import suite

from . import frames, store, tables
from .disk import make_folder, read_json, write_json
from .files import NAME, DataError

MANIFEST = "prepared.json"
SPLITS = {"train": 3, "val": 2}  # halves of the size that is trained at


def prepare_archive(
    name: str, root: str | Path, out: str | Path, img_size: int = 448, tasks: Iterable[str] | None = None,
    limit: int | None = None, report: Callable[[str], None] = print,
) -> Path:  # fmt: skip
    """Writes both splits of an archive to a folder, or what lacks of them there, and returns prepared.json's path.

    tasks: those to prepare; by default every task of the suite that the archive has, and those that it lacks are named.
    What is there already is compared with its checksums and kept. Raises ValueError where the folder holds something
    else, where a task that was asked for is missing, or where the disk is too small.
    """
    out = Path(out)
    check({"size": COUNT, "limit": COUNT}, {"size": img_size} | ({} if limit is None else {"limit": limit}))
    available = tables.ARCHIVES[name].open_archive(root).tasks
    chosen = [task for task in suite(name) if task in available] if tasks is None else list(tasks)
    lacking = [task for task in suite(name) if task not in available]
    if lacking:
        report(f"{root} has no labels for {', '.join(lacking)}; the other tasks are prepared")
    listings = {split: tables.list_archive(name, root, split, chosen) for split in SPLITS}
    sizes = {split: img_size * halves // 2 for split, halves in SPLITS.items()}
    manifest = _manifest(name, img_size, chosen, limit, listings)
    before = read_manifest(out) if (out / MANIFEST).is_file() else None
    if before and {key: before.get(key) for key in manifest} != manifest:
        words = f"{before['archive']!r:.80}, at {before['img_size']}"
        raise ValueError(f"{out} holds another preparation ({words}); empty it")
    need = sum(_bytes(sizes[s], chosen) * len(rows.frames[:limit]) for s, rows in listings.items())
    there = sum(path.stat().st_size for path in out.glob("*/*.arrow"))
    make_folder(out)
    free = shutil.disk_usage(out).free
    report(f"{need / 1e9:.2f} GB in all, {there / 1e9:.2f} GB there already, {free / 1e9:.1f} GB free")
    if need - there > free:
        raise ValueError(f"{out} has {free / 1e9:.1f} GB free, and {need / 1e9:.1f} GB are needed; choose another disk")
    splits = {}
    for split, listing in listings.items():
        folder, _, n = tables.build_copy(listing, sizes[split], limit, out, check=True)
        splits[split] = {"folder": folder.name, "work_size": sizes[split], "frames": n}
        report(f"{split}: {n} frames at {sizes[split]}x{sizes[split]} in {folder}")
    write_json(out / MANIFEST, manifest | {"splits": splits})
    return out / MANIFEST


def _manifest(name, img_size, tasks, limit, listings) -> dict:
    archive = listings["train"].archive.describe()
    return {"name": name, "img_size": img_size, "tasks": list(tasks), "limit": limit, "archive": archive}


def _bytes(size: int, tasks: Iterable[str]) -> int:
    """Of a frame, uncompressed: normals as half precision, depth as single, all else a byte a value."""
    width = {"normals": 6, "depth": 4}
    return size * size * (3 + sum(width.get(task, frames.CHANNELS[task]) for task in tasks))


def is_prepared(root: str | Path) -> bool:
    return bool(str(root)) and (Path(root) / MANIFEST).is_file()


def read_manifest(root: str | Path) -> dict:
    """What a prepared folder holds. Raises DataError for a file that is none."""
    path = Path(root) / MANIFEST
    manifest = read_json(path, then="delete it and prepare the archive again")
    try:
        names, tasks = (manifest["name"], manifest["archive"]), manifest["tasks"]
        made = [manifest["splits"][split] for split in SPLITS]
        sizes = [split[key] for split in made for key in ("frames", "work_size")] + [manifest["img_size"]]
        folders = [NAME.fullmatch(split["folder"]) for split in made]  # nothing outside of this folder is read
        known_tasks = isinstance(tasks, list) and all(task in frames.CHANNELS for task in tasks)
        whole = known_tasks and all(folders) and all(map(COUNT[0], sizes)) and all(isinstance(n, str) for n in names)
    except (KeyError, TypeError):
        whole = False
    if not whole:
        raise DataError("unreadable", f"{path} is none that `data prepare` wrote; delete it and prepare again")
    return manifest


def open_prepared(name: str, root: str | Path, split: str, tasks, work_size: int | None, limit: int | None) -> tuple:
    """(table, source, tasks, work size still to be resized to or None) of a split of a prepared folder.

    Raises DataError where it holds another data set, lacks a task or a part, or is smaller than the wanted size.
    """
    manifest, root = read_manifest(root), Path(root)
    if manifest["name"] != name:
        raise DataError("missing", f"{root} holds a prepared {manifest['name']!r:.40}, not {name!r}")
    chosen = tables._ordered(suite(name) if tasks is None else tasks, tables.ARCHIVES[name].TASKS)
    lacking = [task for task in chosen if task not in manifest["tasks"]]
    if lacking:
        raise DataError(
            "missing", f"{root} was prepared without {', '.join(lacking)}; choose among tasks={manifest['tasks']}, or "
            "prepare it anew",
        )  # fmt: skip
    made = manifest["splits"][split]
    if work_size and work_size > made["work_size"]:
        raise DataError("size", f"{root} holds {split} at {made['work_size']}, below {work_size}; prepare it anew")
    n = min(made["frames"], limit or made["frames"])
    parts = store.parts(root / made["folder"], n)
    if not all(parts):
        raise DataError(
            "missing", f"{root / made['folder']} lacks {parts.count(None)} of {len(parts)} parts; prepare it again: "
            "what is there is kept",
        )  # fmt: skip
    words = f"{split}: {manifest['archive']}, prepared at {made['work_size']}x{made['work_size']}"
    table = store.open_parts(parts, n, frames.columns(chosen), words)
    return table, tables.Stored(), chosen, work_size if work_size != made["work_size"] else None
