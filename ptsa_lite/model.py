"""A frozen backbone, a tree of adapters and one head per task: images in, every task's prediction out."""

import copy
import itertools
import reprlib
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from .checks import SIZE
from .families import Backbone
from .heads import HRNetHead
from .lora import GroupedLoRALinear, Route
from .tasks import Task, known
from .tree import TaskTree

EXTRAS = ("patch_embed.", ".norm", "downsample.", "relative_position_bias_table", "cpb_mlp.", "logit_scale")
"""What MTLoRA's line trains in the backbone besides adapters: patch embedding, norms, mergings, position tables
(in SwinV2 what stands for these)."""


class MultiTaskModel(nn.Module):
    """Images (B, 3, H, W) -> {task: (B, C, H, W)}.

    rank: of the adapters, one number or one a stage; 0 leaves a stage without. A stage with several groups needs some.
    scale, dropout: of `GroupedLoRALinear`. head: called with (channels, outputs).

    A stage with G groups holds its activations as (G*B, h, w, C), group-major, and runs as one stack; between stages a
    group's activations go to its children; task t's head reads its group's slice of every stage.
    """

    def __init__(
        self,
        backbone: Backbone,
        tasks: dict[str, Task],
        tree: TaskTree | None = None,
        rank: int | Sequence[int] = 0,
        scale: float = 4.0,
        dropout: float = 0.0,
        head=HRNetHead,
    ):
        super().__init__()
        self.backbone, self.tasks = backbone, dict(tasks)
        self.tree = tree or TaskTree.shared(tuple(tasks), backbone.n_stages)
        self.ranks = check_ranks(rank, backbone.n_stages)
        self.scale, self.checkpoint_stages = scale, False
        check_tree(self.tree, self.tasks, self.ranks)
        self._adapt(scale, dropout)
        self.heads = nn.ModuleDict({name: head(backbone.channels, task.channels) for name, task in tasks.items()})
        self._routes: dict[tuple, list] = {}

    def _adapt(self, scale: float, dropout: float) -> None:
        for stage, parent, name, linear in list(self.backbone.adapted_linears()):
            if self.ranks[stage]:
                groups = self.tree.n_groups[stage]
                setattr(parent, name, GroupedLoRALinear(linear, groups, self.ranks[stage], scale, dropout))

    @property
    def img_size(self) -> tuple[int, int]:
        """Height and width that the backbone was made for."""
        return self.backbone.img_size

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute each stage in the backward pass rather than keep its activations: less memory, more time."""
        self.checkpoint_stages = enable

    # ---- forward --------------------------------------------------------------------------------------------------

    def forward(self, images: Tensor, tasks: Iterable[str] | None = None, resize: bool = True) -> dict[str, Tensor]:
        """tasks: run only these and the branches they need. resize=False leaves predictions at the heads' stride 8."""
        names = self._asked(tasks)
        out = {name: self.heads[name](maps) for name, maps in self.features(images, names).items()}
        if resize:
            size = images.shape[-2:]
            out = {n: F.interpolate(p.float(), size, mode="bilinear", align_corners=False) for n, p in out.items()}
        return out

    def _asked(self, tasks: Iterable[str] | None) -> tuple[str, ...]:
        return tuple(self.tasks) if tasks is None else tuple(known(t, self.tasks, "task") for t in tasks)

    def features(self, images: Tensor, tasks: Sequence[str]) -> dict[str, list[Tensor]]:
        """What each task's head reads: its group's maps (B, h, w, C) after every stage."""
        x = self.backbone.patch_embed(images)  # (B, h, w, C)
        maps: dict[str, list[Tensor]] = {task: [] for task in tasks}
        for stage, (route, place) in enumerate(self._routes_for(tuple(tasks), images.device)):
            if self.checkpoint_stages and self.training:
                x = checkpoint(self._stage, stage, x, route, use_reentrant=False)
            else:
                x = self._stage(stage, x, route)  # (G*B, h', w', C')
            groups = x.view(-1, len(images), *x.shape[1:])
            for task in tasks:
                maps[task].append(groups[place[task]])
        return maps

    def _stage(self, stage: int, x: Tensor, route: Route) -> Tensor:
        for block in self.backbone.blocks(stage):
            x = self.backbone.run_block(block, x, route)
            route = route.arrived()
        merging = self.backbone.merging(stage)
        return x if merging is None else merging(x)

    def _routes_for(self, tasks: tuple[str, ...], device) -> list[tuple[Route, dict[str, int]]]:
        """For every stage its route and each task's place in the stack. Computed once per set of tasks."""
        key = (tasks, str(device))
        if key not in self._routes:
            with torch.inference_mode(False):  # a tensor born under inference_mode could never serve a training
                self._routes[key] = routes(self.tree, tasks, device)
        return self._routes[key]

    def __getstate__(self):
        return self.__dict__ | {"_routes": {}}

    # ---- what it is, and without adapters ----------------------------------------------------------------------------

    def description(self) -> dict:
        """Everything but the weights that decides what the model computes, as plain values.

        An adapter file must agree on it with the model that loads it, but for the size of the images.
        """
        return {
            "backbone": self.backbone.name,
            "widths": list(self.backbone.widths),
            "img_size": list(self.img_size),
            "tasks": {name: {"kind": task.kind, "channels": task.channels} for name, task in self.tasks.items()},
            "heads": sorted({type(head).__name__ for head in self.heads.values()}),
            "tree": self.tree.to_dict(),
            "ranks": list(self.ranks),
            "scale": self.scale if any(self.ranks) else None,  # without adapters there is nothing to scale
            "adapted": sorted({name for _, _, name, _ in self.backbone.adapted_linears()}),
        }

    def merge(self) -> "MultiTaskModel":
        """A copy without low-rank work: one weight per group. With one group everywhere, a plain timm backbone."""
        merged = copy.deepcopy(self).eval().requires_grad_(False)
        for _, parent, name, layer in list(merged.backbone.adapted_linears()):
            if isinstance(layer, GroupedLoRALinear):
                setattr(parent, name, layer.merged())
        return merged


def routes(tree: TaskTree, tasks: Sequence[str], device=None) -> list[tuple[Route, dict[str, int]]]:
    """For every stage: which groups the tasks need, which parent each comes from, where each task stands."""
    result, before = [], [0]
    for stage, n_groups in enumerate(tree.n_groups):
        number = {task: tree.group_of(stage, task) for task in tasks}
        present = sorted(set(number.values()))
        came_from = [before.index(tree.parents(stage)[g]) for g in present]
        route = Route(
            None if len(present) == n_groups else torch.tensor(present, device=device),
            None if came_from == list(range(len(before))) else torch.tensor(came_from, device=device),
            len(before),
        )
        result.append((route, {task: present.index(g) for task, g in number.items()}))
        before = present
    return result


def check_ranks(rank: int | Sequence[int], n_stages: int) -> tuple[int, ...]:
    """One rank for all stages, or one each; ValueError on another length or a negative one."""
    ranks = tuple(rank) if isinstance(rank, list | tuple) else (rank,) * n_stages
    if len(ranks) != n_stages or not all(map(SIZE[0], ranks)):
        words = f"give one whole number, 0 or more, or {n_stages} of them, one a stage"
        raise ValueError(f"rank {reprlib.repr(rank)}: {words}")
    return ranks


def check_tree(tree: TaskTree, tasks: dict[str, Task], ranks: Sequence[int]) -> None:
    """The tree is over these tasks, has a stage for each of the backbone's, and adapters wherever it has groups."""
    if set(tree.tasks) != set(tasks):
        raise ValueError(f"the tree is over {', '.join(tree.tasks)}, the model's tasks are {', '.join(tasks)}")
    if len(tree.stages) != len(ranks):
        raise ValueError(f"the tree has {len(tree.stages)} stages, the backbone {len(ranks)}; make it with as many")
    for number, (groups, rank) in enumerate(itertools.zip_longest(tree.n_groups, ranks), 1):
        if groups > 1 and rank == 0:
            raise ValueError(f"stage {number} has {groups} groups and rank 0: without adapters they are all the same")


def freeze(model: nn.Module, trained: Sequence[str] = EXTRAS) -> list[str]:
    """Freeze the backbone but for adapters and names that contain one of `trained`; returns what stayed trainable.

    Heads always train. The only place where that is decided: make the optimiser after it, from what it returns.
    """
    names = []
    for name, parameter in model.named_parameters():
        in_backbone = name.startswith("backbone.") or ".backbone." in name
        adapter = "lora_" in name or "task_A" in name or "task_B" in name
        parameter.requires_grad_(not in_backbone or adapter or any(part in name for part in trained))
        if parameter.requires_grad:
            names.append(name)
    return names


