"""Compacter (Karimi Mahabadi et al., NeurIPS 2021): adapters whose matrices are sums of Kronecker products.

An adapter as in `adapter`, one for each task, with

    D_t = sum_i A_ti (x) (p_ti q_ti),  i = 1..n        A_ti: n x n, p_ti: R/n x k, q_ti: k x C/n, and U_t likewise

A_t is shared by all the task's adapters and by both their matrices. Trained: A, p, q, the adapters' biases, the
backbone's norms (shared by the tasks), heads. `rank` is R, `kronecker` is n, `factor` is k (1 in the paper).
The definition is recalled, not checked against the paper. Departure: one of U's factors starts at zero, so that a fresh
adapter changes nothing.
Count on Swin-T at a quarter of the widths, n = 4 and k = 2: 0.244 M without heads. Published 2.78 M: 0.235 M and the
2.55 M of that benchmark's decoders. Which R and k it had is not stated; with k = 1 it is 0.156 M.
"""

from typing import Any

import torch
from torch import Tensor, nn

from .adapter import AdapterLinear, AdapterModel


def kronecker_sum(a: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """(G, n, n, n), (G, n, r, k), (G, n, k, c) -> (G, n*r, n*c)."""
    product = torch.einsum("giab,girk,gikc->garbc", a, p, q)
    return product.flatten(3, 4).flatten(1, 2)


class CompacterLinear(AdapterLinear):
    """A is the model's, which is kept here in a tuple: that registers nothing."""

    def attach(self, model: nn.Module, factor: int) -> None:
        a = model.adapter_a
        n, rank, width = a.shape[1], self.rank, self.adapter_up_bias.shape[-1]
        if rank % n or width % n:
            raise ValueError(f"rank {rank} or width {width} is no multiple of the {n} Kronecker terms")
        self.source = (model,)
        made = self.adapter_up_bias.new_empty
        self.adapter_down_p = nn.Parameter(made(len(a), n, rank // n, factor).normal_(std=factor**-0.5))
        self.adapter_down_q = nn.Parameter(made(len(a), n, factor, width // n).normal_(std=(3 * width) ** -0.5))
        self.adapter_up_p = nn.Parameter(made(len(a), n, width // n, factor).zero_())
        self.adapter_up_q = nn.Parameter(made(len(a), n, factor, rank // n).normal_(std=(3 * rank) ** -0.5))

    def weights(self) -> tuple[Tensor, Tensor]:
        a = self.source[0].adapter_a[self.groups]
        down = kronecker_sum(a, self.adapter_down_p, self.adapter_down_q)
        return down, kronecker_sum(a, self.adapter_up_p, self.adapter_up_q)


class CompacterModel(AdapterModel):
    """kronecker: terms of a sum, and the size of A; factor: the rank of what A is multiplied with."""

    adapter_layer = CompacterLinear

    def __init__(self, *args: Any, kronecker: int = 4, factor: int = 2, **options: Any):
        super().__init__(*args, **options)
        self.own = {"kronecker": kronecker, "factor": factor}
        self.adapter_a = nn.Parameter(torch.randn(len(self.tasks), kronecker, kronecker, kronecker) / kronecker**0.5)
        for _, _, _, layer in self.backbone.adapted_linears():
            layer.attach(self, factor)
