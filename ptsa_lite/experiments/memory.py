"""How much memory there is: the machine's, or the share of it that a container may use."""

import contextlib
import os
from pathlib import Path

# Where a container's limit stands, in version 2 and version 1 of Linux' control groups.
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
PROCESS = 1.5e9  # bytes that a process takes which trains the small Swin, PyTorch itself included


def total(limits=LIMITS) -> float:
    """Bytes that this process and all that it starts may take together; infinity where the system does not say."""
    found = [float("inf")]
    with contextlib.suppress(AttributeError, ValueError, OSError):  # not every system has these names
        found.append(float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")))
    for path in limits:
        text = path.read_text().strip() if path.is_file() else ""
        if text.isdigit():  # "max" is no limit
            found.append(float(text))
    return min(found)


def processes(wanted: int, limits=LIMITS) -> int:
    """As many of the processes wanted as have room beside each other; always one."""
    return int(max(1, min(wanted, total(limits) // PROCESS)))
