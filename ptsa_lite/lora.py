"""The paper's layer: one frozen linear layer, one low-rank pair for each group of tasks."""

import copy
import math

import torch
from torch import Tensor, nn

from .checks import COUNT, POSITIVE, SHARE, check


class GroupedLoRALinear(nn.Module):
    """h_G = W x_G + b + s B_G A_G x_G for every group G of tasks.

    W, b     the linear layer, kept as it is (`base`); who builds the model freezes it
    A_G, B_G the pair of group G: R x C_in and C_out x R, so that B_G A_G has the shape of W and rank R
    s        the scale of the low-rank term
    x_G      the activations of group G: each group has its own

    forward: (G*B, ..., C_in) -> (G*B, ..., C_out), one group's batch after the other's.

    A starts Kaiming-uniform with a = sqrt 5, B at zero: a fresh pair changes nothing. Dropout acts on the input of A.
    Raises ValueError for a rank that does not fit the layer.
    Source: Hu et al. 2022 for the pair, MTLoRA's code for scale and start, the paper (arXiv 2509.19602) for the groups.
    """

    def __init__(self, base: nn.Linear, n_groups: int, rank: int, scale: float = 4.0, dropout: float = 0.0):
        super().__init__()
        c_out, c_in = base.weight.shape
        check({"n_groups": COUNT, "rank": COUNT, "scale": POSITIVE, "dropout": SHARE}, locals())
        if rank > min(c_in, c_out):
            raise ValueError(f"rank {rank} does not fit a layer of {c_in} -> {c_out}; give 1 to {min(c_in, c_out)}")
        self.base = base
        self.n_groups, self.rank, self.scale = n_groups, rank, scale
        self.dropout = nn.Dropout(dropout)
        self.lora_A = nn.Parameter(base.weight.new_empty(n_groups, rank, c_in))
        self.lora_B = nn.Parameter(base.weight.new_zeros(n_groups, c_out, rank))
        for a in self.lora_A:  # group by group: one seed gives group 0 the same start in every tree
            nn.init.kaiming_uniform_(a, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        x_G = self.dropout(x).reshape(self.n_groups, -1, x.shape[-1])  # (G, N, C_in)
        low = x_G @ self.lora_A.mT  # (G, N, R)
        h = self.base(x)
        h_G = h.view(*low.shape[:2], -1)  # (G, N, C_out)
        return torch.baddbmm(h_G, low, self.lora_B.mT, alpha=self.scale).view(h.shape)

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """W_G = W + s B_G A_G: an nn.Linear for one group, a GroupedLinear for several. No low-rank work is left."""
        weight = self.base.weight + self.scale * self.lora_B @ self.lora_A  # (G, C_out, C_in)
        if self.n_groups > 1:
            return GroupedLinear(weight, self.base.bias)
        linear = copy.deepcopy(self.base)
        linear.weight.copy_(weight[0])
        return linear

    @torch.no_grad()
    def only(self, groups: list[int]) -> "GroupedLoRALinear":
        """The layer of these groups alone, over the same frozen one; their pairs are copies."""
        layer = copy.deepcopy(self, {id(self.base): self.base})  # draws nothing; mode and requires_grad stay
        layer.n_groups = len(groups)
        layer.lora_A, layer.lora_B = (nn.Parameter(p[groups], p.requires_grad) for p in (self.lora_A, self.lora_B))
        return layer


class GroupedLinear(nn.Module):
    """h_G = W_G x_G + b: one whole weight for each group, as merging leaves it. Shapes as in GroupedLoRALinear."""

    def __init__(self, weight: Tensor, bias: Tensor | None):
        super().__init__()
        self.weight = nn.Parameter(weight)  # (G, C_out, C_in)
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        x_G = x.reshape(len(self.weight), -1, x.shape[-1])  # (G, N, C_in)
        h_G = x_G @ self.weight.mT  # (G, N, C_out)
        h = h_G.view(*x.shape[:-1], -1)
        return h if self.bias is None else h + self.bias

    def only(self, groups: list[int]) -> "GroupedLinear":
        """The layer of these groups alone."""
        return GroupedLinear(self.weight.detach()[groups], self.bias).requires_grad_(self.weight.requires_grad)
