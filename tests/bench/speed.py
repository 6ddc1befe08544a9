"""How fast the model trains and predicts against the plain ways to do the same, in one table.

    python tests/bench/speed.py [--quick] [--nyud ROOT] [--threads 2] [--out figures/results/speed.json]

Swin-T with random weights, 448x448, two images, float32, tree (1, 2, 2, 4), rank 16, the four PASCAL heads. What is
compared runs in turns (A B C, A B C, ...) in one process; a ratio is the median over turns of the ratio within a turn,
with its quartiles, by wall clock; by CPU time of the process beside it, which other work on the machine disturbs less.
Peak memory is measured in a process for each variant. --quick is a try at 224x224, in a minute.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from kept import kept_for_backward
from rivals import LoopOverGroups, LoopOverTasks, MTLoRAInTurn, Peft, random_batch, without_adapters
from step_memory import now_mb, peak_mb

from ptsa_lite.backbones import load_backbone
from ptsa_lite.costs import macs_of
from ptsa_lite.data import make_loader, open_dataset
from ptsa_lite.fast import fast
from ptsa_lite.heads import HRNetHead
from ptsa_lite.lora import GroupedLoRALinear
from ptsa_lite.losses import total_loss
from ptsa_lite.methods import build_model
from ptsa_lite.recipe import TrainConfig
from ptsa_lite.similarity import compared_weights, task_gradients
from ptsa_lite.tasks import NYUD, PASCAL
from ptsa_lite.training.checkpoints import write_json
from ptsa_lite.training.step import Stepper, parameter_groups
from ptsa_lite.tree import TaskTree

BATCH, RANK, GROUPS, SHARED = 2, 16, (1, 2, 2, 4), (1, 1, 1, 1)
SWIN_T = "swin_tiny_patch4_window7_224"

# name: (what, against what, at most; None where nothing was promised)
TARGETS = {
    "training step / loop over tasks": ("step", "step, loop over tasks", 0.60),
    "training step / loop over groups": ("step", "step, loop over groups", 0.95),
    "training step, all shared / peft": ("step, all shared", "step, peft", 1.05),
    "MTLoRA's step / by its authors' operations": ("step, MTLoRA", "step, MTLoRA in turn", 0.90),
    "training step / frozen backbone's forward": ("step", "timm forward", None),
    "plain core / training step": ("step, plain", "step", None),
    "plain layer, quick head / training step": ("step, plain layer", "step", None),
    "quick layer, plain head / training step": ("step, plain head", "step", None),
    "merged / frozen groups": ("merged forward", "frozen groups forward", 1.05),
    "merged, all shared / timm": ("merged forward, all shared", "timm forward", None),
    "similarity of a sample / training step": ("similarity", "step", None),
}
MEMORY = ("step", "step, loop over tasks", "step, loop over groups", "step, all shared", "step, peft", "step, plain")
MTLORA = ("step, MTLoRA", "step, MTLoRA in turn")
PLAIN = {  # what `ptsa_lite.fast` offers, taken back
    "step, plain": {"layer": GroupedLoRALinear, "head": HRNetHead},
    "step, plain layer": {"layer": GroupedLoRALinear},
    "step, plain head": {"head": HRNetHead},
}


def build(groups=GROUPS, size=448, backbone=SWIN_T, tasks=PASCAL, rank=RANK, method="ptsa", **options):
    """A model to train as the recipe does, with something in its adapters."""
    torch.manual_seed(0)
    frozen = load_backbone(backbone, "random", size, drop_path=0.2)
    tree = next(TaskTree.enumerate(tuple(tasks), groups)) if method == "ptsa" else None
    model = build_model(method, frozen, tasks, tree, rank=rank, dropout=0.05, **fast() | options)
    for name, parameter in model.named_parameters():
        if "_B" in name:
            torch.nn.init.normal_(parameter, std=0.01)
    return model.train()


def stepper(model, batch) -> Callable[[], object]:
    step = Stepper(model, model.tasks, TrainConfig(batch_size=len(batch["image"])), parameter_groups(model, 0.05))
    return lambda: step(batch, 1e-5)


def variant(name: str, size: int):
    """The model of a training step, by its name in MEMORY or PLAIN."""
    if name in MTLORA:
        model = build(size=size, method="mtlora")
    else:
        model = build(SHARED if name in ("step, all shared", "step, peft") else GROUPS, size, **PLAIN.get(name, {}))
    rivals = {"step, loop over tasks": LoopOverTasks, "step, loop over groups": LoopOverGroups, "step, peft": Peft,
              "step, MTLoRA in turn": MTLoRAInTurn}  # fmt: skip
    return rivals[name](model).train() if name in rivals else model


def step_of(name: str, batch) -> Callable[[], object]:
    return stepper(variant(name, batch["image"].shape[-1]), batch)


def contestants(batch) -> dict[str, Callable[[], object]]:
    """Everything that takes a turn, in the order of the turns."""
    images = batch["image"]
    ours, shared = (build(groups, images.shape[-1]).eval() for groups in (GROUPS, SHARED))
    frozen, merged, merged_shared = without_adapters(ours).eval(), ours.merge(), shared.merge()
    one = {key: value[:1] for key, value in batch.items()}
    measured = build_model("decoders_only", load_backbone(SWIN_T, "random", images.shape[-1]), PASCAL)
    measured.eval().requires_grad_(False)
    weights = [w.requires_grad_(True) for stage in compared_weights(measured) for w in stage]
    a, b = torch.randn(2, 2048, 2048)

    def similarity():
        task_gradients(measured, one, PASCAL, weights)

    result = {name: step_of(name, batch) for name in dict.fromkeys([*MEMORY, *PLAIN, *MTLORA])} | {
        "similarity": similarity
    }
    return result | {name: torch.inference_mode()(call) for name, call in {
        "timm forward": lambda: frozen.backbone(images),
        "forward": lambda: ours.features(images),
        "forward with heads": lambda: ours(images, resize=False),
        "frozen groups forward": lambda: frozen.features(images),
        "merged forward": lambda: merged.features(images),
        "merged forward, all shared": lambda: merged_shared.features(images),
        "matrix product": lambda: a @ b,
    }.items()}  # fmt: skip


def take_turns(calls: dict[str, Callable], turns: int, warm_up: int = 1) -> dict[str, np.ndarray]:
    """{name: (turns, 2)} seconds by wall clock and of this process's CPU."""
    seconds = {name: [] for name in calls}
    for _ in range(warm_up + turns):
        for name, call in calls.items():
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            seconds[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {name: np.array(values[warm_up:]) for name, values in seconds.items()}


def spread(values) -> dict:
    """Median and quartiles over turns."""
    low, middle, high = np.percentile(values, (25, 50, 75))
    return {"median": float(f"{middle:.4g}"), "quartiles": [float(f"{low:.4g}"), float(f"{high:.4g}")]}


def ratio(a: np.ndarray, b: np.ndarray, at_most: float | None = None) -> dict:
    """a / b, turn by turn; at_most: the target that it is held to."""
    quotient = a / b
    return spread(quotient[:, 0]) | {"cpu": float(f"{np.median(quotient[:, 1]):.4g}"), "at_most": at_most}


def compare(size: int, turns: int) -> dict:
    batch = random_batch(PASCAL, size, BATCH)
    calls = contestants(batch)
    seconds = take_turns(calls, turns)
    macs = {name: macs_of(calls[name]) for name in ("step", "forward", "forward with heads", "timm forward")}
    macs["matrix product"] = 2048**3
    per_mac = {name: seconds[name] / count for name, count in macs.items()}
    ratios = {name: ratio(seconds[a], seconds[b], limit) for name, (a, b, limit) in TARGETS.items()}
    ratios["seconds a multiply-add, forward / timm"] = ratio(per_mac["forward"], per_mac["timm forward"], 1.15)
    ratios["the same, with heads"] = ratio(per_mac["forward with heads"], per_mac["timm forward"])
    ratios["training step / arithmetic floor"] = ratio(per_mac["step"], per_mac["matrix product"])
    return {
        "seconds": {name: spread(values[:, 0]) | {"cpu": spread(values[:, 1])["median"]} for name, values in
                    seconds.items()},
        "executed_gmacs": {name: round(count / 1e9, 3) for name, count in macs.items()},
        "ratios": ratios,
    }  # fmt: skip


def small(turns: int) -> dict:
    """Steps of the small Swin as the notebooks train it, whose heads weigh more, and what is quick taken back."""
    batch = random_batch(NYUD, 128, 16)
    options = {"step": {}} | PLAIN
    calls = {name: stepper(build((1, 1, 2, 4), 128, "swin_small_distilled", NYUD, 8, **plain), batch)
             for name, plain in options.items()}  # fmt: skip
    seconds = take_turns(calls, turns)
    return {f"{name} / step": ratio(seconds[name], seconds["step"]) for name in PLAIN}


def peak_memory(name: str, size: int) -> int:
    """Megabytes that three steps add at their peak to the process that holds model and batch."""
    step = step_of(name, random_batch(PASCAL, size, BATCH))
    before = now_mb()
    for _ in range(3):
        step()
    return round(peak_mb() - before)


def memory(args, size: int) -> dict:
    found = {}
    for name in MEMORY:
        command = [sys.executable, __file__, "--memory-of", name, "--threads", str(args.threads)]
        command += ["--quick"] if args.quick else []
        found[name] = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    first, loop = found["step"], found["step, loop over tasks"]
    return {"megabytes": found, "ratios": {
        "peak memory / loop over tasks": {"median": round(first / loop, 3), "at_most": 0.65},
        "peak memory / loop over groups": {"median": round(first / found["step, loop over groups"], 3)},
        "peak memory, all shared / peft": {"median": round(found["step, all shared"] / found["step, peft"], 3)},
    }}  # fmt: skip


def kept(size: int) -> dict:
    """{variant: {place: megabytes}} that one forward and its losses keep for the backward pass; no clock is read."""
    batch, found = random_batch(PASCAL, size, BATCH), {}
    for name in MEMORY:
        model = variant(name, size)
        places = kept_for_backward(model, lambda model=model: total_loss(PASCAL, model(batch["image"], resize=False),
                                                                         batch)[0])  # fmt: skip
        found[name] = {place: round(n / 2**20, 1) for place, n in places.items()}
    return found


def loading(root: str, size: int, batches: int) -> dict:
    """Seconds a batch that two workers deliver while nobody computes, after their start."""
    data = open_dataset("nyud", root, img_size=size) if root else open_dataset("scenes", img_size=size, n_frames=48)
    seconds = []
    for epoch in range(1 + batches * BATCH // len(data)):
        stream = iter(make_loader(data, BATCH, seed=0, epoch=epoch, workers=2))
        for _ in range(4):
            next(stream)
        begun, count = time.perf_counter(), sum(1 for _ in stream)
        seconds.append((time.perf_counter() - begun) / count)
    return spread(seconds) | {"frames": "nyud" if root else "scenes", "workers": 2}


def scaling(turns: int) -> dict:
    """Steps of the packaged small Swin, one thing changed at a time; seconds relative to the first of each row."""
    kinds = list(PASCAL.values())
    many = {n: {f"{kinds[i % 4].name} {i // 4}": kinds[i % 4] for i in range(n)} for n in (2, 4, 8, 16)}
    axes = {
        "tasks, groups (1, 2, 2, 2)": [(n, dict(tasks=t, groups=(1, 2, 2, 2))) for n, t in many.items()],
        "groups in stages 3 and 4": [(g, dict(tasks=many[8], groups=(1, 1, g, g))) for g in (1, 2, 4, 8)],
        "rank": [(r, dict(rank=r)) for r in (4, 8, 16, 32)],
        "image size": [(s, dict(size=s)) for s in (64, 128, 192, 256)],
        "batch": [(n, dict(n=n)) for n in (1, 2, 4, 8)],
    }
    result = {}
    for axis, points in axes.items():
        calls = {}
        for value, options in points:
            options = {"size": 64, "n": 4, "rank": 8} | options
            batch = random_batch(options.get("tasks", PASCAL), options["size"], options.pop("n"))
            model = build(**options, backbone="swin_small_distilled")
            calls[f"{value}"] = stepper(model, batch)
            calls[f"{value}, without heads"] = backbone_step(model, batch["image"])
        seconds = take_turns(calls, turns)
        result[axis] = {
            "values": [value for value, _ in points],
            "seconds": [spread(seconds[f"{value}"][:, 0]) for value, _ in points],
            "without_heads": [spread(seconds[f"{value}, without heads"][:, 0]) for value, _ in points],
            "gmacs_without_heads": [round(macs_of(calls[f"{value}, without heads"]) / 1e9, 3) for value, _ in points],
        }
    return result


def backbone_step(model, images) -> Callable[[], object]:
    """Forward and backward of everything but the heads."""

    def work():
        sum(m.square().mean() for m in {id(m): m for maps in model.features(images).values() for m in maps
                                       }.values()).backward()  # fmt: skip
        model.zero_grad()

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--nyud", default="", help="an NYUD archive, for the loader's row; otherwise scenes")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", default="compare,small,memory,kept,loading,scaling", help="parts, by comma")
    parser.add_argument("--memory-of", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    size, turns = (224, args.turns or 2) if args.quick else (448, args.turns or 5)
    if args.memory_of:
        print(peak_memory(args.memory_of, size))
        return
    before = json.loads(args.out.read_text()) if args.out and args.out.is_file() else {}  # parts that are not asked for
    found = before | {
        "command": "python tests/bench/speed.py" + " --quick" * args.quick + " --nyud ROOT" * bool(args.nyud)
                   + f" --turns {turns}",
        "model": f"Swin-T, PTSA {GROUPS}, rank {RANK}, PASCAL heads", "img_size": size, "batch": BATCH,
        "device": "cpu", "processors": os.cpu_count(), "threads": args.threads, "turns": turns, "dtype": "float32",
        "torch": torch.__version__, "ratios_by": "wall clock, median over turns; cpu: by CPU time of the process",
    }  # fmt: skip
    work = {
        "compare": lambda: compare(size, turns),
        "small": lambda: {"small_swin": small(turns)},
        "memory": lambda: {"memory": memory(args, size)},
        "kept": lambda: {"kept_mb": kept(size)},
        "loading": lambda: {"loading": loading(args.nyud, size, 8 if args.quick else 40)},
        "scaling": lambda: {"scaling": scaling(3)},
    }
    for part in args.only.split(","):
        new = work[part]()
        print_table(new) if part == "compare" else print(json.dumps(new), flush=True)
        found |= new
        if args.out:  # after each part: a run of a quarter of an hour may be cut
            write_json(args.out, found)


def print_table(found: dict) -> None:
    for name, row in found["seconds"].items():
        print(f"{name:44} {row['median']:8.3f} s   {row['quartiles'][0]:.3f} to {row['quartiles'][1]:.3f}")
    for name, row in found["ratios"].items():
        limit = "" if row["at_most"] is None else f"   target {row['at_most']}"
        print(f"{name:44} {row['median']:8.3f}     {row['quartiles'][0]:.3f} to {row['quartiles'][1]:.3f}"
              f"   cpu {row['cpu']:.3f}{limit}")  # fmt: skip
    print(found["executed_gmacs"], flush=True)


if __name__ == "__main__":
    main()
