"""Bottleneck adapters, one for each task (Houlsby et al., ICML 2019), and what all methods of that family share.

After attention and after the MLP of every block, on the sublayer's output y_t:

    h_t = y_t + s (U_t gelu(D_t y_t + c_t) + e_t)        D_t: R x C, U_t: C x R

Trained: D, U, c, e, the backbone's norms (shared by the tasks), heads. `rank` is R. Recalled, not read again (R).
Departures: U starts at zero, so a fresh adapter changes nothing; s is the line's scale; gelu is the backbone's.
Count on Swin-T with PASCAL's heads at R = (24, 48, 96, 192), a quarter of the widths: 8.69 M without heads. Published
11.24 M: the same and the 2.55 M of that benchmark's decoders, where ours have 1.95 M.
"""

import math
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from ptsa_lite.families import Backbone
from ptsa_lite.model import MultiTaskModel

PLACES = ("attn.proj", "mlp.fc2")
"""The linear layers that end a block's two sublayers."""


class AdapterLinear(nn.Module):
    """A frozen layer and, on its output, one adapter for each group: (G*B, ..., C_in) -> (G*B, ..., C).

    `weights` says where D (G, R, C) and U (G, C, R) come from. Dropout acts on the input of D.
    """

    def __init__(self, base: nn.Linear, n_groups: int, rank: int, scale: float = 4.0, dropout: float = 0.0):
        super().__init__()
        width = base.weight.shape[0]
        if not 1 <= rank <= width:
            raise ValueError(f"rank {rank} does not fit an adapter of {width} channels; give 1 to {width}")
        self.base, self.rank, self.scale, self.dropout = base, rank, scale, nn.Dropout(dropout)
        self.groups = list(range(n_groups))  # their numbers in what the model holds for all layers
        self.adapter_down_bias = nn.Parameter(base.weight.new_zeros(n_groups, 1, rank))
        self.adapter_up_bias = nn.Parameter(base.weight.new_zeros(n_groups, 1, width))

    def weights(self) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        y, (down, up) = self.base(x), self.weights()
        rows = self.dropout(y).reshape(len(down), -1, y.shape[-1])  # (G, N, C)
        low = F.gelu(rows @ down.mT + self.adapter_down_bias)  # (G, N, R)
        return y + self.scale * (low @ up.mT + self.adapter_up_bias).view(y.shape)

    def only(self, groups: list[int]) -> "AdapterLinear":
        """The layer of these groups alone, in place: a model calls it on its copy."""
        self.groups = [self.groups[g] for g in groups]
        for name, parameter in list(self.named_parameters(recurse=False)):
            setattr(self, name, nn.Parameter(parameter.detach()[groups], parameter.requires_grad))
        return self


class HoulsbyLinear(AdapterLinear):
    """D and U are parameters."""

    def __init__(self, base: nn.Linear, n_groups: int, rank: int, *options: Any):
        super().__init__(base, n_groups, rank, *options)
        width = base.weight.shape[0]
        self.adapter_down = nn.Parameter(base.weight.new_empty(n_groups, rank, width))
        self.adapter_up = nn.Parameter(base.weight.new_zeros(n_groups, width, rank))
        for down in self.adapter_down:
            nn.init.kaiming_uniform_(down, a=math.sqrt(5))

    def weights(self) -> tuple[Tensor, Tensor]:
        return self.adapter_down, self.adapter_up


class AdapterModel(MultiTaskModel):
    """Images -> {task: prediction}; the options are those of `MultiTaskModel`, but for `layer`: it has its own."""

    adapter_layer: type[AdapterLinear] = HoulsbyLinear

    def __init__(self, backbone: Backbone, *args: Any, layer: Any = None, **options: Any):
        backbone.LINEARS = tuple(path for path in backbone.LINEARS if path in PLACES)
        super().__init__(backbone, *args, layer=self.adapter_layer, **options)
        if 0 in self.ranks:
            raise ValueError("adapters need a rank of at least 1 in every stage")

    def merge(self) -> MultiTaskModel:
        raise ValueError("an adapter has a gelu between its two matrices and cannot be merged away")
