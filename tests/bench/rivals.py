"""The plain ways to compute what the model computes, as someone would write them: a loop over tasks, one over groups,
`peft` where all tasks share, and MTLoRA as its authors compute it. Blocks are timm's own. The model must meet their
predictions and gradients.
"""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptsa_lite.baselines.mtlora import MTLoRALinear, MTLoRAModel
from ptsa_lite.fast import FastHRNetHead, FastLoRALinear
from ptsa_lite.heads import HRNetHead
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


class MTLoRAInTurn(nn.Module):
    """MTLoRA by its authors' operations, one after the other: each term of a sum and each scale by itself, attention
    written out, heads of 1x1 convolutions on joined maps."""

    def __init__(self, model: MTLoRAModel):
        super().__init__()
        self.tasks, self.model = model.tasks, copy.deepcopy(model)
        for module in self.model.modules():
            if type(module) in IN_TURN:
                module.__class__ = IN_TURN[type(module)]
            if hasattr(module, "fused_attn"):
                module.fused_attn = False

    def forward(self, images: Tensor, resize: bool = False) -> dict[str, Tensor]:
        return self.model(images, resize)


class SharedInTurn(GroupedLoRALinear):
    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.dropout(x) @ self.lora_A[0].T @ self.lora_B[0].T * self.scale


class StreamsInTurn(MTLoRALinear):
    def streams(self, x: list[Tensor]) -> list[Tensor]:
        layer, frozen, dropped = self.shared, self.shared.base(x[0]), self.shared.dropout(x[0])
        low = zip(x, [layer.lora_A[0], *self.task_A], [layer.lora_B[0], *self.task_B], strict=True)
        return [frozen + (dropped if x_t is x[0] else x_t) @ a.T @ b.T * layer.scale for x_t, a, b in low]


class HeadInTurn(HRNetHead):
    def forward(self, features: list[Tensor]) -> Tensor:
        def convolved(layer: nn.Linear, x: Tensor) -> Tensor:
            return F.conv2d(x, layer.weight[:, :, None, None], layer.bias)

        maps = [convolved(layer, f.permute(0, 3, 1, 2)) for layer, f in zip(self.project, features, strict=True)]
        up = [F.interpolate(z, maps[0].shape[2:], mode="bilinear") for z in maps]
        x, norm = convolved(self.fuse, torch.cat(up, dim=1)), self.norm
        x = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, self.training, norm.momentum)
        return convolved(self.predict, self.relu(x))


IN_TURN = {kind: SharedInTurn for kind in (GroupedLoRALinear, FastLoRALinear)}
IN_TURN |= {HRNetHead: HeadInTurn, FastHRNetHead: HeadInTurn, MTLoRALinear: StreamsInTurn}


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
