"""TADFormer (Baek et al., CVPR 2025): prompts pick what a task needs, filters made of their input adapt it.

Every task has a prompt, which passes the blocks beside the tokens (see `prompted_swin`): p <- p + MLP(LN(attn(LN(p)))),
and a linear map to twice the channels after each stage. Every layer has one shared low-rank pair. In the last block of
a stage tasks part from the shared stream as in `mtlora`, and use that same pair (see `task_block`):

    h_t = W x_0 + b + s B F(A x_t)      x_t: at proj, what the task's prompt picked, z_t, added to the tokens
    a task's head reads g z_t + (1 - g) y_t      y_t: its stream after the block; g: a gate of the stage

Trained: pairs, prompts and their maps, filters, gates, patch embedding, norms, position tables, heads; patch mergings
are frozen but for their norms. Prompts change what every block sees: a fresh model is not the backbone.
Read: abstract, and two public copies of the authors' code. One has a static filter for each task where the other has F;
the published counts are those with F. Departures: the copies read z_t in another order of channels and places than it
was written in, or mend it; ours is in order. Their norm of x + z_t stands in all blocks and is used in the last: 5,952
parameters that nothing reads, which ours lacks.
Count on Swin-T with PASCAL's heads at R = 64, 32, 16: 7,373,310, 4,770,174 and 3,551,550. Published 7.38, 4.78, 3.56 M:
the same and those 5,952.
"""

from typing import Any

import torch
from timm.models.swin_transformer import SwinTransformerBlock
from torch import Tensor, nn

from ptsa_lite.families import Backbone, SwinBackbone
from ptsa_lite.model import MultiTaskModel

from .prompted_swin import PromptedAttention
from .task_block import FilteredLinear, PickingAttention, TaskBlock


class TaskPromptedSwin(SwinBackbone):
    """A Swin whose stages take x and prompts, and give [x, each task's map] and prompts."""

    def prepare(self, n_tasks: int) -> None:
        self.adapter_prompts = nn.Parameter(nn.init.trunc_normal_(torch.empty(n_tasks, self.widths[0]), mean=1.0))
        self.adapter_widen = nn.ModuleList(nn.Linear(width, 2 * width, bias=False) for width in self.widths[:-1])
        self.adapter_gate = nn.Parameter(torch.zeros(self.n_stages))
        for widen in self.adapter_widen:
            nn.init.trunc_normal_(widen.weight, std=0.02)
        for stage, width in enumerate(self.widths):
            for block in self.blocks(stage):
                block.__class__, block.attn.__class__ = TaskBlock, PromptedAttention
            block.attn.__class__, block.attn.adapter_norm = PickingAttention, nn.LayerNorm(width)
            for parent, name in ((block.attn, "proj"), (block.mlp, "fc1"), (block.mlp, "fc2")):
                setattr(parent, name, FilteredLinear(getattr(parent, name)))

    def stage(self, stage: int, inputs: tuple[Tensor, Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
        x, prompts = inputs
        for block in self.blocks(stage):
            (x, *streams), prompts, picked = block(x, prompts)
        gate = self.adapter_gate[stage].sigmoid()
        read = [gate * z + (1 - gate) * y for z, y in zip(picked, streams, strict=True)]
        if stage + 1 < self.n_stages:
            prompts = self.adapter_widen[stage](prompts)
        return self.end(stage, torch.cat([x, *read])).unflatten(0, (1 + len(read), -1)).unbind(), prompts


class TADFormerModel(MultiTaskModel):
    """The options are those of `MultiTaskModel`. ValueError for a backbone that is no Swin, or a stage of rank 0."""

    def __init__(self, backbone: Backbone, *args: Any, **options: Any):
        super().__init__(backbone, *args, **options)
        if type(backbone.blocks(0)[-1]) is not SwinTransformerBlock or 0 in self.ranks:
            raise ValueError("TADFormer is defined for the first Swin with a rank of at least 1 in every stage")
        backbone.__class__ = TaskPromptedSwin
        backbone.prepare(len(self.tasks))

    def features(self, images: Tensor) -> dict[str, list[Tensor]]:
        """Each head reads its task's map after every stage."""
        x = self.backbone.embed(images)
        prompts = self.backbone.adapter_prompts.expand(x.shape[0], -1, -1)  # (B, T, C)
        maps: dict[str, list[Tensor]] = {task: [] for task in self.tasks}
        for stage in range(self.backbone.n_stages):
            (x, *read), prompts = self._stage(stage, (x, prompts))
            for task, one in zip(self.tasks, read, strict=True):
                maps[task].append(one)
        return maps

    def only(self, tasks: Any) -> MultiTaskModel:
        raise ValueError("TADFormer's streams are made together; predict all tasks and keep those you want")

    def merge(self) -> MultiTaskModel:
        raise ValueError("TADFormer's filters are made of their input and cannot be merged away")
