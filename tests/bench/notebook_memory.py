"""Peak memory of every notebook at its default setting: does one of them fit a machine with 2 GB?

    python tests/bench/notebook_memory.py [05 06 ...] [--out figures/results/notebook_memory.json]

Each notebook is executed by `ptsa_lite.workshop.notebooks.execute` in a process of its own, one after the other.
Memory is the largest resident size that its kernel ever had, as the system tells it when the kernel has ended.
Notebook 05 trains in one process instead of two, as it does by itself where there are 2 GB. A build of PyTorch for GPUs
brings libraries that Binder's build for CPUs does not have: with it, the numbers are bounds from above.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path


def measure(name: str) -> dict:
    """Megabytes of the kernel at its largest."""
    from ptsa_lite.workshop import notebooks
    from ptsa_lite.workshop.places import notebooks_folder

    source = notebooks.choose(notebooks_folder(), [name])[0]
    alone = {"jobs": 1} if "jobs" in notebooks.declared(source) else {}
    with tempfile.TemporaryDirectory() as folder:
        notebooks.execute(source, Path(folder) / "out.ipynb", alone)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # of the largest child: the kernel
    return {"megabytes": round(peak)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="numbers of notebooks; all of them where none is given")
    parser.add_argument("--out", type=Path, default=Path("figures/results/notebook_memory.json"))
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one)))
        return
    import torch

    from ptsa_lite.training.checkpoints import write_json
    from ptsa_lite.workshop import notebooks
    from ptsa_lite.workshop.places import notebooks_folder

    known = json.loads(args.out.read_text())["notebooks"] if args.out.is_file() and args.names else {}
    for source in notebooks.choose(notebooks_folder(), args.names):
        command = [sys.executable, __file__, "--one", source.stem]
        said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        known[source.stem] = json.loads(said)
        print(source.stem, known[source.stem], flush=True)
        about = {"command": "python tests/bench/notebook_memory.py", "torch": torch.__version__,
                 "threads": torch.get_num_threads(), "cores": os.cpu_count()}  # fmt: skip
        write_json(args.out, about | {"notebooks": dict(sorted(known.items()))})


if __name__ == "__main__":
    main()
