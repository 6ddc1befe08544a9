"""timm's attention over windows, with prompts of the image in front of every window's tokens."""

import torch
from timm.models.swin_transformer import WindowAttention
from torch import Tensor
from torch.nn import functional as F


class PromptedAttention(WindowAttention):
    """(B*windows, N, C) -> the same. `prompts` (B, n, C) is read, and replaced by what attention gives the prompts.

    Prompts have no position: no table is added to their scores, and the shift's mask does not hide them. What a prompt
    gets is averaged over an image's windows.
    """

    prompts: Tensor

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        n_windows, n = len(x) // len(self.prompts), self.prompts.shape[1]
        x = torch.cat([self.prompts.repeat_interleave(n_windows, 0), x], dim=1)  # (B*windows, n+N, C)
        q, k, v = self.qkv(x).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        bias = F.pad(self._get_rel_pos_bias(), (n, 0, n, 0))  # (1, heads, n+N, n+N)
        if mask is not None:
            bias = bias + F.pad(mask, (n, 0, n, 0)).repeat(len(self.prompts), 1, 1)[:, None]
        scores = (q * self.scale @ k.mT + bias).softmax(-1)
        x = self.proj_drop(self.proj((self.attn_drop(scores) @ v).transpose(1, 2).flatten(2)))
        self.prompts = x[:, :n].unflatten(0, (-1, n_windows)).mean(1)
        return x[:, n:]
