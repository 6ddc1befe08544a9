"""Files written whole or not at all, folders for one process at a time, and one sentence where the disk refuses."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout


def write_whole(path: Path, write: Callable[[Path], object], shared: bool = False) -> None:
    """Writes beside the path, flushes to the disk, renames; leaves the old file and nothing else if that fails.

    shared: several processes may write this path at the same time, each beside it under a name of its own.
    Raises OSError naming the path, the reason and the free space.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part" if shared else f".{path.name}.part")
    try:
        write(beside)
        with open(beside, "rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    except (OSError, RuntimeError) as error:  # torch and safetensors raise their own kinds for a full disk
        raise OSError(refusal(path, error)) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def write_into(path: Path, save: Callable[[BinaryIO], object]) -> None:
    """`write_whole` for what saves into an open file, because np.save and torch.export want names of their own."""

    def write(beside: Path) -> None:
        with beside.open("wb") as file:
            save(file)

    write_whole(path, write)


def write_text(path: Path, text: str, shared: bool = False) -> None:
    """A text file, whole or not at all, with the same line ends on every system."""
    write_whole(path, lambda beside: beside.write_text(text, encoding="utf-8", newline="\n"), shared)


def write_json(path: Path, content, shared: bool = False) -> None:
    """Plain values as a JSON file, whole or not at all."""
    write_text(path, json.dumps(content, indent=1) + "\n", shared)


def read_json(path: Path, kind: type = dict, then: str = "delete it to start again"):
    """What `write_json` wrote. Raises ValueError naming the file where it is no JSON, or holds another kind of value.

    then: what to do about it, as the end of that sentence.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))  # as some editors save it
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as JSON ({error}); {then}") from None
    if not isinstance(content, kind):
        words = {dict: "names with values", list: "a list"}[kind]
        raise ValueError(f"{path} holds no {words} but {type(content).__name__}; {then}")
    return content


def make_folder(folder: Path) -> Path:
    """The folder itself, made where it is not there. Raises OSError in one sentence where it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(refusal(folder, error)) from error
    return folder


@contextmanager
def alone(folder: Path, waiting: str = "") -> Iterator[None]:
    """The folder, made where it is not there, for this process alone while the block runs.

    The system gives a lock back when its process ends, however it ends: nothing is ever held by the dead. Where another
    process is at work there, this one prints `waiting` and waits, or raises ValueError where nothing is to be said.
    Raises OSError where nothing can be written.
    """
    lock = FileLock(make_folder(folder) / ".lock")
    try:
        held = lock.acquire(timeout=0)
    except Timeout:
        if not waiting:
            words = f"another process is at work in {folder}; wait until it is done, or give another folder"
            raise ValueError(words) from None
        print(waiting, flush=True)
        held = lock.acquire()
    except OSError as error:
        raise OSError(refusal(folder, error)) from error
    with held:
        yield


def refusal(path: Path, error: Exception) -> str:
    """The sentence for a path that cannot be written: where, why, and how much is free there."""
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
    return f"cannot write {path} ({reason}; {free_space(path)}); make room there or choose another folder"


def free_space(path: Path) -> str:
    """How much room there is where a path lies or would lie, in words."""
    try:
        there = next(place for place in (path, *path.absolute().parents) if place.exists())
        return f"{shutil.disk_usage(there).free / 1e9:.1f} GB free"
    except (OSError, StopIteration):
        return "free space unknown"
