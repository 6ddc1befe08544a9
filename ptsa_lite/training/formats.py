"""Number formats of a forward pass, and layer norms that keep to them."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptsa_lite.checks import known


def number_format(amp: str, device: torch.device) -> str:
    """`TrainConfig.amp` with `auto` decided: bfloat16 on a GPU, else float32. ValueError for another."""
    known(amp, ("auto", "float32", "bfloat16", "float16"), "number format")
    if device.type == "mps":
        raise ValueError("an Apple GPU lacks float64, which metrics are summed in; move the model to the processor")
    if amp != "auto":
        return amp
    return "bfloat16" if device.type == "cuda" else "float32"


class ShortLayerNorm(nn.LayerNorm):
    """Under autocast on a GPU, in the products' number format: the kernel sums in float32 anyway.

    torch's own list has layer norms in float32 there, which turns every map into four bytes a value and back.
    """

    plain = nn.LayerNorm

    def forward(self, x: Tensor) -> Tensor:
        if not (x.is_cuda and torch.is_autocast_enabled("cuda")):
            return super().forward(x)
        dtype = torch.get_autocast_dtype("cuda")
        weight, bias = (None if p is None else p.to(dtype) for p in (self.weight, self.bias))
        with torch.autocast("cuda", enabled=False):
            return F.layer_norm(x.to(dtype), self.normalized_shape, weight, bias, self.eps)


def short_norms(model: nn.Module) -> nn.Module:
    """The same model, its layer norms of the class above: parameters, names and files stay as they are."""
    for module in model.modules():
        if type(module) is nn.LayerNorm:
            module.__class__ = ShortLayerNorm
    return model
