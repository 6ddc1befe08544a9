"""A training step of the paper's recipe on one GPU: milliseconds, memory, and the share of the GPU's peak that it uses.

    python tests/bench/gpu_step.py [--batch 32] [--size 448] [--out figures/results/gpu_step.json]

Swin-T with random weights, the four PASCAL heads, PTSA (1, 1, 2, 4) at ranks 64, 64, 16, 16, batch 32 on the GPU
already. All steps are timed in turns (A B C, A B C, ...) in one process, after three to warm up, each waiting for the
GPU; a ratio is the median over turns of the ratio within a turn. Memory is torch's peak of allocated bytes in a step,
model and batch included, with one model there at a time. Utilisation is the operations of `reproduction.training_flops`
over peak times seconds; the peak is the data sheet's in 16 bits, and float32's is far lower.
"""

import argparse
import gc
import statistics
import time
from pathlib import Path

import torch
from rivals import random_batch

from ptsa_lite.backbones import load_backbone
from ptsa_lite.costs import count_macs
from ptsa_lite.data.disk import write_json
from ptsa_lite.experiments.reproduction import GPUS, training_flops
from ptsa_lite.methods import build_model
from ptsa_lite.recipe import TrainConfig, parameter_groups
from ptsa_lite.tasks import PASCAL
from ptsa_lite.training.step import Stepper
from ptsa_lite.tree import TaskTree

PTSA = {"method": "ptsa", "rank": (64, 64, 16, 16)}
STEPS = {
    "PTSA, bfloat16": PTSA,
    "PTSA, float32": PTSA | {"amp": "float32"},
    "PTSA, bfloat16, checkpointing": PTSA | {"gradient_checkpointing": True},
    "PTSA, bfloat16, in 2 parts": PTSA | {"accumulate": 2},
    "LoRA, shared, bfloat16": {"method": "lora_shared", "rank": 64},
    "full fine-tuning, bfloat16": {"method": "full_finetune"},
    "decoders only, bfloat16": {"method": "decoders_only"},
    "single tasks, bfloat16": {"method": "single_task"},
}
LOW_RANK = {"dropout": 0.05}
TURNS, WARM = 7, 3


def build(method: str, rank=0, size: int = 448, batch: int = 32, amp: str = "bfloat16", **settings):
    """The step of a method on the GPU, and the multiply-adds of one image."""
    torch.manual_seed(0)
    tree = next(TaskTree.enumerate(tuple(PASCAL), (1, 1, 2, 4))) if method == "ptsa" else None
    backbone = load_backbone("swin_tiny_patch4_window7_224", "random", size, drop_path=0.2)
    model = build_model(method, backbone, PASCAL, tree, **(LOW_RANK | {"rank": rank} if rank else {})).cuda().train()
    config = TrainConfig(batch_size=batch, amp=amp, **settings)
    if config.gradient_checkpointing:
        model.set_grad_checkpointing(True)
    return Stepper(model, PASCAL, config, parameter_groups(model, 0.05)), count_macs(model, size, "all")


def seconds(step, batch) -> float:
    torch.cuda.synchronize()
    started = time.perf_counter()
    step(batch, 1e-5)
    torch.cuda.synchronize()
    return time.perf_counter() - started


def memory_of(settings: dict, batch, size: int) -> dict:
    """Peak of allocated gigabytes in the third step of a model that is alone on the GPU."""
    step, _ = build(**settings, size=size, batch=len(batch["image"]))
    for _ in range(3):
        torch.cuda.reset_peak_memory_stats()
        step(batch, 1e-5)
    torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated() / 1e9
    del step
    gc.collect()
    torch.cuda.empty_cache()
    return {"gigabytes": round(peak, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", default=32, type=int)
    parser.add_argument("--size", default=448, type=int)
    parser.add_argument("--out", type=Path, default=Path("figures/results/gpu_step.json"))
    args = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("torch sees no GPU, and this bench measures one")
    with torch.device("cuda"):
        batch = random_batch(PASCAL, args.size, args.batch)
    rows = {name: memory_of(settings, batch, args.size) for name, settings in STEPS.items()}
    built = {name: build(**settings, size=args.size, batch=args.batch) for name, settings in STEPS.items()}
    turns = [{name: seconds(step, batch) for name, (step, _) in built.items()} for _ in range(WARM + TURNS)][WARM:]
    gpu = torch.cuda.get_device_name()
    peak = next((p for name, p in GPUS.items() if name.removeprefix("NVIDIA ").removesuffix(" SXM") in gpu), None)
    first = next(iter(STEPS))
    for name, row in rows.items():
        took = statistics.median(turn[name] for turn in turns)
        flops = training_flops(built[name][1], (args.batch, 0), 1, 1)
        row |= {
            "milliseconds": round(took * 1e3, 1), "frames_per_second": round(args.batch / took),
            "time_ratio": round(statistics.median(turn[name] / turn[first] for turn in turns), 2),
            "memory_ratio": round(row["gigabytes"] / rows[first]["gigabytes"], 2),
            "utilisation": peak and round(flops / took / peak / 1e12, 3),
        }  # fmt: skip
        print(name, row, flush=True)
    about = {"command": "python tests/bench/gpu_step.py", "gpu": gpu, "peak_tflops": peak, "batch": args.batch,
             "img_size": args.size, "model": "Swin-T, four PASCAL heads; PTSA (1, 1, 2, 4), ranks 64, 64, 16, 16",
             "turns": TURNS, "torch": torch.__version__}  # fmt: skip
    write_json(args.out, about | {"steps": rows})


if __name__ == "__main__":
    main()
