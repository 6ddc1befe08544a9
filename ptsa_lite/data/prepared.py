"""An archive decoded once, at working resolution: in the cache, or as a folder that needs the archive no more.

    OUT/prepared.json            what it holds and was made from
    OUT/NAME-SPLIT-SIZE-KEY/     the frames of a split, in checksummed parts (`cache`)

Training frames are kept at 1.5 times the size that is trained at, so that a zoom of 1.5 loses nothing; test frames at
the size itself. A training that is given OUT for the archive's root sees the same samples, bit for bit.
"""

import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from ptsa_lite.checks import COUNT, check, or_none
from ptsa_lite.tasks import suite

from . import cache, frames
from .archive import Archive
from .disk import make_folder, read_json, write_json
from .files import NAME, DataError
from .listing import ARCHIVES, tasks_of
from .transforms import shrink

FRAMES_VERSION = 2
"""Part of every prepared copy's key. It grows whenever a change of the readers of archives, of `transforms.shrink` or
of `frames` changes a value of a prepared frame, and never otherwise: no line end and no comment makes a copy anew."""

MANIFEST = "prepared.json"
SPLITS = {"train": 3, "val": 2}  # halves of the size that is trained at


def build_copy(
    archive: Archive, split: str, tasks: Iterable[str], work_size: int, n_frames: int | None, folder: Path,
    check: bool = False,
) -> tuple[list[Path], int]:  # fmt: skip
    """(part files, number of frames) of a split's frames at a square size, building what lacks of it.

    Its folder is named after the archive's files as they are now and FRAMES_VERSION, so that a change of either makes a
    new copy. It holds the suite's other tasks too where their files are complete: runs on fewer tasks share it.
    """
    name, names, stats, labels = archive.layout.name, archive.names(split), archive.stats(split, tasks), {*tasks}
    for task in suite(name):
        if task not in labels and task in archive.tasks:
            with suppress(DataError):  # nobody asked for it
                stats |= archive.stats(split, [task])
                labels.add(task)
    held = tuple(task for task in archive.layout.tasks if task in labels)
    key = cache.fingerprint(FRAMES_VERSION, str(archive.root.resolve()), work_size, held, names, stats)
    place, n = folder / f"{name}-{split}-{work_size}-{key}", len(names[:n_frames])

    def frame_at(i: int) -> frames.Frame:
        return shrink(archive.frame(names[i], held), work_size)

    return cache.build(place, n, frame_at, held, f"preparing {split} of {archive.root}", check), n


def prepare_archive(
    name: str, root: str | Path, out: str | Path, img_size: int = 448, tasks: Iterable[str] | None = None,
    n_frames: int | None = None, report: Callable[[str], None] = print,
) -> Path:  # fmt: skip
    """Writes both splits of an archive to a folder, or what lacks of them there, and returns prepared.json's path.

    tasks: those to prepare; by default every task of the suite that the archive has, and those that it lacks are named.
    n_frames: the first so many of each split. What is there already is compared with its checksums and kept. Raises
    ValueError where the folder holds something else, where a task that was asked for is missing, or where the disk is
    too small.
    """
    out = Path(out)
    check({"size": COUNT, "n_frames": or_none(COUNT)}, {"size": img_size, "n_frames": n_frames})
    archive = ARCHIVES[name].open(root)
    lacking = [task for task in suite(name) if task not in archive.tasks]
    chosen = [task for task in suite(name) if task not in lacking] if tasks is None else [*tasks_of(name, tasks)]
    if lacking:
        report(f"{root} has no labels for {', '.join(lacking)}; the other tasks are prepared")
    archive.need(chosen)
    sizes = {split: img_size * halves // 2 for split, halves in SPLITS.items()}
    manifest = {"name": name, "img_size": img_size, "tasks": chosen, "n_frames": n_frames}
    manifest["archive"] = archive.described
    before = read_manifest(out) if is_prepared(out) else None
    if before and {key: before.get(key) for key in manifest} != manifest:
        words = f"{before['archive']!r:.80}, at {before['img_size']}"
        raise ValueError(f"{out} holds another preparation ({words}); empty it")
    pixel = 3 + sum(frames.nothing(frames.KINDS[task], 1, 1).nbytes for task in chosen)
    need = sum(size**2 * pixel * len(archive.names(split)[:n_frames]) for split, size in sizes.items())
    there = sum(path.stat().st_size for path in out.glob("*/*.arrow"))
    make_folder(out)
    free = shutil.disk_usage(out).free
    report(f"{need / 1e9:.2f} GB in all, {there / 1e9:.2f} GB there already, {free / 1e9:.1f} GB free")
    if need - there > free:
        raise ValueError(f"{out} has {free / 1e9:.1f} GB free, and {need / 1e9:.1f} GB are needed; choose another disk")
    splits = {}
    for split, size in sizes.items():
        (first, *_), n = build_copy(archive, split, chosen, size, n_frames, out, check=True)
        splits[split] = {"folder": first.parent.name, "work_size": size, "frames": n}
        report(f"{split}: {n} frames at {size}x{size} in {first.parent}")
    write_json(out / MANIFEST, manifest | {"splits": splits})
    return out / MANIFEST


def is_prepared(root: str | Path) -> bool:
    """Whether a folder is one that `prepare_archive` wrote."""
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
        known_tasks = isinstance(tasks, list) and all(task in frames.KINDS for task in tasks)
        whole = known_tasks and all(folders) and all(map(COUNT[0], sizes)) and all(isinstance(n, str) for n in names)
    except (KeyError, TypeError):
        whole = False
    if not whole:
        raise DataError("unreadable", f"{path} is none that `data prepare` wrote; delete it and prepare again")
    return manifest


def open_prepared(name: str, root: str | Path, split: str, tasks: Iterable[str], work_size: int, n_frames: int | None):
    """The table of a split of a prepared folder, whose frames may be larger than the wanted size.

    Raises DataError where it holds another data set, lacks a task or a part, or is smaller than the wanted size.
    """
    manifest, root = read_manifest(root), Path(root)
    if manifest["name"] != name:
        raise DataError("missing", f"{root} holds a prepared {manifest['name']!r:.40}, not {name!r}")
    lacking = [task for task in tasks if task not in manifest["tasks"]]
    if lacking:
        words = f"{root} was prepared without {', '.join(lacking)}; choose among tasks={manifest['tasks']}"
        raise DataError("missing", f"{words}, or prepare it anew")
    made = manifest["splits"][split]
    if work_size > made["work_size"]:
        raise DataError("size", f"{root} holds {split} at {made['work_size']}, below {work_size}; prepare it anew")
    n = min(made["frames"], n_frames or made["frames"])
    parts = cache.parts(root / made["folder"], n)
    if not all(parts):
        words = f"{root / made['folder']} lacks {parts.count(None)} of {len(parts)} parts"
        raise DataError("missing", f"{words}; prepare it again: what is there is kept")
    words = f"{split}: {manifest['archive']}, prepared at {made['work_size']}x{made['work_size']}"
    return cache.open_parts(parts, n, tasks, words)
