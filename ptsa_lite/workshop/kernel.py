"""The kernel that a notebook runs in: a papermill engine that tells what cells print, and names a kernel that died."""

import logging
import os
from collections.abc import Callable

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellExecutionError, DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines

Progress = Callable[[int, int, str], None]  # cells finished, cells in all, the last line printed


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
    return {**quiet, **os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline"}


class Engine(NBClientEngine):
    """Papermill's own engine with the client below."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, progress=None, **kwargs):
        log = logging.getLogger(__name__)
        log.setLevel(logging.CRITICAL)  # a failure is raised, with the notebook's name, and needs no second voice
        # ipykernel 7 warns at each start that it talks over local TCP, and now and then cries "KeyboardInterrupt" when
        # it is told to end: nothing that a reader can act on. Errors of cells come as outputs, not through its log.
        client = Client(nb_man, kernel_name=kernel_name, startup_timeout=120, log=log,
                        extra_arguments=["--IPKernelApp.log_level=50"])  # fmt: skip
        client.progress = progress
        return client.execute(env=environment())


class Client(PapermillNotebookClient):
    """Runs the cells in a kernel of the Python that runs this, and says what it is doing."""

    progress: Progress | None = None

    def create_kernel_manager(self):
        # No search path: a kernel "python3" that someone once installed for another Python must not win.
        specs = KernelSpecManager(kernel_dirs=[])
        self.km = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=specs)
        return self.km

    def execute(self, **kwargs):
        # Papermill's own asks the kernel about itself at the end, where a dead one does not answer.
        self.reset_execution_trackers()
        with self.setup_kernel(**kwargs):
            self.papermill_execute_cells()
        return self.nb

    def execute_cell(self, cell, cell_index, **kwargs):
        self._tell(cell_index)
        try:
            return super().execute_cell(cell, cell_index, **kwargs)
        except DeadKernelError:
            # As an error output, it is written into the notebook and raised by papermill like any other.
            words = "the kernel died, most often for want of memory"
            cell.outputs.append(nbformat.v4.new_output("error", ename="DeadKernel", evalue=words, traceback=[words]))
            raise CellExecutionError(words, "DeadKernel", words) from None

    def process_message(self, msg, cell, cell_index):
        output = super().process_message(msg, cell, cell_index)
        if msg["msg_type"] == "stream" and msg["content"]["name"] == "stdout" and msg["content"]["text"].strip():
            self._tell(cell_index, msg["content"]["text"].strip().splitlines()[-1])
        return output

    def _tell(self, cell_index: int, line: str = "") -> None:
        if self.progress:
            self.progress(cell_index, len(self.nb.cells), line)


papermill_engines.register("ptsa_lite", Engine)
