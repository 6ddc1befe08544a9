"""DiTASK (Mantri et al., CVPR 2025): singular vectors are kept, singular values moved by a smooth monotone map.

    W = U diag(S) V^T,  W' = U diag(S') V^T,  S'(u) = S(f(u))

S is read as a function of the place u in 0..1 in its order; f is a monotone map of 0..1 onto itself (see `monotone`)
with R cells and inner velocities s w. So S' falls as S does, and stays between its largest and smallest.
Every layer has one map for the shared stream; proj, fc1 and fc2 of a stage's last block have one for each task besides,
in streams as MTLoRA's, but that a task's is W'_t x_t + b. q, k and v are mapped each, by one w. Trained: w, patch
embedding, norms, patch mergings, position tables, heads. `rank` is R of the shared map, `task_rank` of the tasks'.
Read: abstract and published code. Departures: w are velocities at the knots, theirs coordinates of the same space; w
starts at 0, where W' is W, theirs at random; the flow is integrated in steps, theirs in closed form; s is 1 in theirs.
Count on Swin-T at R = 64 and 4: 3,549,338, or 1.60 M without heads. Published: 1.61 M without heads.
Composing W' costs the same for one image as for a batch: it is most of what the convention "all" counts for one.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ptsa_lite.families import Backbone
from ptsa_lite.model import MultiTaskModel

from .monotone import flow, read_at
from .mtlora import MTLoRALinear, MTLoRAModel


class SpectralLinear(nn.Module):
    """W' x + b for each of several maps; `adapter_velocity` (maps, cells - 1). Dropout acts on x."""

    def __init__(self, base: nn.Linear, n_groups: int, rank: int, scale: float = 4.0, dropout: float = 0.0):
        super().__init__()
        if rank < 2:
            raise ValueError(f"rank {rank} leaves a map no inner value; give at least 2 cells")
        c_out, c_in = base.weight.shape
        parts = c_out // c_in if c_out in (2 * c_in, 3 * c_in) else 1  # k and v, or q, k and v
        self.base, self.rank, self.scale, self.dropout, self.parts = base, rank, scale, nn.Dropout(dropout), parts
        self.decompose()
        self.register_load_state_dict_post_hook(SpectralLinear.decompose)  # other weights have other vectors
        self.adapter_velocity = nn.Parameter(base.weight.new_zeros(n_groups, rank - 1))

    def decompose(self, *_: Any) -> None:
        weight = self.base.weight.detach().unflatten(0, (self.parts, -1))
        for name, value in zip(("u", "s", "vh"), torch.linalg.svd(weight, full_matrices=False), strict=True):
            self.register_buffer(name, value, persistent=False)

    def weight(self, velocity: Tensor) -> Tensor:
        """W' of one map."""
        moved = read_at(self.s, flow(self.scale * velocity, self.s.shape[-1]))
        change = self.u * (moved - self.s)[:, None] @ self.vh  # (parts, C_out / parts, C_in)
        return self.base.weight + change.flatten(0, 1)

    def streams(self, streams: Sequence[Tensor], velocities: Tensor) -> list[Tensor]:
        """Each stream by its own map."""
        return [
            functional_call(self.base, {"weight": self.weight(velocity)}, self.dropout(x))
            for x, velocity in zip(streams, velocities, strict=True)
        ]

    def forward(self, x: Tensor) -> Tensor:
        n = len(self.adapter_velocity)
        return torch.cat(self.streams(x.unflatten(0, (n, -1)), self.adapter_velocity))


class SpectralStreams(nn.Module):
    """As MTLoRALinear, each task's stream by its own map."""

    def __init__(self, shared: SpectralLinear, n_tasks: int, rank: int):
        super().__init__()
        self.shared, self.n_tasks = shared, n_tasks
        self.task_velocity = nn.Parameter(shared.adapter_velocity.new_zeros(n_tasks, rank - 1))

    def streams(self, x: list[Tensor]) -> list[Tensor]:
        return [self.shared(x[0]), *self.shared.streams(x[1:], self.task_velocity)]

    forward = MTLoRALinear.forward


class DiTASKModel(MTLoRAModel):
    """rank, task_rank: cells of the maps; the other options are those of `MultiTaskModel`, but for `layer`."""

    task_layer = SpectralStreams

    def __init__(self, backbone: Backbone, *args: Any, layer: Any = None, **options: Any):
        super().__init__(backbone, *args, layer=SpectralLinear, **options)

    def merge(self) -> MultiTaskModel:
        raise ValueError("DiTASK's task streams begin in the middle of a stage and cannot be merged away")
