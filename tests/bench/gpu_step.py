"""A training step of every method on one GPU, eager and compiled: time, memory, and what the GPU did with them.

    python tests/bench/gpu_step.py [--batch 32] [--size 448] [--only ptsa,mtlora] [--out figures/results/gpu_step.json]

Swin-T with random weights, the four PASCAL heads, bfloat16, batch 32 on the GPU already; PTSA (1, 1, 2, 4) at ranks
64, 64, 16, 16, other low-rank methods at 64 (on the small Swin all at 16). One model is there at a time. Of each:
seconds to the end of its first step (compiling included), then milliseconds as the median of steps that wait for the
GPU, torch's peak of allocated bytes in a step, and the time of its kernels by kind (torch's profiler). Executed
multiply-adds are those that torch's own counter sees in a step, forward and backward; utilisation is two operations
each over seconds times the peak of the data sheet in 16 bits.

--device cpu tries the whole script without a GPU, on a small Swin at 64x64; its numbers say nothing.
"""

import argparse
import gc
import statistics
import sys
import time
from collections import Counter
from pathlib import Path

import torch
from rivals import random_batch

from ptsa_lite.backbones import load_backbone
from ptsa_lite.costs import macs_of
from ptsa_lite.data.disk import write_json
from ptsa_lite.experiments.reproduction import GPUS
from ptsa_lite.fast import fast
from ptsa_lite.methods import METHODS, build_model
from ptsa_lite.recipe import TrainConfig
from ptsa_lite.tasks import PASCAL
from ptsa_lite.training.formats import short_norms
from ptsa_lite.training.step import Stepper, parameter_groups
from ptsa_lite.tree import TaskTree

RANKS = {"ptsa": (64, 64, 16, 16)}
EXTRA = {  # of PTSA, besides every method eager and compiled
    "ptsa, no CUDA graph": {"cuda_graph": False},
    "ptsa, compiled, no CUDA graph": {"cuda_graph": False, "compile": True},
    "ptsa, float32": {"amp": "float32"},
    "ptsa, checkpointing": {"gradient_checkpointing": True},
    "ptsa, in 2 parts": {"accumulate": 2},
}
KINDS = {  # the first whose part is in a kernel's name
    "products": ("gemm", "cutlass", "nvjet", "xmma", "sm90_", "sm80_"),
    "attention": ("flash", "fmha", "softmax"),
    "norms": ("layer_norm", "batch_norm", "LayerNorm"),
    "copies": ("copy", "Memcpy", "cat", "transpose"),
    "compiled": ("triton",),
    "optimiser": ("adam", "multi_tensor"),
}


def build(method: str, args, **settings) -> Stepper:
    """The step of a method on the device, with something in its adapters' places to train."""
    torch.manual_seed(0)
    tree = next(TaskTree.enumerate(tuple(PASCAL), (1, 1, 2, 4))) if method == "ptsa" else None
    backbone = load_backbone(args.backbone, "random", args.size, drop_path=0.2)
    rank = 16 if args.backbone == "swin_small_distilled" else RANKS.get(method, 64)
    model = build_model(method, backbone, PASCAL, tree, rank=rank, dropout=0.05, **fast("cuda"))
    model = short_norms(model)
    config = TrainConfig(batch_size=args.batch, **{"amp": "bfloat16"} | settings)
    model = model.to(args.device).train()
    model.set_grad_checkpointing(config.gradient_checkpointing)
    return Stepper(model, PASCAL, config, parameter_groups(model, config.weight_decay))


def seconds(step: Stepper, batch) -> float:
    wait = torch.cuda.synchronize if batch["image"].is_cuda else lambda: None
    wait()
    started = time.perf_counter()
    step(batch, 1e-5)
    wait()
    return time.perf_counter() - started


def kernels(step: Stepper, batch) -> dict[str, float]:
    """{kind: milliseconds} of one step's kernels, largest first."""
    activities = [torch.profiler.ProfilerActivity.CUDA if batch["image"].is_cuda else
                  torch.profiler.ProfilerActivity.CPU]  # fmt: skip
    with torch.profiler.profile(activities=activities) as profile:
        seconds(step, batch)
    kinds: Counter[str] = Counter()
    for event in profile.key_averages():
        kind = next((k for k, parts in KINDS.items() if any(part in event.key for part in parts)), "other")
        kinds[kind] += event.self_device_time_total if batch["image"].is_cuda else event.self_cpu_time_total
    return {kind: round(microseconds / 1e3, 1) for kind, microseconds in kinds.most_common()}


def measure(method: str, args, batch, **settings) -> dict:
    on_gpu = args.device == "cuda"
    step = build(method, args, **settings)
    first = seconds(step, batch)
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    took = [seconds(step, batch) for _ in range(3 + args.turns)][3:]
    row = {
        "first_step_s": round(first, 1),
        "ms": round(1e3 * statistics.median(took), 1),
        "gb": round(torch.cuda.max_memory_allocated() / 1e9, 2) if on_gpu else None,
        "kernels_ms": kernels(step, batch),
    }
    if not settings.get("compile"):  # compiled code hides its products from the counter
        row["executed_gmacs"] = round(macs_of(lambda: step._gradients(batch)) / 1e9, 1)
    return row


def leave_nothing(on_gpu: bool) -> None:
    """Gives back what the last model held, so that the next one is alone."""
    gc.collect()
    torch._dynamo.reset()
    if on_gpu:
        torch.cuda.empty_cache()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", default=32, type=int)
    parser.add_argument("--size", default=448, type=int)
    parser.add_argument("--turns", default=10, type=int)
    parser.add_argument("--only", default=",".join(METHODS), help="methods, by comma")
    parser.add_argument("--backbone", default="swin_tiny_patch4_window7_224")
    parser.add_argument("--eager", action="store_true", help="compile nothing, which takes minutes")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--out", type=Path, default=Path("figures/results/gpu_step.json"))
    args = parser.parse_args()
    if args.device == "cpu":
        args.backbone, args.size, args.batch, args.turns = "swin_small_distilled", 64, 2, 1
    elif not torch.cuda.is_available():
        parser.error("torch sees no GPU, and this bench measures one")
    return args


def main() -> None:
    args = arguments()
    with torch.device(args.device):
        batch = random_batch(PASCAL, args.size, args.batch)
    gpu = torch.cuda.get_device_name() if args.device == "cuda" else "none: a try on the processor"
    peak = next((p for name, p in GPUS.items() if name.removeprefix("NVIDIA ").removesuffix(" SXM") in gpu), None)
    rows: dict[str, dict] = {}
    about = {
        "command": " ".join(["python tests/bench/gpu_step.py", *sys.argv[1:]]),
        "gpu": gpu,
        "peak_tflops": peak,
        "batch": args.batch,
        "img_size": args.size,
        "model": f"{args.backbone}, four PASCAL heads",
        "torch": torch.__version__,
    }
    plans = {m: (m, {}) for m in args.only.split(",")} | {f"{m}, compiled": (m, {"compile": True})
                                                          for m in args.only.split(",")}  # fmt: skip
    plans |= {name: ("ptsa", settings) for name, settings in EXTRA.items() if "ptsa" in args.only.split(",")}
    for name, (method, settings) in plans.items():
        if args.eager and settings.get("compile"):
            continue
        row = rows[name] = measure(method, args, batch, **settings)
        leave_nothing(args.device == "cuda")
        macs = row.get("executed_gmacs") or rows.get(method, {}).get("executed_gmacs")
        row["utilisation"] = peak and macs and round(2 * macs * 1e9 / (row["ms"] / 1e3 * peak * 1e12), 3)
        print(
            f"{name:32} {row['ms']:8.1f} ms  {row['gb'] or 0:6.2f} GB  first {row['first_step_s']:6.1f} s  "
            f"{macs or 0:7} GMACs  utilisation {row['utilisation'] or 0:.3f}  {row['kernels_ms']}",
            flush=True,
        )
        write_json(args.out, about | {"steps": rows})  # after each: a call may be cut


if __name__ == "__main__":
    main()
