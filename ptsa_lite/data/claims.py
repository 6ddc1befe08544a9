"""One process at a time: a file that is locked while somebody works on what it stands for.

The system itself gives a lock back when its process ends, however it ends; so nothing is ever held by the dead.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def claim(path: Path) -> Iterator[bool]:
    """Whether this process alone holds the file's lock while the block runs; the file goes with the lock."""
    with path.open("a") as file:
        # Whoever had it before may have removed the file after we opened it: then our lock holds nothing.
        mine = _lock(file.fileno()) and _is_at(file.fileno(), path)
        try:
            yield mine
        finally:
            if mine:
                with suppress(PermissionError):  # Windows keeps a file that is open
                    path.unlink()


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _lock(file: int) -> bool:
    """Lock an open file without waiting; False where another has it. The system unlocks it when the process ends."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True
