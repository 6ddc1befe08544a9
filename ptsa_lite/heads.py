"""The decoder of one task: 1x1 projections of every stage, brought together at stride 8, and a small classifier."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (18, 36, 72, 144)


class HRNetHead(nn.Module):
    """out = W2 relu(BN(W1 [up(P_1 f_1), ..., up(P_4 f_4)])), at stride 8 (MTLoRA's HRNet-style head).

    P_i are bias-free 1x1 convolutions to 18, 36, 72 and 144 channels; `up` is bilinear to the first map's size; W1
    keeps four times their sum (1,080). All 1x1 convolutions are written as linear layers on channel-last maps: the
    same numbers, one matrix product each.
    """

    def __init__(self, channels: Sequence[int], outputs: int, widths: Sequence[int] = WIDTHS, expansion: int = 4):
        super().__init__()
        self.project = nn.ModuleList(nn.Linear(c, w, bias=False) for c, w in zip(channels, widths, strict=True))
        hidden = expansion * sum(widths)
        self.fuse = nn.Linear(sum(widths), hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.predict = nn.Linear(hidden, outputs)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Maps (B, h_i, w_i, C_i), finest first -> (B, outputs, h_1, w_1)."""
        size = features[0].shape[1:3]
        maps = [project(f).permute(0, 3, 1, 2) for project, f in zip(self.project, features, strict=True)]
        maps = maps[:1] + [F.interpolate(m, size, mode="bilinear", align_corners=False) for m in maps[1:]]
        x = self.fuse(torch.cat(maps, 1).permute(0, 2, 3, 1))  # (B, h, w, hidden)
        x = F.relu(self.norm(x.flatten(0, 2)), inplace=True).view(x.shape)
        return self.predict(x).permute(0, 3, 1, 2)
