"""Muon, an optimiser for weight matrices: each step has all its singular values near one.

AdamW scales every entry of a matrix by itself. Muon takes the matrix as one thing: it replaces the momentum's
singular values by ones, so that directions in which the gradient is small are learned as fast as those in which it
is large. It is torch.optim.Muon (torch 2.9) with the iteration in float32: bfloat16, which the library takes, is
many times slower on processors without instructions for it. tests/workshop/test_muon.py holds the two together.
"""

from collections.abc import Iterable

import torch
from timm.optim.muon import zeropower_via_newtonschulz
from torch import Tensor

NEWTON_SCHULZ = [(3.4445, -4.7750, 2.0315)]  # of x -> a x + b x^3 + c x^5, on singular values


class Muon(torch.optim.Optimizer):
    """W <- (1 - lr decay) W - 0.2 lr sqrt(max(m, n)) U V', where U S V' = (1 - momentum) G + momentum M, W (m, n).

    G is the gradient, M <- momentum M + (1 - momentum) G its running mean. U V' is approximated by five Newton-Schulz
    iterations. The factor before it gives a step the root mean square of AdamW's.
    Source: K. Jordan et al. 2024, "Muon"; the factor: Liu et al. 2025, arXiv 2502.16982.
    """

    def __init__(self, matrices: Iterable[Tensor], lr: float, weight_decay: float = 0.05, momentum: float = 0.95):
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure=None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                momentum = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p))
                momentum.lerp_(p.grad, 1 - group["momentum"])
                mixture = p.grad.lerp(momentum, group["momentum"])
                direction = zeropower_via_newtonschulz(mixture, 5, NEWTON_SCHULZ, dtype=torch.float32)
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(direction, alpha=-0.2 * max(p.shape) ** 0.5 * group["lr"])
