"""MTLoRA (Agiza et al., CVPR 2024), the method that the paper extends.

Every block has one shared low-rank pair. The last block of a stage has, besides, one small pair for each task on proj,
fc1 and fc2:

    shared stream  h_0 = W x_0 + b + s B_0 A_0 x_0
    task t         h_t = W x_0 + b + s B_t A_t x_t

W acts on the *shared* stream in both. A task's stream feeds the task's head and ends there: only the shared stream goes
on to the next stage. Trained: the pairs, patch embedding, norms, patch mergings, position tables, heads.
"""

import math
from typing import Any

import torch
from timm.models.swin_transformer import SwinTransformerBlock
from torch import Tensor, nn

from ptsa_lite.families import Backbone
from ptsa_lite.lora import GroupedLoRALinear
from ptsa_lite.model import MultiTaskModel


class MTLoRALinear(nn.Module):
    """(S*B, ..., C_in) -> ((1+T)*B, ..., C_out), stream 0 the shared one.

    shared: the layer with the shared pair. begins: the tasks' streams begin here, so S is 1 and x_t is x_0; elsewhere
    S is 1 + T.
    """

    def __init__(self, shared: GroupedLoRALinear, n_tasks: int, rank: int, begins: bool):
        super().__init__()
        c_out, c_in = shared.base.weight.shape
        self.shared, self.n_tasks, self.begins = shared, n_tasks, begins
        self.task_A = nn.Parameter(shared.base.weight.new_empty(n_tasks, rank, c_in))
        self.task_B = nn.Parameter(shared.base.weight.new_zeros(n_tasks, c_out, rank))
        for a in self.task_A:
            nn.init.kaiming_uniform_(a, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        layer = self.shared
        streams = x.unflatten(0, (1 if self.begins else 1 + self.n_tasks, -1))  # (S, B, ..., C_in)
        x_0, x_t = streams[0], streams[0] if self.begins else streams[1:]
        frozen = layer.base(x_0)  # (B, ..., C_out), for every stream
        low_0 = layer.dropout(x_0) @ layer.lora_A[0].T @ layer.lora_B[0].T
        low_t = torch.stack([
            layer.dropout(x_t if self.begins else x_t[t]) @ self.task_A[t].T @ self.task_B[t].T
            for t in range(self.n_tasks)
        ])  # (T, B, ..., C_out)
        return (frozen + layer.scale * torch.cat([low_0[None], low_t])).flatten(0, 1)


class PartingBlock(SwinTransformerBlock):
    """A stage's last block, where the tasks' streams part from the shared one: (B, h, w, C) -> ((1+T)*B, h, w, C)."""

    def forward(self, x: Tensor) -> Tensor:
        attended = self.drop_path1(self._attn(self.norm1(x)))  # ((1+T)*B, h, w, C)
        x = (x + attended.unflatten(0, (1 + self.attn.proj.n_tasks, -1))).flatten(0, 1)
        return x + self.drop_path2(self.mlp(self.norm2(x)))


class MTLoRAModel(MultiTaskModel):
    """Images (B, 3, H, W) -> {task: (B, C, H, W)}; the tree has one group everywhere.

    rank: of the shared pairs; task_rank: of the tasks' own. The other options are those of `MultiTaskModel`.
    Raises ValueError for a backbone that is no Swin, or a stage of rank 0.
    """

    task_layer: type[nn.Module] = MTLoRALinear
    leaves_unused = True  # nothing reads the shared stream after the last block, so its last pair has no gradient

    def __init__(self, backbone: Backbone, *args: Any, task_rank: int = 4, **options: Any):
        super().__init__(backbone, *args, **options)
        if type(backbone.blocks(0)[-1]) is not SwinTransformerBlock or 0 in self.ranks:
            raise ValueError("MTLoRA's streams are defined for the first Swin with a rank of at least 1 in every stage")
        self.task_rank = task_rank
        for stage in range(backbone.n_stages):
            last = backbone.blocks(stage)[-1]
            for parent, name in ((last.attn, "proj"), (last.mlp, "fc1"), (last.mlp, "fc2")):
                layer = self.task_layer(getattr(parent, name), len(self.tasks), task_rank, begins=name == "proj")
                setattr(parent, name, layer)
            last.__class__ = PartingBlock

    def description(self) -> dict:
        return super().description() | {"task_rank": self.task_rank}

    def features(self, images: Tensor) -> dict[str, list[Tensor]]:
        """Each head reads its task's stream after every stage."""
        x = self.backbone.embed(images)
        maps: dict[str, list[Tensor]] = {task: [] for task in self.tasks}
        for stage in range(self.backbone.n_stages):
            streams = self._stage(stage, x).unflatten(0, (1 + len(self.tasks), -1))  # (1+T, B, h, w, C)
            x = streams[0]
            for t, task in enumerate(self.tasks, 1):
                maps[task].append(streams[t])
        return maps

    def only(self, tasks: Any) -> MultiTaskModel:
        raise ValueError("MTLoRA's streams are made together; predict all tasks and keep those you want")

    def merge(self) -> MultiTaskModel:
        raise ValueError("MTLoRA's task streams read the shared stream's frozen product and cannot be merged away")
