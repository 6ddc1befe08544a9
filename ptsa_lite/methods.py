"""The rows of the comparison by name: which model each one is, and what it trains."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any

from torch import nn

from .checks import POSITIVE, SHARE, check, known
from .families import Backbone
from .model import MultiTaskModel, freeze
from .tasks import Task
from .tree import TaskTree


@dataclass(frozen=True)
class Method:
    """One row: the name that tables print, and what `build_model` needs to know."""

    title: str
    tree: Callable[[Sequence[str], int], TaskTree] | None = None  # of its own; PTSA is given one
    low_rank: bool = True  # takes a rank
    roles: tuple[str, ...] | None = None  # that train; None: those of `model.ROLES`
    biases: bool = False  # every bias trains
    alone: str = ""  # one model for each task, each built by this method
    rival: str = ""  # file:class of `baselines`, imported only when it is asked for


EVERYTHING = ("heads", "patch_embed", "positions", "norms", "merging", "backbone")
TABLES = ("heads", "positions")
PROMPTS = ("heads", "adapters")
ADAPTERS = ("heads", "adapters", "norms")  # as in Houlsby's line; MTLoRA's trains more
NO_MERGING = ("heads", "adapters", "patch_embed", "positions", "norms")

METHODS = {
    "single_task": Method("Single task", low_rank=False, alone="full_finetune"),
    "full_finetune": Method("Full fine-tuning", low_rank=False, roles=EVERYTHING),
    "decoders_only": Method("Decoders only", low_rank=False, roles=("heads",)),
    "adapter": Method("Adapter, one per task", TaskTree.separate, roles=ADAPTERS, rival="adapter:AdapterModel"),
    "bitfit": Method("BitFit", low_rank=False, roles=("heads",), biases=True),
    "vpt_shallow": Method("VPT-shallow", TaskTree.separate, roles=PROMPTS, rival="vpt:VPTModel"),
    "vpt_deep": Method("VPT-deep", TaskTree.separate, roles=PROMPTS, rival="vpt:DeepVPTModel"),
    "compacter": Method("Compacter", TaskTree.separate, roles=ADAPTERS, rival="compacter:CompacterModel"),
    "relative_bias": Method("Relative bias", low_rank=False, roles=TABLES, rival="relative_bias:RelativeBiasModel"),
    "single_task_lora": Method("Single task, LoRA", alone="lora_shared"),
    "lora_shared": Method("LoRA, shared", TaskTree.shared),
    "lora_separate": Method("LoRA, one per task", TaskTree.separate),
    "dora_shared": Method("DoRA, shared", TaskTree.shared, rival="dora:DoRAModel"),
    "dora_separate": Method("DoRA, one per task", TaskTree.separate, rival="dora:DoRAModel"),
    "hyperformer": Method("HyperFormer", TaskTree.separate, roles=ADAPTERS, rival="hyperformer:HyperFormerModel"),
    "hyperformer_plus": Method("HyperFormer++", TaskTree.separate, roles=ADAPTERS, rival="hyperformer:PlusModel"),
    "polyhistor": Method("Polyhistor", TaskTree.separate, roles=ADAPTERS, rival="polyhistor:PolyhistorModel"),
    "polyhistor_lite": Method("Polyhistor-Lite", TaskTree.separate, roles=ADAPTERS, rival="polyhistor:LiteModel"),
    "mtlora": Method("MTLoRA", TaskTree.shared, rival="mtlora:MTLoRAModel"),
    "ditask": Method("DiTASK", TaskTree.shared, rival="ditask:DiTASKModel"),
    "tadformer": Method("TADFormer", TaskTree.shared, roles=NO_MERGING, rival="tadformer:TADFormerModel"),
    "ptsa": Method("PTSA (TGLoRA)"),
}
"""Every method by the name that code uses, in the tables' order."""


def build_model(
    method: str,  # a key of METHODS
    backbone: Backbone,  # is copied
    tasks: dict[str, Task],
    tree: TaskTree | None = None,  # for `ptsa` only, which needs one
    rank: int | Sequence[int] = 16,  # of the low-rank methods
    **options: Any,  # those of `MultiTaskModel`, or of the rival's own model
) -> nn.Module:
    """A model ready to train: adapters in, everything frozen that the method freezes.

    All low-rank methods also train patch embedding, norms, patch mergings and position tables, as MTLoRA's line does.
    Raises ValueError on an unknown method, no task, or a tree that is missing or not taken, or an option out of range.
    """
    row = METHODS[known(method, METHODS, "method")]
    check({"scale": POSITIVE, "dropout": SHARE}, options)
    check({
        "backbone": (lambda v: isinstance(v, Backbone), "a backbone, as load_backbone returns it"),
        "tasks": (lambda v: isinstance(v, dict) and bool(v) and all(isinstance(task, Task) for task in v.values()),
                  "a map of names to tasks, at least one: PASCAL, NYUD, or a selection of them"),
        "tree": (lambda v: v is None or isinstance(v, TaskTree), "a TaskTree, such as TaskTree.parse reads"),
    }, locals())  # fmt: skip
    if taken := [name for name in tasks if "." in name or name == "backbone" or hasattr(nn.ModuleDict, name)]:
        raise ValueError(f"task {taken[0]!r} cannot be called so, as parts of the model are; name it otherwise")
    if (tree is not None) != (method == "ptsa"):
        raise ValueError("ptsa needs a tree" if method == "ptsa" else f"{method} has its own tree; leave out {tree}")
    if row.alone:
        each = {name: build_model(row.alone, backbone, {name: task}, None, rank, **options)
                for name, task in tasks.items()}  # fmt: skip
        return resolve_name("ptsa_lite.baselines.single_task:SingleTaskModels")(each)
    if row.tree:
        tree = row.tree(tuple(tasks), backbone.n_stages)
    make = resolve_name(f"ptsa_lite.baselines.{row.rival}") if row.rival else MultiTaskModel
    model = make(copy.deepcopy(backbone), tasks, tree, rank if row.low_rank else 0, **options)
    freeze(model, row.roles, row.biases)
    return model
