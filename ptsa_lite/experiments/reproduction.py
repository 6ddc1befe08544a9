"""What notebooks 06 and 07 share: the recipe and its sources, what a row costs, how long it takes, the last table."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from ptsa_lite.backbones import load_backbone
from ptsa_lite.costs import count_macs, count_parameters
from ptsa_lite.tree import TaskTree, tree_score

from .published import NYUD_RESULTS, PASCAL_RESULTS, Published
from .run import Run, build, run_config, run_tasks
from .settings import read_run, rows_of
from .tables import markdown

GPUS = {"NVIDIA T4": 65, "RTX 3090": 71, "RTX 4090": 165, "A100": 312, "H100 SXM": 989}
"""TFLOP/s of dense 16-bit matrix products with float32 sums, as the maker's data sheets give them (R: recalled)."""

FRAMES = {"pascal": (4998, 5105), "nyud": (795, 654)}
"""Frames of the published splits, to train on and to measure on."""


def recipe(run: Run) -> list[tuple[str, ...]]:
    """(setting, here, in the recipe, mark) of everything that decides a training."""
    pairs = [(one, run_config(one)) for one in (run, read_run(run.data, rows_of(run.data)[0]))]
    stated = "P" if run.data == "pascal" else "not stated (P on PASCAL)"
    look = {
        "backbone": (lambda run, c: run.backbone.split(".")[0], "P: Swin; C"),
        "weights": (lambda run, c: "ImageNet-1k" if "." in run.backbone and run.weights == "pretrained" else
                    "packaged" if run.weights == "pretrained" else run.weights, "C"),
        "side in pixels": (lambda run, c: run.img_size, "C"),
        "epochs": (lambda run, c: c.epochs, stated), "batch": (lambda run, c: c.batch_size, stated),
        "peak rate": (lambda run, c: f"{c.lr or c.base_lr * c.batch_size / 512:.4g}", stated),
        "weight decay": (lambda run, c: c.weight_decay, stated),
        "warm-up epochs": (lambda run, c: c.warmup_epochs, "C"),
        "gradient cut at": (lambda run, c: c.clip_norm, "C"), "drop path": (lambda run, c: run.drop_path, "C"),
        "low rank: dropout": (lambda run, c: run.dropout, "C"), "low rank: scale": (lambda run, c: run.scale, "C"),
        "measured every": (lambda run, c: f"{c.eval_every} epochs", stated),
        "loss weights": (lambda run, c: ", ".join(f"{t.loss_weight:g}" for t in run_tasks(run).values()), "C"),
        "number format": (lambda run, c: c.amp, "C: mixed precision"),
    }  # fmt: skip
    return [(name, *(str(value(run, config)) for run, config in pairs), mark) for name, (value, mark) in look.items()]


def row_settings(values: Mapping[str, Any], tasks: Iterable[str]) -> dict:
    """The parameters of notebooks 06 and 07 as changes to a row; lr 0 and no ranks leave the row's own."""
    same = ("img_size", "backbone", "weights", "seed", "drop_path")
    config = ("epochs", "batch_size", "accumulate", "gradient_checkpointing", "warmup_epochs", "eval_every", "workers")
    own = {"config.lr": values["lr"], "rank": values["ranks"]}
    return {
        **{name: values[name] for name in same}, **{f"config.{name}": values[name] for name in config},
        **{name: value for name, value in own.items() if value}, "n_frames": values["limit"] or None,
        "tasks": list(tasks), "similarity.epochs": values["similarity_epochs"],
        "similarity.frames": values["similarity_frames"],
    }  # fmt: skip


def grown_trees(runs: Mapping[str, Run], matrix: Sequence[Sequence[float]]) -> dict[str, tuple[TaskTree, float | None]]:
    """For each run that asks for groups: its best tree by similarity, and by how much the next one scores less (None
    where there is no other)."""
    found = {}
    for name, run in runs.items():
        if run.groups:
            trees = TaskTree.enumerate(run.tasks, run.groups)
            best, *others = sorted((tree_score(tree, matrix, run.tasks) for tree in trees), reverse=True)
            lead = best - others[0] if others else None
            found[name] = TaskTree.from_similarity(matrix, run.tasks, run.groups), lead
    return found


def cost(run: Run) -> dict:
    """Of Swin-Tiny at 448 pixels: an image's multiply-adds in the paper's convention and with all products, and
    parameters by role.

    Nothing is computed and nothing fetched: the model has shapes and no numbers.
    """
    with torch.device("meta"):
        model = build(run, load_backbone("swin_tiny_patch4_window7_224", "random", 448))
    macs = {convention: count_macs(model, convention) for convention in ("paper", "all")}
    return {"label": run.label, "macs": macs, "parameters": count_parameters(model)}


def training_flops(macs: int, frames: Sequence[int], epochs: int, eval_every: int) -> float:
    """2 MACs for a forward, 3 forwards a training frame, 1 a test frame.

    Three, because a backward pass computes gradients of activations and of weights: those of frozen weights fall away,
    so that for adapters this is a bound from above.
    """
    return 2 * macs * (3 * frames[0] * epochs + frames[1] * (epochs // eval_every))


def share_of_peak(macs: int, batch: int, ms: float, tflops: float) -> float:
    """What a step that takes so long makes of a GPU's peak, by the count of `training_flops`: 3 forwards a frame."""
    return 3 * 2 * macs * batch / (tflops * 1e12 * ms / 1000)


def hours(flops: float, tflops: float, utilisation: float) -> float:
    """flops / (tflops 10^12 utilisation) seconds, in hours."""
    return flops / (tflops * 1e12 * utilisation) / 3600


def beside_published(rows: Iterable[dict], data: str, tasks: Iterable[str]) -> str:
    """Our rows (`tables.table_of_methods`), then the published ones, as tables in Markdown: one for each set of
    single-task references, as delta_m under two of them are not to be compared. What is not stated is empty."""
    tasks = list(tasks)
    ours = [Published(row["label"], f"this run, seed {row['seed']}", "", row["metrics"] | {
        "delta_m": row["delta_m"], "trainable_m": row["trainable"] / 1e6}) for row in rows]  # fmt: skip
    tables = {"This page:": ours} if ours else {}
    if data == "pascal":
        tables["Published:"] = PASCAL_RESULTS
    else:
        for words, entries in NYUD_RESULTS.items():
            against = words if words[-1].isdigit() else f"references that are {words}"
            tables[f"Published, delta_m against {against}:"] = entries
    headings = ["", *tasks, "delta_m %", "trainable M", "source"]
    lines = {heading: [
        [one.name, *(_number(one.values.get(t)) for t in tasks), _number(one.values.get("delta_m"), sign=True),
         _number(one.values.get("trainable_m")), one.mark] for one in entries
    ] for heading, entries in tables.items()}  # fmt: skip
    return "\n\n".join(f"**{heading}**\n\n{markdown(headings, rows)}" for heading, rows in lines.items())


def _number(value: float | None, sign: bool = False) -> str:
    digits = 2 if value is None or sign or abs(value) >= 1 else 4
    return "" if value is None else f"{value:{'+' if sign else ''}.{digits}f}"
