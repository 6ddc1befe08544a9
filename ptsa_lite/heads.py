"""The decoder of one task: every stage's map projected, brought to one size, joined, classified."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .resize import resize

WIDTHS = (18, 36, 72, 144)


class HRNetHead(nn.Module):
    """out = W2 relu(BN(W1 [up(P_1 f_1), ..., up(P_4 f_4)])), at the size of the first map.

    f_i  the map of stage i, channels last
    P_i  to 18, 36, 72 and 144 channels, without a bias
    up   bilinear, to the size of f_1 (stride 8)
    W1   keeps four times the joined channels: 270 -> 1,080
    W2   to the outputs of the task

    All of these are 1x1 convolutions, written as linear layers on channel-last maps: the same numbers.
    Source: MTLoRA's code, whose decoder follows HRNet's (Wang et al. 2020).
    """

    def __init__(self, channels: Sequence[int], outputs: int):
        super().__init__()
        self.project = nn.ModuleList(nn.Linear(c, w, bias=False) for c, w in zip(channels, WIDTHS, strict=True))
        self.fuse = nn.Linear(sum(WIDTHS), 4 * sum(WIDTHS))
        self.norm = nn.BatchNorm1d(4 * sum(WIDTHS))
        self.relu = nn.ReLU()
        self.predict = nn.Linear(4 * sum(WIDTHS), outputs)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Maps (B, h_i, w_i, C_i), finest first -> (B, outputs, h_1, w_1)."""
        maps = [project(f) for project, f in zip(self.project, features, strict=True)]  # (B, h_i, w_i, c_i)
        up = [resize(z.permute(0, 3, 1, 2), maps[0].shape[1:3]) for z in maps]  # (B, c_i, h_1, w_1)
        x = self.fuse(torch.cat(up, dim=1).permute(0, 2, 3, 1))  # (B, h_1, w_1, 1080)
        x = self.norm(x.flatten(0, 2)).view(x.shape)
        return self.predict(self.relu(x)).permute(0, 3, 1, 2)
