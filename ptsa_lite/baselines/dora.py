"""DoRA (Liu et al., ICML 2024): a weight's magnitude and its direction are trained apart.

    h_G = m_G / |W + s B_G A_G| * (W + s B_G A_G) x_G + b

|.| is the norm of each output's row, m_G one number an output, at the start the norm of W's row: a fresh layer changes
nothing. As in the paper (section 4.3) no gradient goes through the norm.
Trained: A, B, m and the line's extras (patch embedding, norms, patch mergings, position tables), heads. `rank` is that
of A and B. Either all tasks share one group (`dora_shared`) or each has its own (`dora_separate`).
Departure: norms are of rows, as in public implementations; m is a vector, spared by weight decay as norms are.
Count on Swin-T without heads at rank 16: shared 2.77 M, one a task 6.28 M. What the published row "DoRA in MTLoRA"
trained is not stated.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ptsa_lite.families import Backbone
from ptsa_lite.lora import GroupedLoRALinear
from ptsa_lite.model import MultiTaskModel


class DoRALinear(GroupedLoRALinear):
    """(G*B, ..., C_in) -> (G*B, ..., C_out); dropout acts on the input of A."""

    def __init__(self, base: nn.Linear, n_groups: int, *options: Any):
        super().__init__(base, n_groups, *options)
        self.lora_magnitude = nn.ParameterList(base.weight.detach().norm(dim=1) for _ in range(n_groups))

    def factor(self) -> Tensor:
        """m_G / |W + s B_G A_G|: (G, C_out)."""
        with torch.no_grad():
            norm = (self.base.weight + self.scale * self.lora_B @ self.lora_A).norm(dim=2)
        return torch.stack(list(self.lora_magnitude)) / norm

    def forward(self, x: Tensor) -> Tensor:
        factor = self.factor()[:, None]  # (G, 1, C_out)
        y = super().forward(x)  # (W + s B A) x + b
        h = factor * y.view(self.n_groups, -1, y.shape[-1])
        if self.base.bias is not None:
            h = h + (1 - factor) * self.base.bias
        return h.view(y.shape)

    @torch.no_grad()
    def merged(self) -> nn.Module:
        layer = super().merged()
        layer.weight.mul_(self.factor().view(*layer.weight.shape[:-1], 1))
        return layer

    def only(self, groups: list[int]) -> GroupedLoRALinear:
        layer = super().only(groups)
        kept = [self.lora_magnitude[g] for g in groups]
        layer.lora_magnitude = nn.ParameterList(nn.Parameter(m.detach().clone(), m.requires_grad) for m in kept)
        return layer


class DoRAModel(MultiTaskModel):
    """The options are those of `MultiTaskModel`, but for `layer`: it has its own."""

    def __init__(self, backbone: Backbone, *args: Any, layer: Any = None, **options: Any):
        super().__init__(backbone, *args, layer=DoRALinear, **options)
