"""Peak memory and seconds of a training step of Swin-T at 448x448, with and without what is meant to save them.

    python tests/bench/step_memory.py [--out figures/results/step_memory.json]

Every variant runs in a process of its own, one after the other, on a CPU: two steps to warm up, three measured. Memory
is what a step adds at its peak to the process that holds model and batch. Only ratios within one run say something.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

VARIANTS = {
    "float32": {"amp": "float32"},
    "float32, checkpointing": {"amp": "float32", "gradient_checkpointing": True},
    "float32, in 2 parts": {"amp": "float32", "accumulate": 2},
    "bfloat16": {"amp": "bfloat16"},
    "bfloat16, checkpointing": {"amp": "bfloat16", "gradient_checkpointing": True},
}
BATCH = 2


def measure(settings: dict) -> dict:
    """Median seconds and peak megabytes of a step of PTSA (1, 1, 2, 4) at ranks 64, 64, 16, 16."""
    import torch

    from ptsa_lite.backbones import load_backbone
    from ptsa_lite.methods import build_model
    from ptsa_lite.recipe import TrainConfig
    from ptsa_lite.tasks import PASCAL
    from ptsa_lite.training.step import Stepper, parameter_groups
    from ptsa_lite.tree import TaskTree

    torch.manual_seed(0)
    tree = next(TaskTree.enumerate(tuple(PASCAL), (1, 1, 2, 4)))
    backbone = load_backbone("swin_tiny_patch4_window7_224", "random", 448, drop_path=0.2)
    model = build_model("ptsa", backbone, PASCAL, tree, rank=(64, 64, 16, 16), dropout=0.05).train()
    config = TrainConfig(batch_size=BATCH, **settings)
    model.set_grad_checkpointing(config.gradient_checkpointing)
    stepper = Stepper(model, PASCAL, config, parameter_groups(model, 0.05))
    normals = torch.nn.functional.normalize(torch.randn(BATCH, 3, 448, 448), dim=1)
    batch = {
        "image": torch.randn(BATCH, 3, 448, 448), "normals": normals,
        "semseg": torch.randint(0, 21, (BATCH, 448, 448)), "human_parts": torch.randint(0, 7, (BATCH, 448, 448)),
        "saliency": (torch.rand(BATCH, 1, 448, 448) > 0.8).float(),
    }  # fmt: skip
    before, seconds = now_mb(), []
    for _ in range(5):
        started = time.perf_counter()
        stepper(batch, 1e-5)
        seconds.append(time.perf_counter() - started)
    return {"seconds": round(statistics.median(seconds[2:]), 2), "megabytes": round(peak_mb() - before)}


def now_mb() -> float:
    """Resident memory of this process (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def peak_mb() -> float:
    """The most that `now_mb` has been (Linux). getrusage's peak is not it: that one begins with the parent's."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("figures/results/step_memory.json"))
    parser.add_argument("--variant", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.variant:
        print(json.dumps(measure(VARIANTS[args.variant])))
        return
    rows = {}
    for name in VARIANTS:
        command = [sys.executable, __file__, "--variant", name]
        rows[name] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        print(name, rows[name], flush=True)
    first = next(iter(rows.values()))
    for row in rows.values():
        for key in ("seconds", "megabytes"):
            row[f"{key}_ratio"] = round(row[key] / first[key], 2)
    import torch

    about = {"command": "python tests/bench/step_memory.py", "batch": BATCH, "img_size": 448, "model": "Swin-T, PTSA "
             "(1, 1, 2, 4), ranks 64, 64, 16, 16", "device": "cpu", "threads": torch.get_num_threads(),
             "instructions": torch.backends.cpu.get_cpu_capability(), "torch": torch.__version__}  # fmt: skip
    from ptsa_lite.training.checkpoints import write_json

    write_json(args.out, about | {"variants": rows})


if __name__ == "__main__":
    main()
