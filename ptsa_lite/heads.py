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

    `up` mixes pixels and W1 mixes channels, so they commute: W1 [z_1, up(z_2), ...] is computed as the sum of
    up(W1_i z_i), a seventh of the multiply-adds, since W1_i then sees each map at its own resolution. The equation as
    it stands above is in tests/test_heads.py, and must agree.
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
        maps = [project(f) for project, f in zip(self.project, features, strict=True)]
        x = F.relu(self.norm(self._fused(maps)), inplace=True)
        return self.predict(x).view(*maps[0].shape[:3], -1).permute(0, 3, 1, 2)

    def _fused(self, maps: Sequence[Tensor]) -> Tensor:
        """sum over i of up(W1_i z_i) + b, pixels in rows: projections (B, h_i, w_i, c_i) -> (B*h_1*w_1, hidden)."""
        columns, size = self.fuse.weight.split([z.shape[-1] for z in maps], dim=1), maps[0].shape[1:3]
        x = F.linear(maps[0].flatten(0, 2), columns[0], self.fuse.bias)
        by_grid: dict[tuple[int, int], list[int]] = {}
        for i, z in enumerate(maps[1:], 1):
            grid = (z.shape[1], z.shape[2])
            by_grid[grid] = [*by_grid.get(grid, []), i]
        for group in by_grid.values():  # maps of one grid (the last two) go up together
            part = F.linear(torch.cat([maps[i] for i in group], -1), torch.cat([columns[i] for i in group], 1))
            up = F.interpolate(part.permute(0, 3, 1, 2), size, mode="bilinear", align_corners=False)
            # x is fresh and no gradient needs it. It must not be a view (a product of rows is none): autograd would
            # copy the whole gradient for every addition to a view.
            x.add_(up.permute(0, 2, 3, 1).flatten(0, 2))
        return x
