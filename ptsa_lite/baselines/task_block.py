"""The block of TADFormer: prompts beside the tokens; in a stage's last, picking by prompts and filters of the input."""

import torch
from timm.models.swin_transformer import SwinTransformerBlock
from torch import Tensor, nn
from torch.nn import functional as F

from ptsa_lite.lora import GroupedLoRALinear

from .prompted_swin import PromptedAttention


class TaskFilter(nn.Module):
    """(B, h, w, R) -> the same: F(y) = k(y) * y, a 3x3 convolution of each channel, in each map by a kernel of its own.

    k(y) = g (V m - mean) / deviation + c: m is the map's mean (R), V makes the nine numbers of every channel's kernel,
    mean and deviation are theirs, g and c are trained. Source: FilterNorm of DDFNet (Zhou et al., CVPR 2021).
    """

    def __init__(self, rank: int):
        super().__init__()
        self.make = nn.Linear(rank, 9 * rank)
        self.gain = nn.Parameter(torch.randn(9 * rank) * 2**0.5 / 3)
        self.shift = nn.Parameter(torch.randn(9 * rank))

    def forward(self, y: Tensor) -> Tensor:
        made = self.make(y.mean((1, 2))).unflatten(1, (-1, 9))  # (B, R, 9)
        made = (made - made.mean(2, keepdim=True)) / (made.std(2, keepdim=True) + 1e-10)
        kernels = (self.gain * made.flatten(1) + self.shift).view(-1, 1, 3, 3)  # (B*R, 1, 3, 3)
        maps = y.permute(0, 3, 1, 2).flatten(0, 1)[None]  # (1, B*R, h, w)
        filtered = F.conv2d(maps, kernels, padding=1, groups=kernels.shape[0])
        return filtered.view(*made.shape[:2], *y.shape[1:3]).permute(0, 2, 3, 1)


class FilteredLinear(nn.Module):
    """Streams [x_0, ..., x_T], each (B, h, w, C_in) -> [h_0, ..., h_T], all by the one pair of `shared`.

    h_0 = W x_0 + b + s B A x_0, h_t = W x_0 + b + s B F(A x_t). Dropout, as in the authors' code, acts on x_0 alone.
    """

    def __init__(self, shared: GroupedLoRALinear):
        super().__init__()
        self.shared, self.adapter_filter = shared, TaskFilter(shared.rank)

    def streams(self, x: list[Tensor]) -> list[Tensor]:
        layer, a, b = self.shared, self.shared.lora_A[0], self.shared.lora_B[0]
        frozen = layer.base(x[0])
        low = [layer.dropout(x[0]) @ a.T, *(self.adapter_filter(x_t @ a.T) for x_t in x[1:])]
        return [frozen + layer.scale * low_t @ b.T for low_t in low]

    def forward(self, x: Tensor) -> Tensor:
        """What is no stream, as prompts are."""
        return self.shared(x)


class PickingAttention(PromptedAttention):
    """As its base, but gives [h_0, ..., h_T, z_1, ..., z_T], one after the other: z_t is what a task's prompt picked.

    z_t = gelu(q_t k) x in each head, with the prompt's query, the tokens' keys (not scaled) and what attention gave the
    tokens, x. A task's stream begins with x_t = LN(x + z_t).
    """

    def project(self, mixed: Tensor, q: Tensor, k: Tensor) -> Tensor:
        n = self.prompts.shape[1]
        told = self.proj(mixed[:, :n])
        self.prompts = told.unflatten(0, (self.prompts.shape[0], -1)).mean(1)
        tokens, affinity = mixed[:, n:], F.gelu(q[:, :, :n] @ k[:, :, n:].mT)  # (B*windows, N, C), (.., heads, T, N)
        x = self.proj.shared.dropout(tokens).unflatten(2, (self.num_heads, -1)).transpose(1, 2)  # (.., heads, N, c)
        picked = [(affinity[:, :, t, :, None] * x).transpose(1, 2).flatten(2) for t in range(n)]
        starts = [self.adapter_norm(x.transpose(1, 2).flatten(2) + z) for z in picked]
        grids = [y.unflatten(1, self.window_size) for y in (tokens, *starts)]
        return torch.cat([*(h.flatten(1, 2) for h in self.proj.streams(grids)), *picked])


class TaskBlock(SwinTransformerBlock):
    """x (B, h, w, C), prompts (B, T, C) -> [x, and in a last block each task's stream], prompts, what they picked."""

    def forward(self, x: Tensor, prompts: Tensor) -> tuple[list[Tensor], Tensor, tuple[Tensor, ...]]:
        self.attn.prompts = self.norm1(prompts)
        parts = self._attn(self.norm1(x)).unflatten(0, (-1, x.shape[0])).unbind()
        told, n = self.norm2(self.attn.prompts), len(parts) // 2 + 1
        del self.attn.prompts
        streams = [x + self.drop_path1(part) for part in parts[:n]]
        out = [self.norm2(x_t) for x_t in streams]
        if n == 1:
            out = [self.mlp(out[0])]
        else:
            out = self.mlp.fc2.streams([self.mlp.act(h) for h in self.mlp.fc1.streams(out)])
        streams = [x_t + self.drop_path2(h_t) for x_t, h_t in zip(streams, out, strict=True)]
        return streams, prompts + self.drop_path2(self.mlp(told)), parts[n:]
