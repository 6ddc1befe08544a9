"""The paper's model: a frozen backbone, adapters that part along a tree of tasks, a head for each task."""

import copy
import reprlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .checks import SIZE
from .families import Backbone
from .heads import HRNetHead
from .lora import GroupedLoRALinear
from .resize import resize as resize_to
from .tasks import Task, select
from .tree import TaskTree


class Role(NamedTuple):
    """What a parameter is for, and what happens to it."""

    title: str  # in tables
    parts: tuple[str, ...]  # of its name, one is enough
    trains: bool  # in the low-rank methods, as the MTLoRA line does it
    decays: bool  # by weight decay; biases and vectors never do


TABLES = ("relative_position_bias_table", "cpb_mlp.", "logit_scale")

ROLES = {
    "heads": Role("heads", ("heads.",), trains=True, decays=True),
    "adapters": Role("adapters", ("lora_", "task_", "adapter"), trains=True, decays=True),
    "patch_embed": Role("patch embedding", ("patch_embed.", "stem."), trains=True, decays=True),
    "positions": Role("position tables", TABLES, trains=True, decays=False),
    "norms": Role("norms", ("norm",), trains=True, decays=False),
    "merging": Role("patch merging", ("downsample",), trains=True, decays=True),
    "backbone": Role("backbone weights and biases", ("",), trains=False, decays=True),
}
"""The one table that decides what is frozen, what decays and what is counted as what: the first role that fits."""


def role_of(name: str) -> str:
    """The role of a parameter by its name in the model."""
    if "backbone." in name:  # in front of it may stand a task's name, and one task is called normals
        name = name.rpartition("backbone.")[2]
    return next(role for role, about in ROLES.items() if any(part in name for part in about.parts))


def freeze(model: nn.Module, roles: Iterable[str] | None = None, biases: bool = False) -> list[str]:
    """Lets the parameters of these roles train and freezes all others; by default what ROLES says.

    biases: train every bias too, whatever its role. Returns the names of what trains; make the optimiser after it.
    """
    roles = select(ROLES, (role for role in ROLES if ROLES[role].trains) if roles is None else roles, "role")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(role_of(name) in roles or (biases and name.endswith("bias")))
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


class MultiTaskModel(nn.Module):
    """Images (B, 3, H, W) -> {task: (B, C, H, W)}."""

    own: dict[str, Any] = {}  # a rival's own options, which its files tell

    def __init__(
        self,
        backbone: Backbone,  # four stages, whose linear layers are replaced in place; `freeze` freezes what is left
        tasks: dict[str, Task],
        tree: TaskTree | None = None,  # which tasks share a group at each stage; all of them everywhere by default
        rank: int | Sequence[int] = 0,  # of the adapters, of all stages or one each; 0 leaves a stage without
        scale: float = 4.0,  # of the low-rank term
        dropout: float = 0.0,  # of its input
        layer: Callable[..., nn.Module] = GroupedLoRALinear,  # of (linear, groups, rank, scale, dropout)
        head: Callable[..., nn.Module] = HRNetHead,  # of (channels of the maps, outputs of the task)
    ):
        super().__init__()
        self.backbone = backbone
        self.img_size = backbone.img_size
        self.tasks = dict(tasks)
        self.tree = tree or TaskTree.shared(tuple(tasks), backbone.n_stages)
        self.ranks = check_ranks(rank, backbone.n_stages)
        self.scale = scale
        self.checkpoint_stages = False
        check_tree(self.tree, self.tasks, self.ranks)
        for stage, parent, name, linear in list(backbone.adapted_linears()):
            groups, R = self.tree.n_groups[stage], self.ranks[stage]
            if R and not isinstance(linear, nn.Linear):
                raise ValueError(f"{backbone.name}: {name} is a {type(linear).__name__}; adapters need linear ones")
            if R:
                setattr(parent, name, layer(linear, groups, R, scale, dropout))
        self.heads = nn.ModuleDict({name: head(backbone.channels, task.channels) for name, task in tasks.items()})

    def forward(self, images: Tensor, resize: bool = True) -> dict[str, Tensor]:
        """resize=False leaves predictions at the heads' stride 8, which is cheaper for losses and metrics."""
        out = {task: self.heads[task](maps) for task, maps in self.features(images).items()}
        if not resize:
            return out
        return {task: resize_to(y.float(), images.shape[-2:]) for task, y in out.items()}

    def features(self, images: Tensor) -> dict[str, list[Tensor]]:
        """What each task's head reads: its group's map (B, h, w, C) after every stage."""
        x = self.backbone.embed(images)[None]  # (1, B, h, w, C): before the first stage all tasks are one group
        maps: dict[str, list[Tensor]] = {task: [] for task in self.tasks}
        for s, groups in enumerate(self.tree.n_groups):
            if self.tree.parents(s) != tuple(range(len(x))):  # each group begins where its parent ended
                x = torch.stack([x[parent] for parent in self.tree.parents(s)])  # (G, B, h, w, C)
            x = self._stage(s, x.flatten(0, 1))  # (G*B, h, w, C)
            read = self.backbone.map(s, x).unflatten(0, (groups, -1))
            x = x.unflatten(0, (groups, -1))
            for task in self.tasks:
                maps[task].append(read[self.tree.group_of(s, task)])
        return maps

    def _stage(self, stage: int, x: Tensor) -> Tensor:
        if self.checkpoint_stages and self.training:
            return checkpoint(self.backbone.stage, stage, x, use_reentrant=False)
        return self.backbone.stage(stage, x)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute each stage in the backward pass rather than keep its activations: less memory, more time."""
        self.checkpoint_stages = enable

    def only(self, tasks: Iterable[str]) -> "MultiTaskModel":
        """A copy that predicts some of the tasks, and runs no group but theirs."""
        asked, model = select(self.tasks, tasks), copy.deepcopy(self)
        model.tasks = asked
        model.tree = self.tree.only(asked)
        model.heads = nn.ModuleDict({name: model.heads[name] for name in model.tasks})
        for stage, parent, name, layer in list(model.backbone.adapted_linears()):
            if not isinstance(layer, nn.Linear | nn.Conv2d):  # a plain layer serves all groups
                groups = {self.tree.group_of(stage, task) for task in asked}
                setattr(parent, name, layer.only(sorted(groups)))
        return model.train(self.training)

    def merge(self) -> "MultiTaskModel":
        """A copy without low-rank work: one weight for each group. With one group everywhere, timm's plain backbone."""
        model = copy.deepcopy(self).eval()
        for _, parent, name, layer in list(model.backbone.adapted_linears()):
            if hasattr(layer, "merged"):
                setattr(parent, name, layer.merged())
        return model.requires_grad_(False)


def check_ranks(rank: int | Sequence[int], n_stages: int) -> tuple[int, ...]:
    """One rank for all stages, or one each; ValueError on another length or a negative one."""
    ranks = tuple(rank) if isinstance(rank, Sequence) else (rank,) * n_stages
    if len(ranks) != n_stages or not all(map(SIZE[0], ranks)):
        raise ValueError(f"rank {reprlib.repr(rank)}: give a whole number, 0 or more, or {n_stages} of them")
    return ranks


def check_tree(tree: TaskTree, tasks: dict[str, Task], ranks: Sequence[int]) -> None:
    """The tree is over these tasks, has a stage for each of the backbone's, and adapters wherever it has groups."""
    if set(tree.tasks) != set(tasks):
        raise ValueError(f"the tree is over {', '.join(tree.tasks)}, the model's tasks are {', '.join(tasks)}")
    if len(tree.stages) != len(ranks):
        raise ValueError(f"the tree has {len(tree.stages)} stages, the backbone {len(ranks)}; make it with as many")
    for number, (groups, rank) in enumerate(zip(tree.n_groups, ranks, strict=True), 1):
        if groups > 1 and rank == 0:
            raise ValueError(f"stage {number} has {groups} groups and rank 0: without adapters they are all the same")
