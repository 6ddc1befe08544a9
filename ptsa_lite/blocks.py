"""One Swin block over a stack of task groups.

The modules are timm's; the forward is written anew so that a stack may branch inside it: the first normalisation, the
window partition and the frozen part of qkv run once for siblings whose inputs are still equal.
"""

import torch
from timm.models.swin_transformer import SwinTransformerBlock, WindowAttention
from torch import Tensor
from torch.nn import functional as F

from .lora import ALL, Route, fork, run_linear


def swin_block(block: SwinTransformerBlock, x: Tensor, route: Route = ALL) -> Tensor:
    """x + attention(norm(x)), then + mlp(norm(.)): (P*B, h, w, C) -> (G*B, h, w, C), as timm computes it."""
    attended = attention(block, block.norm1(x), route)  # (G*B, h, w, C)
    x = fork(x, route) + block.drop_path1(attended)
    return x + block.drop_path2(mlp(block, block.norm2(x), route.arrived()))


def mlp(block: SwinTransformerBlock, x: Tensor, route: Route = ALL) -> Tensor:
    """fc2(gelu(fc1(x))), shape kept."""
    hidden = block.mlp.act(run_linear(block.mlp.fc1, x, route))
    return run_linear(block.mlp.fc2, hidden, route)


def attention(block: SwinTransformerBlock, x: Tensor, route: Route = ALL) -> Tensor:
    """Self-attention inside (shifted) windows and its output projection: (P*B, h, w, C) -> (G*B, h, w, C)."""
    h, w = x.shape[1:3]
    mixed = mix(block, x, route)  # (G*B*nW, N, C)
    return from_windows(block, run_linear(block.attn.proj, mixed, route.arrived()), h, w)


def mix(block: SwinTransformerBlock, x: Tensor, route: Route = ALL) -> Tensor:
    """softmax(q k^T / sqrt(d) + bias) v in every window, before the projection: -> (G*B*nW, N, C)."""
    attn, windows = block.attn, to_windows(block, x)
    qkv = run_linear(attn.qkv, windows, route)  # (G*B*nW, N, 3C)
    rows, n, _ = qkv.shape
    q, k, v = qkv.view(rows, n, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)  # (rows, heads, N, d)
    scores = (q * attn.scale) @ k.transpose(-2, -1)  # (rows, heads, N, N)
    bias = position_bias(attn, block.attn_mask)  # (1 or nW, heads, N, N)
    scores = (scores.view(-1, len(bias), *scores.shape[1:]) + bias).view(scores.shape)
    return (scores.softmax(-1).to(v.dtype) @ v).transpose(1, 2).reshape(rows, n, -1)


def position_bias(attn: WindowAttention, mask: Tensor | None) -> Tensor:
    """Relative-position bias, and -100 between tokens that only the shift made neighbours: (1 or nW, heads, N, N)."""
    n = attn.window_area
    bias = attn.relative_position_bias_table[attn.relative_position_index.flatten()].view(n, n, -1).permute(2, 0, 1)
    return bias[None] if mask is None else bias[None] + mask[:, None]


def to_windows(block: SwinTransformerBlock, x: Tensor) -> Tensor:
    """(n, h, w, C) -> (n*nW, N, C): shifted, padded to whole windows, cut."""
    if any(block.shift_size):
        x = torch.roll(x, (-block.shift_size[0], -block.shift_size[1]), (1, 2))
    wh, ww = block.window_size
    bottom, right = -x.shape[1] % wh, -x.shape[2] % ww
    if bottom or right:
        x = F.pad(x, (0, 0, 0, right, 0, bottom))
    n, h, w, c = x.shape
    return x.view(n, h // wh, wh, w // ww, ww, c).transpose(2, 3).reshape(-1, wh * ww, c)


def from_windows(block: SwinTransformerBlock, x: Tensor, h: int, w: int) -> Tensor:
    """(n*nW, N, C) -> (n, h, w, C): the inverse of `to_windows`."""
    wh, ww = block.window_size
    rows, columns = -(-h // wh), -(-w // ww)
    x = x.view(-1, rows, columns, wh, ww, x.shape[-1]).transpose(2, 3).reshape(-1, rows * wh, columns * ww, x.shape[-1])
    x = x[:, :h, :w]
    return torch.roll(x, block.shift_size, (1, 2)) if any(block.shift_size) else x.contiguous()
