"""MTLoRA (Agiza et al., CVPR 2024), the method that the paper extends.

Every block has one shared low-rank pair; a stage's last has, besides, a small one for each task on proj, fc1 and fc2:

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
    """Streams [x_0, ..., x_T], each (B, ..., C_in) -> [h_0, ..., h_T], each (B, ..., C_out).
    shared: the layer with the shared pair. Dropout, as in the authors' code, acts on x_0 alone.
    """

    def __init__(self, shared: GroupedLoRALinear, n_tasks: int, rank: int):
        super().__init__()
        c_out, c_in = shared.base.weight.shape
        self.shared, self.n_tasks = shared, n_tasks
        self.task_A = nn.Parameter(shared.base.weight.new_empty(n_tasks, rank, c_in))
        self.task_B = nn.Parameter(shared.base.weight.new_zeros(n_tasks, c_out, rank))
        for a in self.task_A:
            nn.init.kaiming_uniform_(a, a=math.sqrt(5))

    def streams(self, x: list[Tensor]) -> list[Tensor]:
        layer, dropped = self.shared, self.shared.dropout(x[0])
        frozen = layer.base(x[0]).flatten(0, -2)  # (N, C_out), for every stream
        inputs = [(dropped if x_t is x[0] else x_t).flatten(0, -2) for x_t in x]  # (N, C_in)
        low = zip(inputs, [layer.lora_A[0], *self.task_A], [layer.lora_B[0], *self.task_B], strict=True)
        return [torch.addmm(frozen, x_t @ a.T, b.T, alpha=layer.scale).view(*x[0].shape[:-1], -1) for x_t, a, b in low]

    def forward(self, x: Tensor) -> Tensor:
        """Where the streams begin, x_t is x_0: (B, ..., C_in) -> ((1+T)*B, ..., C_out)."""
        return torch.cat(self.streams([x] * (1 + self.n_tasks)))


class PartingBlock(SwinTransformerBlock):
    """A stage's last block, where the tasks' streams part from the shared one: (B, h, w, C) -> ((1+T)*B, h, w, C)."""

    def forward(self, x: Tensor) -> Tensor:
        attended = self._attn(self.norm1(x)).unflatten(0, (-1, x.shape[0]))  # streams of (B, h, w, C)
        streams = [x + self.drop_path1(x_t) for x_t in attended]  # a list: one tensor would be cut in every layer
        hidden = self.mlp.fc1.streams([self.norm2(x_t) for x_t in streams])
        out = self.mlp.fc2.streams([self.mlp.act(x_t) for x_t in hidden])
        return torch.cat([x_t + self.drop_path2(h_t) for x_t, h_t in zip(streams, out, strict=True)])


class MTLoRAModel(MultiTaskModel):
    """rank: of the shared pairs; task_rank: of the tasks' own. ValueError for what is no Swin, or a stage of rank 0."""

    task_layer: type[nn.Module] = MTLoRALinear
    leaves_unused = True  # nothing reads the shared stream after the last block, so its last pair has no gradient

    def __init__(self, backbone: Backbone, *args: Any, task_rank: int = 4, **options: Any):
        super().__init__(backbone, *args, **options)
        if type(backbone.blocks(0)[-1]) is not SwinTransformerBlock or 0 in self.ranks:
            raise ValueError("MTLoRA's streams are defined for the first Swin with a rank of at least 1 in every stage")
        self.own = {"task_rank": task_rank}
        for stage in range(backbone.n_stages):
            last = backbone.blocks(stage)[-1]
            for parent, name in ((last.attn, "proj"), (last.mlp, "fc1"), (last.mlp, "fc2")):
                setattr(parent, name, self.task_layer(getattr(parent, name), len(self.tasks), task_rank))
            last.__class__ = PartingBlock

    def features(self, images: Tensor) -> dict[str, list[Tensor]]:
        """Each head reads its task's stream after every stage."""
        x, maps = self.backbone.embed(images), []
        for stage in range(self.backbone.n_stages):
            x, *streams = self._stage(stage, x).unflatten(0, (1 + len(self.tasks), -1))  # each (B, h, w, C)
            maps.append(streams)
        return dict(zip(self.tasks, map(list, zip(*maps, strict=True)), strict=True))

    def only(self, tasks: Any) -> MultiTaskModel:
        raise ValueError("MTLoRA's streams are made together; predict all tasks and keep those you want")

    def merge(self) -> MultiTaskModel:
        raise ValueError("MTLoRA's task streams read the shared stream's frozen product and cannot be merged away")
