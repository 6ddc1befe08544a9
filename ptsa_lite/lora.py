"""A frozen linear layer with one low-rank pair per task group, all groups in one call."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .fast import low_rank_linear


class Route(NamedTuple):
    """Which groups run in a stage, and where each one's input comes from.

    groups: numbers of the groups that run, where not all do (a model asked for some of its tasks); None: all.
    parents: for each of them the place of its parent in the stack that arrives; None: the stack has them already.
    n_parents: how many groups arrive.
    """

    groups: Tensor | None = None
    parents: Tensor | None = None
    n_parents: int = 1

    def arrived(self) -> "Route":
        """The route of whatever comes after the branching."""
        return Route(self.groups)  # no property: torch 2.10 compiles a property of a tuple wrongly


ALL = Route()
"""Every group runs, and each finds its own input: what holds anywhere but at a branching."""


def fork(x: Tensor, route: Route) -> Tensor:
    """Hand each group's activations to its children: (P*B, ...) -> (G*B, ...), an index along the group axis."""
    if route.parents is None:
        return x
    return x.view(route.n_parents, -1, *x.shape[1:])[route.parents].flatten(0, 1)


class GroupedLoRALinear(nn.Module):
    """h_G = W x_G + b + s * B_G A_G x_G for every group G at once (the paper's TGLoRA layer).

    base: the frozen nn.Linear, kept as it is. A is (G, R, C_in), Kaiming-uniform with a = sqrt 5; B is (G, C_out, R),
    zero, so that a fresh adapter changes nothing. Dropout acts on the input of A.

    forward: (G*B, ..., C_in) -> (G*B, ..., C_out), group-major. Where a tree branches, the input still holds the
    P < G groups of the stage before, and the route says which came from which. The frozen product then runs P times,
    not G: siblings still have equal inputs.

    Source: Hu et al. 2022 for the pair, MTLoRA's code for scale and initialisation, the paper for the groups.
    """

    def __init__(self, base: nn.Linear, n_groups: int, rank: int, scale: float = 4.0, dropout: float = 0.0):
        super().__init__()
        c_out, c_in = base.weight.shape
        if not 1 <= rank <= min(c_in, c_out):
            raise ValueError(f"rank {rank} does not fit a layer of {c_in} -> {c_out}; give 1 to {min(c_in, c_out)}")
        if n_groups < 1:
            raise ValueError(f"{n_groups} groups; a layer serves at least one")
        self.base, self.n_groups, self.rank, self.scale = base, n_groups, rank, scale
        self.dropout = nn.Dropout(dropout)
        self.lora_A = nn.Parameter(base.weight.new_empty(n_groups, rank, c_in))
        self.lora_B = nn.Parameter(base.weight.new_zeros(n_groups, c_out, rank))
        for a in self.lora_A:  # group by group: the same seed gives group 0 the same start in every tree
            nn.init.kaiming_uniform_(a, a=math.sqrt(5))

    def forward(self, x: Tensor, route: Route = ALL) -> Tensor:
        a, b = self.lora_A, self.lora_B
        if route.groups is not None:
            a, b = a[route.groups], b[route.groups]
        n_inputs = len(a) if route.parents is None else route.n_parents
        y = low_rank_linear(
            x.reshape(n_inputs, -1, x.shape[-1]), self.base.weight, self.base.bias, a, b, self.scale, route.parents,
            self.dropout.p if self.training else 0.0,
        )  # (G, N, C_out)
        return y.view(-1, *x.shape[1:-1], y.shape[-1])

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """W + s * B_G A_G: a plain nn.Linear for one group, a GroupedLinear for several. No low-rank work is left."""
        base = self.base.weight.expand(self.n_groups, -1, -1)  # (G, C_out, C_in)
        weight = torch.baddbmm(base, self.lora_B, self.lora_A, alpha=self.scale)
        bias = None if self.base.bias is None else self.base.bias.detach().clone()
        if self.n_groups > 1:
            return GroupedLinear(weight, bias)
        plain = nn.Linear(weight.shape[2], weight.shape[1], bias is not None, weight.device, weight.dtype)
        plain.load_state_dict({"weight": weight[0]} | ({} if bias is None else {"bias": bias}))
        return plain

    def extra_repr(self) -> str:
        return f"groups={self.n_groups}, rank={self.rank}, scale={self.scale}"


class GroupedLinear(nn.Module):
    """h_G = W_G x_G + b: one whole weight per group, as merging leaves it."""

    def __init__(self, weight: Tensor, bias: Tensor | None):
        super().__init__()
        self.weight = nn.Parameter(weight)  # (G, C_out, C_in)
        self.bias = None if bias is None else nn.Parameter(bias)

    def forward(self, x: Tensor, route: Route = ALL) -> Tensor:
        weight, bias = self.weight, self.bias
        if route.groups is not None:
            weight = weight[route.groups]
        x = fork(x, route)
        stacked = x.reshape(len(weight), -1, x.shape[-1])  # (G, N, C_in)
        if bias is None:
            y = torch.bmm(stacked, weight.transpose(1, 2))
        else:
            y = torch.baddbmm(bias, stacked, weight.transpose(1, 2))  # (G, N, C_out)
        return y.view(*x.shape[:-1], -1)


def run_linear(layer: nn.Module, x: Tensor, route: Route) -> Tensor:
    """A linear layer over a stack of groups, whether it has adapters, whole weights per group, or neither."""
    if isinstance(layer, nn.Linear):
        return fork(layer(x), route)
    return layer(x, route)
