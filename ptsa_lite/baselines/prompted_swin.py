"""A Swin with prompts beside its tokens: every window's attention has those of its image in front. For `vpt`;
`tadformer` has its attention."""

import torch
from timm.models.swin_transformer import WindowAttention
from torch import Tensor, nn
from torch.nn import functional as F

from ptsa_lite.families import SwinBackbone


class PromptedAttention(WindowAttention):
    """(B*windows, N, C) -> the same. `prompts` (B, n, C) is read, and replaced by what attention gives the prompts.

    Prompts have no position: no table is added to their scores, and the shift's mask does not hide them. What a prompt
    gets is averaged over an image's windows.
    """

    prompts: Tensor

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        n_windows, n = x.shape[0] // self.prompts.shape[0], self.prompts.shape[1]
        x = torch.cat([self.prompts.repeat_interleave(n_windows, 0), x], dim=1)  # (B*windows, n+N, C)
        q, k, v = self.qkv(x).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        bias = F.pad(self._get_rel_pos_bias(), (n, 0, n, 0))  # (1, heads, n+N, n+N)
        if mask is not None:
            bias = bias + F.pad(mask, (n, 0, n, 0)).repeat(self.prompts.shape[0], 1, 1)[:, None]
        scores = (q * self.scale @ k.mT + bias).softmax(-1)
        return self.project((self.attn_drop(scores) @ v).transpose(1, 2).flatten(2), q, k)

    def project(self, mixed: Tensor, q: Tensor, k: Tensor) -> Tensor:
        """The last step: from what attention gives prompts and tokens (B*windows, n+N, C) to what it puts out."""
        x, n = self.proj_drop(self.proj(mixed)), self.prompts.shape[1]
        self.prompts = x[:, :n].unflatten(0, (self.prompts.shape[0], -1)).mean(1)
        return x[:, n:]


class PromptedSwin(SwinBackbone):
    """A Swin whose stages take and give tokens (T*B, carried + h*w, C): prompts from block to block, then the map's."""

    def prepare(self, n: int, n_tasks: int, deep: bool, dropout: float) -> None:
        """Makes the prompts, one set for the first block or one for every block."""
        blocks = [block for stage in range(self.n_stages) for block in self.blocks(stage)]
        spread = (6 / (3 * self.patch_embed.patch_size[0] ** 2 + self.widths[0])) ** 0.5
        self.n, self.carried, self.dropout = n, 0 if deep else n, nn.Dropout(dropout)
        self.adapter_prompts = nn.ParameterList(
            torch.empty(n_tasks, n, block.norm1.weight.numel()).uniform_(-spread, spread)
            for block in (blocks if deep else blocks[:1])
        )
        for number, block in enumerate(blocks):
            block.attn.__class__, block.number = PromptedAttention, number

    def stage(self, stage: int, x: Tensor) -> Tensor:
        grid = self._grid(stage)
        x = x.flatten(1, 2) if x.ndim == 4 else x  # the embedding gives a map
        for block in self.blocks(stage):
            if block.number < len(self.adapter_prompts):
                prompts = self.dropout(self.adapter_prompts[block.number])  # (T, n, C)
                x = torch.cat([prompts.repeat_interleave(x.shape[0] // len(prompts), 0), x], dim=1)
            x = self._block(block, x, grid)
            x = x if self.carried else x[:, self.n :]
        prompts, x = x[:, : self.carried], x[:, self.carried :].unflatten(1, grid)
        if stage + 1 < self.n_stages:
            merging = self.layers[stage + 1].downsample
            prompts = merging.reduction(merging.norm(torch.cat([prompts] * 4, dim=-1)))
        return torch.cat([prompts, self.end(stage, x).flatten(1, 2)], dim=1)

    def _block(self, block: nn.Module, x: Tensor, grid: tuple[int, int]) -> Tensor:
        normed = block.norm1(x)
        block.attn.prompts = normed[:, : self.n]
        attended = block._attn(normed[:, self.n :].unflatten(1, grid)).flatten(1, 2)
        x = x + block.drop_path1(torch.cat([block.attn.prompts, attended], dim=1))
        del block.attn.prompts
        return x + block.drop_path2(block.mlp(block.norm2(x)))

    def map(self, stage: int, x: Tensor) -> Tensor:
        return x[:, self.carried :].unflatten(1, self._grid(min(stage + 1, self.n_stages - 1)))

    def _grid(self, stage: int) -> tuple[int, int]:
        h, w = self.patch_embed.grid_size
        return h >> stage, w >> stage
