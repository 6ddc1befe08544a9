"""Bilinear resizing as two matrix products: the same numbers on every device, forward and backward."""

from collections.abc import Sequence

import torch
from torch import Tensor


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """U x V^T: (..., h, w) -> (..., H, W); x itself where the size fits.

    U (H, h) and V (W, w) hold the weights of linear interpolation, pixels counted from their centres
    (align_corners=False). torch's own resize adds up its gradient in no fixed order on a GPU.
    """
    if x.shape[-2:] == tuple(size):
        return x
    U = interpolation(size[0], x.shape[-2], x)
    V = interpolation(size[1], x.shape[-1], x)
    return U @ x @ V.T


def interpolation(n: int, m: int, like: Tensor) -> Tensor:
    """(n, m) weights that bring m values to n: a hat of width 1 about each of the n places; rows sum to 1."""
    exact = torch.float64 if like.dtype == torch.float64 else torch.float32
    place = (torch.arange(n, device=like.device, dtype=exact) + 0.5) * (m / n) - 0.5
    place = place.clamp(0, m - 1)[:, None]  # beyond the outermost centre its value goes on
    hat = 1 - (place - torch.arange(m, device=like.device)).abs()
    return hat.clamp(min=0).to(like.dtype)
