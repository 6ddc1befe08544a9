"""y_G = W x_G + b + s B_G A_G drop(x_G) for all groups, with a gradient of its own.

Written out as separate operations, the equation leaves a full-size tensor after each: the mask as floats, the dropped
input, the low-rank term's gradient beside the frozen one's. Such tensors cost more than the products that they serve.
Here the forward keeps the dropped input and one byte a value for the mask, and both terms of a gradient are added up in
one tensor. Autograd's way of the same equation is in tests/test_lora.py, and must agree.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def low_rank_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float,
    parents: Tensor | None = None, dropout: float = 0.0,
) -> Tensor:  # fmt: skip
    """(P, N, C_in) -> (G, N, C_out). a (G, R, C_in), b (G, C_out, R).

    parents: for each group the place of its input among the P; None: P is G. Under autocast in its number format.
    """
    if not x.is_meta and torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, weight, a, b = (t.to(dtype) for t in (x, weight, a, b))
        bias = None if bias is None else bias.to(dtype)
    drop = dropped(x, dropout) if dropout else None
    return _LowRankLinear.apply(x, weight, bias, a, b, parents, drop, scale / (1 - dropout))


def dropped(x: Tensor, p: float) -> Tensor:
    """A mask of x's shape, True with probability p (to 1/65,536), four values to a random number.

    On a CPU in a quarter of `bernoulli_`'s time, which alone took a twelfth of a training step.
    """
    words = torch.randint(-(2**63), 2**63 - 1, (-(-x.numel() // 4),), device=x.device)
    return (words.view(torch.int16)[: x.numel()] < round(p * 2**16) - 2**15).view(x.shape)


class _LowRankLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, a, b, parents, drop, scale):
        y = F.linear(x, weight, bias)  # (P, N, C_out)
        y = y if parents is None else y[parents]  # (G, N, C_out)
        kept = x if drop is None else torch.where(drop, 0.0, x)  # (P, N, C_in)
        down = _down(kept, a, parents)  # (G, N, R)
        y.baddbmm_(down, b.transpose(1, 2), alpha=scale)
        ctx.scale = scale
        ctx.save_for_backward(x if weight.requires_grad else None, weight, a, b, parents, drop, kept, down)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, gy):
        x, weight, a, b, parents, drop, kept, down = ctx.saved_tensors
        need_x, need_weight, need_bias = ctx.needs_input_grad[:3]
        gb = torch.bmm(gy.transpose(1, 2), down).mul_(ctx.scale)
        gdown = torch.bmm(gy, b).mul_(ctx.scale)  # (G, N, R)
        ga = torch.bmm(gdown.transpose(1, 2), kept if parents is None else kept[parents])
        if parents is not None:  # the frozen product ran once for siblings: their gradients add up
            gy = _gather(gy, parents, len(kept))  # (P, N, C_out)
        gx = None
        if need_x:
            gx = _gather(torch.bmm(gdown, a), parents, len(kept))  # (P, N, C_in)
            if drop is not None:
                gx.masked_fill_(drop, 0.0)
            gx.view(-1, gx.shape[-1]).addmm_(gy.reshape(-1, gy.shape[-1]), weight)
        gweight = gy.flatten(0, 1).T @ x.flatten(0, 1) if need_weight else None
        return gx, gweight, gy.sum((0, 1)) if need_bias else None, ga, gb, None, None, None


def _down(x: Tensor, a: Tensor, parents: Tensor | None) -> Tensor:
    """x A^T per group: (P, N, C_in) -> (G, N, R)."""
    if len(x) == 1:  # one input for all: their A side by side
        return F.linear(x[0], a.flatten(0, 1)).view(-1, *a.shape[:2]).transpose(0, 1)
    return torch.bmm(x if parents is None else x[parents], a.transpose(1, 2))


def _gather(g: Tensor, parents: Tensor | None, n_parents: int) -> Tensor:
    """Sums over siblings: (G, ...) -> (P, ...)."""
    if parents is None:
        return g
    if n_parents == 1:
        return g.sum(0, keepdim=True)
    return g.new_zeros(n_parents, *g.shape[1:]).index_add_(0, parents, g)
