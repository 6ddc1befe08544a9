"""MTLoRA (Agiza et al., CVPR 2024), the method that the paper extends, over the same backbone and heads.

Every block has one shared low-rank pair. The last block of a stage has, besides, one small pair per task on proj, fc1
and fc2. A task's stream adds its pair's term to W applied to the *shared* stream, feeds the task's head, and ends
there: only the shared stream goes on to the next stage.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptsa_lite.blocks import from_windows, mix, swin_block
from ptsa_lite.families import SwinBackbone
from ptsa_lite.lora import GroupedLoRALinear
from ptsa_lite.model import MultiTaskModel


class MTLoRALinear(nn.Module):
    """shared: W x_0 + b + s B_0 A_0 x_0; task t: W x_0 + b + s B_t A_t x_t.

    forward: (S*B, ..., C_in) -> ((1+T)*B, ..., C_out), stream 0 the shared one. S is 1 + T, or 1 where the tasks'
    streams begin and x_t is x_0.
    """

    def __init__(self, shared: GroupedLoRALinear, n_tasks: int, rank: int):
        super().__init__()
        c_out, c_in = shared.base.weight.shape
        self.shared, self.n_tasks = shared, n_tasks
        self.task_A = nn.Parameter(shared.base.weight.new_empty(n_tasks, rank, c_in))
        self.task_B = nn.Parameter(shared.base.weight.new_zeros(n_tasks, c_out, rank))
        for a in self.task_A:
            nn.init.kaiming_uniform_(a, a=math.sqrt(5))

    def forward(self, x: Tensor, begins: bool) -> Tensor:
        base, scale, drop = self.shared.base, self.shared.scale, self.shared.dropout
        x = x.view(1 if begins else 1 + self.n_tasks, -1, *x.shape[1:])  # (S, B, ..., C_in)
        frozen = F.linear(x[0], base.weight, base.bias)  # (B, ..., C_out), for every stream
        shared = F.linear(F.linear(drop(x[0]), self.shared.lora_A[0]), self.shared.lora_B[0])
        tasks = (x[:1].expand(self.n_tasks, *x.shape[1:]) if begins else x[1:]).reshape(self.n_tasks, -1, x.shape[-1])
        own = torch.bmm(torch.bmm(drop(tasks), self.task_A.transpose(1, 2)), self.task_B.transpose(1, 2))
        low = torch.cat([shared[None], own.view(self.n_tasks, *shared.shape)])  # (1+T, B, ..., C_out)
        return (frozen + scale * low).flatten(0, 1)


class MTLoRAModel(MultiTaskModel):
    """Images (B, 3, H, W) -> {task: (B, C, H, W)}; the tree has one group everywhere.

    rank: of the shared pairs; task_rank: of the tasks' own. The other options are those of `MultiTaskModel`.
    """

    leaves_unused = True  # nothing reads the shared stream after the last block, so its last pair has no gradient

    def __init__(self, backbone: SwinBackbone, *args, task_rank: int = 4, **options):
        self.task_rank = task_rank
        if type(backbone) is not SwinBackbone:
            raise ValueError(f"MTLoRA is defined for the first Swin, not for a {type(backbone).__name__}")
        super().__init__(backbone, *args, **options)

    def _adapt(self, scale: float, dropout: float) -> None:
        super()._adapt(scale, dropout)
        for stage in range(self.backbone.n_stages):
            last = self.backbone.blocks(stage)[-1]
            for parent, name in ((last.attn, "proj"), (last.mlp, "fc1"), (last.mlp, "fc2")):
                shared = getattr(parent, name)
                if not isinstance(shared, GroupedLoRALinear):
                    raise ValueError("MTLoRA needs a rank of at least 1 in every stage")
                setattr(parent, name, MTLoRALinear(shared, len(self.tasks), self.task_rank))

    def description(self) -> dict:
        return super().description() | {"task_rank": self.task_rank}

    def features(self, images: Tensor, tasks: Sequence[str]) -> dict[str, list[Tensor]]:
        """Each head reads its task's stream after every stage; all streams run, whichever tasks are asked for."""
        x = self.backbone.patch_embed(images)
        maps: dict[str, list[Tensor]] = {task: [] for task in tasks}
        for stage in range(self.backbone.n_stages):
            *blocks, last = self.backbone.blocks(stage)
            for block in blocks:
                x = swin_block(block, x)
            streams, merging = split_block(last, x), self.backbone.merging(stage)  # ((1+T)*B, h, w, C)
            streams = streams if merging is None else merging(streams)
            streams = streams.view(-1, len(images), *streams.shape[1:])  # (1+T, B, ...)
            x = streams[0]
            for i, task in enumerate(self.tasks, 1):
                if task in maps:
                    maps[task].append(streams[i])
        return maps

    def merge(self):
        raise ValueError("MTLoRA's task streams read the shared stream's frozen product and cannot be merged away")


def split_block(block, x: Tensor) -> Tensor:
    """The block in which the tasks' streams part from the shared one: (B, h, w, C) -> ((1+T)*B, h, w, C)."""
    h, w = x.shape[1:3]
    projected = block.attn.proj(mix(block, block.norm1(x)), begins=True)  # ((1+T)*B*nW, N, C)
    n_streams = 1 + block.attn.proj.n_tasks
    x = x.repeat(n_streams, 1, 1, 1) + block.drop_path1(from_windows(block, projected, h, w))
    hidden = block.mlp.act(block.mlp.fc1(block.norm2(x), begins=False))
    return x + block.drop_path2(block.mlp.fc2(hidden, begins=False))
