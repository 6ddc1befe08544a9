"""Visual prompt tuning (Jia et al., ECCV 2022) for a Swin: learnt tokens that every window's attention sees.

    [P, X] <- block([P, X])        P: n prompts beside the tokens X (see `prompted_attention`)

Prompts pass norms, MLP and residuals as tokens do; heads do not read them. Shallow: P_t of each task enters before the
first block; patch merging joins four copies of a prompt to one. Deep: every block is given prompts of its own, and what
it made of them is dropped. Trained: P, heads. `rank` is n; dropout acts on P; there is nothing to scale.
Read: the paper and its authors' published code. Departure: none known.
Count on Swin-T without heads, at n = 50 and four tasks: 19,200 and 883,200. Published 2.57 and 3.43 M: the same and the
2.55 M of that benchmark's decoders.
"""

from typing import Any

import torch
from timm.models.swin_transformer import WindowAttention
from torch import Tensor, nn

from ptsa_lite.families import Backbone, SwinBackbone
from ptsa_lite.model import MultiTaskModel

from .prompted_attention import PromptedAttention


class VPTModel(MultiTaskModel):
    """Raises ValueError for a backbone that is no Swin, or other numbers of prompts than one for all stages."""

    deep = False

    def __init__(self, backbone: Backbone, *args: Any, layer: Any = None, dropout: float = 0.0, **options: Any):
        backbone.LINEARS = ()
        super().__init__(backbone, *args, **options)
        blocks = [block for s in range(backbone.n_stages) for block in backbone.blocks(s)]
        n = self.ranks[0]
        swin = isinstance(backbone, SwinBackbone) and type(blocks[0].attn) is WindowAttention  # SwinV2's is another
        if not swin or set(self.ranks) != {n} or n == 0:
            raise ValueError("VPT is defined for a Swin with one number of prompts (rank) for all stages")
        self.dropout, self.carried = nn.Dropout(dropout), 0 if self.deep else n  # prompts from block to block
        spread = (6 / (3 * backbone.patch_embed.patch_size[0] ** 2 + backbone.widths[0])) ** 0.5
        self.adapter_prompts = nn.ParameterList(
            torch.empty(len(self.tasks), n, block.norm1.weight.numel()).uniform_(-spread, spread)
            for block in (blocks if self.deep else blocks[:1])
        )
        for number, block in enumerate(blocks):
            block.attn.__class__, block.number = PromptedAttention, number

    def description(self) -> dict:
        return super().description() | {"scale": None, "prompts": "deep" if self.deep else "shallow"}

    def features(self, images: Tensor) -> dict[str, list[Tensor]]:
        x = self.backbone.embed(images).flatten(1, 2).repeat(len(self.tasks), 1, 1)  # (T*B, h*w, C)
        x = x if self.deep else self._with_prompts(x, 0)
        maps: dict[str, list[Tensor]] = {task: [] for task in self.tasks}
        for s in range(self.backbone.n_stages):
            x = self._stage(s, x)
            read = x[:, self.carried :].unflatten(1, self._grid(s + 1)).unflatten(0, (len(self.tasks), -1))
            for task in self.tasks:
                maps[task].append(read[self.tree.group_of(s, task)])
        return maps

    def stage(self, stage: int, x: Tensor) -> Tensor:
        """(T*B, carried + h*w, C) -> the same after the stage's end."""
        for block in self.backbone.blocks(stage):
            x = self._with_prompts(x, block.number) if self.deep else x
            x = self._block(block, x, self._grid(stage))
            x = x[:, self.ranks[0] :] if self.deep else x
        prompts, x = x[:, : self.carried], x[:, self.carried :].unflatten(1, self._grid(stage))
        if stage + 1 < self.backbone.n_stages:
            merging = self.backbone.layers[stage + 1].downsample
            prompts = merging.reduction(merging.norm(torch.cat([prompts] * 4, dim=-1)))
        return torch.cat([prompts, self.backbone.end(stage, x).flatten(1, 2)], dim=1)

    def _block(self, block: nn.Module, x: Tensor, grid: tuple[int, int]) -> Tensor:
        normed, n = block.norm1(x), self.ranks[0]
        block.attn.prompts = normed[:, :n]
        attended = block._attn(normed[:, n:].unflatten(1, grid)).flatten(1, 2)
        x = x + block.drop_path1(torch.cat([block.attn.prompts, attended], dim=1))
        del block.attn.prompts
        return x + block.drop_path2(block.mlp(block.norm2(x)))

    def _with_prompts(self, x: Tensor, number: int) -> Tensor:
        prompts = self.adapter_prompts[number]  # (T, n, C)
        return torch.cat([self.dropout(prompts).repeat_interleave(len(x) // len(prompts), 0), x], dim=1)

    def _grid(self, stage: int) -> tuple[int, int]:
        halvings = min(stage, self.backbone.n_stages - 1)
        h, w = self.backbone.patch_embed.grid_size
        return h >> halvings, w >> halvings

    def only(self, tasks: Any) -> MultiTaskModel:
        model = super().only(tasks)
        kept = sorted(self.tree.group_of(0, task) for task in model.tasks)
        model.adapter_prompts = nn.ParameterList(p.detach()[kept] for p in self.adapter_prompts)
        return model

    def merge(self) -> MultiTaskModel:
        raise ValueError("prompts stand beside the tokens in attention and cannot be merged away")


class DeepVPTModel(VPTModel):
    """Every block has prompts of its own."""

    deep = True
