"""The plain ways to compute what the model computes, as someone would write them: a loop over tasks, one over groups,
and `peft` where all tasks share. Blocks are timm's own. The model must meet their predictions and gradients.
"""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ptsa_lite.lora import GroupedLoRALinear
from ptsa_lite.model import MultiTaskModel, freeze


class PlainLoRALinear(nn.Module):
    """W x + b + s B_g A_g x for one group at a time; whoever runs it sets `group` first."""

    def __init__(self, grouped: GroupedLoRALinear):
        super().__init__()
        self.base, self.scale, self.dropout, self.group = grouped.base, grouped.scale, grouped.dropout, 0
        self.lora_A = nn.ParameterList(a.detach().clone() for a in grouped.lora_A)
        self.lora_B = nn.ParameterList(b.detach().clone() for b in grouped.lora_B)

    def forward(self, x: Tensor) -> Tensor:
        low = self.dropout(x) @ self.lora_A[self.group].T @ self.lora_B[self.group].T
        return self.base(x) + self.scale * low


class Rival(nn.Module):
    """A copy of a model's parts, every group's pair on its own."""

    def __init__(self, model: MultiTaskModel):
        super().__init__()
        self.tasks, self.tree = model.tasks, model.tree
        self.backbone, self.heads = copy.deepcopy(model.backbone), copy.deepcopy(model.heads)
        self.layers: list[list[PlainLoRALinear]] = [[] for _ in range(self.backbone.n_stages)]
        for stage, parent, name, grouped in list(self.backbone.adapted_linears()):
            self.layers[stage].append(PlainLoRALinear(grouped))
            setattr(parent, name, self.layers[stage][-1])

    def forward(self, images: Tensor, resize: bool = False) -> dict[str, Tensor]:
        return {task: self.heads[task](maps) for task, maps in self.features(images)}

    def features(self, images: Tensor) -> Iterator[tuple[str, list[Tensor]]]:
        raise NotImplementedError

    def run(self, stage: int, group: int, x: Tensor) -> Tensor:
        for layer in self.layers[stage]:
            layer.group = group
        return self.backbone.stage(stage, x)


class LoopOverTasks(Rival):
    """Every task runs its whole path through the tree."""

    def features(self, images):
        for task in self.tasks:
            x, maps = self.backbone.embed(images), []
            for stage in range(self.backbone.n_stages):
                x = self.run(stage, self.tree.group_of(stage, task), x)
                maps.append(x)
            yield task, maps


class LoopOverGroups(Rival):
    """Every group of every stage runs once, on what its parent left."""

    def features(self, images):
        before, stages = [self.backbone.embed(images)], []
        for stage in range(self.backbone.n_stages):
            parents = self.tree.parents(stage)
            before = [self.run(stage, group, before[parent]) for group, parent in enumerate(parents)]
            stages.append(before)
        for task in self.tasks:
            yield task, [maps[self.tree.group_of(stage, task)] for stage, maps in enumerate(stages)]


class Peft(nn.Module):
    """The `peft` library's LoRA on the same layers, for a tree that all tasks share; what else trains is the same."""

    def __init__(self, model: MultiTaskModel):
        import peft

        super().__init__()
        self.tasks, backbone = model.tasks, without_adapters(model).backbone
        layers = [layer for layer in model.backbone.modules() if isinstance(layer, GroupedLoRALinear)]
        config = peft.LoraConfig(
            r=layers[0].rank, lora_alpha=layers[0].rank * layers[0].scale, lora_dropout=layers[0].dropout.p,
            target_modules=["qkv", "proj", "fc1", "fc2"], exclude_modules=r"patch_embed\.proj",
        )  # fmt: skip
        self.backbone, self.heads = peft.get_peft_model(backbone, config), copy.deepcopy(model.heads)
        theirs = [m for m in self.backbone.modules() if hasattr(m, "lora_A") and hasattr(m, "base_layer")]
        for ours, other in zip(layers, theirs, strict=True):
            other.lora_A["default"].weight.data.copy_(ours.lora_A[0])
            other.lora_B["default"].weight.data.copy_(ours.lora_B[0])
        freeze(self.backbone)

    def forward(self, images: Tensor, resize: bool = False) -> dict[str, Tensor]:
        maps = self.backbone(images)
        return {task: self.heads[task](maps) for task in self.tasks}


def without_adapters(model: MultiTaskModel) -> MultiTaskModel:
    """The same frozen groups, stacked the same way, and nothing low-rank."""
    frozen = copy.deepcopy(model)
    for _, parent, name, layer in list(frozen.backbone.adapted_linears()):
        setattr(parent, name, getattr(layer, "base", layer))
    return frozen


def random_batch(tasks, size: int, n: int) -> dict[str, Tensor]:
    """n images of noise with labels of the kinds that the tasks take."""
    batch = {"image": torch.randn(n, 3, size, size)}
    for name, task in tasks.items():
        if task.kind == "segmentation":
            batch[name] = torch.randint(0, task.channels, (n, size, size))
        elif task.kind == "normals":
            batch[name] = nn.functional.normalize(torch.randn(n, 3, size, size), dim=1)
        else:
            batch[name] = (torch.rand(n, 1, size, size) > 0.8).float()
    return batch
