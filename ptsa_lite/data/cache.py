"""Frames kept on disk as Arrow, in parts of 32: built once, resumed where it stopped, read through a memory map.

A folder holds one series of frames, in files START-STOP-CHECKSUM.arrow. A part is written beside and renamed, so that
a half-written one never has such a name. The first n frames of a series are the same whatever n is: a longer series
reuses the parts of a shorter one. One process builds at a time; a second one waits and then finds the parts there.

`datasets` reads the parts. Its own ways to write (save_to_disk, from_generator, map) do not serve here: they begin
again after a kill, keep no checksum, and a longer series takes nothing from a shorter one.
"""

import hashlib
import json
import os
import re
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from . import frames
from .disk import alone, refusal, write_whole

PART = 32  # frames in a part
NAME = re.compile(r"(\d{6,})-(\d{6,})-([0-9a-f]{8})\.arrow")


def cache_folder() -> Path:
    """Where rendered scenes and prepared archives are kept: $PTSA_CACHE, else ~/.cache/ptsa_lite."""
    return Path(os.environ.get("PTSA_CACHE") or "~/.cache/ptsa_lite").expanduser()


def fingerprint(*what) -> str:
    """16 hexadecimal digits that change with anything in `what` (whatever JSON can hold)."""
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def parts(folder: Path, n: int) -> list[Path | None]:
    """The file of each part that the first n frames need, None where it is still to be built."""
    there: dict[int, tuple[int, Path]] = {}
    for path in folder.glob("*.arrow"):
        if match := NAME.fullmatch(path.name):
            start, stop = int(match[1]), int(match[2])
            there[start] = max(there.get(start, (0, path)), (stop, path))
    found = [(min(start + PART, n), *there.get(start, (0, None))) for start in range(0, n, PART)]
    return [path if stop >= needed else None for needed, stop, path in found]


def build(
    folder: Path, n: int, frame_at: Callable[[int], frames.Frame], labels: Iterable[str], title: str, check=False
) -> list[Path]:
    """Builds what lacks of the first n frames of a series and returns the parts' files, in order.

    frame_at(i) makes frame i, in several threads at a time; labels: those that a frame may have. With `check`, the
    checksum of every part that is there is compared first, and a part that differs is built anew. Raises OSError with
    the folder, the reason and the free space where it cannot be written.
    """
    found = parts(folder, n)
    if all(found) and not check:
        return found

    def row_at(i: int) -> dict:
        return frames.encode(frame_at(i), i, labels)

    try:
        with alone(folder, waiting=f"{title}: another process is at it; waiting for it to finish"):
            for stale in folder.glob(".*.part"):  # left by a process that was killed
                stale.unlink()
            found = [path if path and (not check or intact(path)) else None for path in parts(folder, n)]
            todo = {k: range(k * PART, min((k + 1) * PART, n)) for k, path in enumerate(found) if path is None}
            with progress(sum(map(len, todo.values())), title) as bar, ThreadPoolExecutor(os.cpu_count()) as pool:
                for k, indices in todo.items():
                    rows = []
                    for row in pool.map(row_at, indices):  # decoding and resizing let other threads work
                        rows.append(row)
                        bar.update()
                    found[k] = _write(folder, indices, frames.table(rows, labels))
    except OSError as error:
        where = refusal(folder, error.__cause__ or error)
        raise OSError(f"{title}: {where} by PTSA_CACHE; finished parts are kept") from error
    return found


def progress(total: int, title: str):
    """A bar of tqdm's, on the terminal or in the log, for what takes longer than a few seconds."""
    from tqdm import tqdm

    return tqdm(total=total, desc=title, unit=" frames", delay=5, mininterval=5, leave=False, dynamic_ncols=True)


def _write(folder: Path, indices: range, table) -> Path:
    """Writes a part, whose name holds the checksum of its content."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    content = sink.getvalue()
    path = folder / f"{indices.start:06d}-{indices.stop:06d}-{zlib.crc32(content):08x}.arrow"
    write_whole(path, lambda beside: beside.write_bytes(content))
    for older in folder.glob(f"{indices.start:06d}-*.arrow"):  # a shorter or a damaged one of the same start
        if older != path:
            with suppress(PermissionError):  # Windows keeps a file that some data set has open
                older.unlink()
    return path


def intact(path: Path) -> bool:
    """Whether a part still has the content that its name was made from."""
    return int(NAME.fullmatch(path.name)[3], 16) == zlib.crc32(path.read_bytes())


def open_parts(paths: list[Path], n: int, labels: Iterable[str], description: str):
    """The first n frames of a series, with these labels, as a `datasets.Dataset` over memory maps."""
    hf, columns = hugging_face(), frames.columns(labels)
    info = hf.DatasetInfo(description=description)
    tables = []
    for path in paths:
        try:
            tables.append(hf.Dataset.from_file(str(path), info=info))
        except Exception as error:  # Arrow raises whatever a part that was cut short leads it to
            words = f"{path} is damaged ({type(error).__name__})"
            raise ValueError(f"{words}; delete it, and prepare the archive or draw the scenes again") from error
    if lacking := {*columns} - {*tables[0].column_names}:
        words = f"{paths[0].parent} has no {', '.join(sorted(lacking))}, as one of an earlier version"
        raise ValueError(f"{words}; delete it, and prepare the archive again")
    return hf.concatenate_datasets(tables, info=info).select(range(n)).select_columns(columns)


def hugging_face():
    """The `datasets` library, imported when it is first needed (it takes seconds), without its progress bars."""
    import datasets

    datasets.disable_progress_bars()
    return datasets
