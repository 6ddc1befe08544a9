"""The kernel that a notebook runs in, and what papermill tells of its cells on the way."""

import logging
import os
from collections.abc import Callable

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from traitlets import default

from .places import ROOT

Progress = Callable[[int, int, str], None]  # cells finished, cells in all, the last line printed

# A failure is raised, with the notebook's name, and needs no second voice.
logging.getLogger("papermill").setLevel(logging.CRITICAL)


def environment() -> dict[str, str]:
    """The kernel's environment: inline figures, no progress bars that would fill the outputs.

    What you have set yourself stays as you set it, OMP_NUM_THREADS among it. Only the drawing backend does not:
    MPLBACKEND=Agg, set for a test or on a server, would leave every figure out of the outputs.
    """
    quiet = {
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "TQDM_DISABLE": "1",
        "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin while they wait cost more than they give on shared cores
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # else the debugger warns in the first cell
    }
    found = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(ROOT))))  # a clone need not be installed
    return {**quiet, **os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline", "PYTHONPATH": found}


class Kernel(AsyncKernelManager):
    """A kernel of the Python that runs this, in the environment above."""

    @default("kernel_spec_manager")
    def _without_a_search_path(self) -> KernelSpecManager:
        # A kernel "python3" that someone once installed for another Python must not win.
        return KernelSpecManager(kernel_dirs=[])

    async def start_kernel(self, **options) -> None:
        # ipykernel 7 warns at each start that it talks over local TCP, and now and then cries "KeyboardInterrupt" when
        # it is told to end: nothing that a reader can act on. Errors of cells come as outputs, not through its log.
        # Nor does the folder where you stand come before the libraries: it may be a project with a datasets.py.
        quiet = ["--IPKernelApp.log_level=50", "--IPKernelApp.ignore_cwd=True"]
        options["extra_arguments"] = [*options.get("extra_arguments", ()), *quiet]
        await super().start_kernel(**options, env=environment())


class Listener:
    """Where an execution is: told when a cell begins, and a file for what cells print."""

    def __init__(self, progress: Progress, cells: int):
        self.progress, self.cells, self.at = progress, cells, 0

    def begin(self, cell, cell_index: int) -> None:
        self.at = cell_index
        self.progress(self.at, self.cells, "")

    def write(self, text: str) -> None:
        if text.strip():
            self.progress(self.at, self.cells, text.strip().splitlines()[-1])

    def flush(self) -> None:
        pass
