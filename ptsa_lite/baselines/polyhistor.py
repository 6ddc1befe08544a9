"""Polyhistor and Polyhistor-Lite (Liu et al., NeurIPS 2022): hypernetworks that make adapters out of small factors.

An adapter as in `adapter`; its matrices are products of two factors, each linear in a task's embedding z_t:

    Polyhistor         D_t = P_t Q_t,  P_t = H_P z_t (R x k), Q_t = H_Q z_t (k x C), and U_t likewise; H of each adapter
    Polyhistor-Lite    the same once, for the first stage's size: template kernels. Layer l has S_l (x) D_t and
                       S'_l (x) U_t, where small scaling kernels S_l, S'_l bring them to its size by Kronecker's product

Trained: z, H, S, the adapters' biases, the backbone's norms (shared by the tasks), heads. `rank` is R, `factor` is k.
Read: abstract, figure and project page. Sizes and Kronecker's product are recalled, not checked; no code is public.
Departures: the factor that begins U starts at zero, so that a fresh adapter changes nothing; S starts at random;
templates are two pairs, for the places after attention and after the MLP.
Count on Swin-T without heads, at R = (12, 24, 48, 96), k = 5, z of 64 numbers: Polyhistor 6.42 M (published 8.96 M with
the 2.55 M of that benchmark's decoders: 6.41), Lite 0.20 M (its published count is not in our sources).
"""

from typing import Any

import torch
from torch import Tensor, nn

from .adapter import AdapterLinear, AdapterModel


class DecomposedNetwork(nn.Module):
    """H_P and H_Q for D and for U: (G, size) -> D (G, R, C), U (G, C, R)."""

    def __init__(self, size: int, width: int, rank: int, factor: int):
        super().__init__()
        self.shapes = ((rank, factor), (factor, width), (width, factor), (factor, rank))
        self.makers = nn.ModuleList(nn.Linear(size, a * b, bias=False) for a, b in self.shapes)
        spreads = (factor**-0.5, (3 * width) ** -0.5, 0.0, (3 * rank) ** -0.5)  # D as spread as the line's A, U zero
        for maker, spread in zip(self.makers, spreads, strict=True):
            nn.init.normal_(maker.weight, std=spread / size**0.5)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        p, q, p_up, q_up = (maker(z).view(-1, *shape) for maker, shape in zip(self.makers, self.shapes, strict=True))
        return p @ q, p_up @ q_up


class PolyhistorLinear(AdapterLinear):
    """z and the hypernetwork are the model's, which is kept here in a tuple: that registers nothing."""

    def attach(self, model: nn.Module, network: DecomposedNetwork) -> None:
        self.source = (model, network)

    def weights(self) -> tuple[Tensor, Tensor]:
        model, network = self.source
        return network(model.adapter_z[self.groups])


class ScaledLinear(PolyhistorLinear):
    """D and U are template kernels, scaled up to the layer by S and S'."""

    def attach(self, model: nn.Module, network: DecomposedNetwork) -> None:
        super().attach(model, network)
        rank, width = network.shapes[0][0], network.shapes[1][1]
        if self.rank % rank:
            raise ValueError(f"rank {self.rank} is no multiple of the first stage's {rank}, which its template has")
        times = (self.rank // rank, self.adapter_up_bias.shape[-1] // width)
        self.adapter_scaling = nn.ParameterList(torch.randn(a, b) / b**0.5 for a, b in (times, times[::-1]))

    def weights(self) -> tuple[Tensor, Tensor]:
        down, up = super().weights()
        scale_down, scale_up = self.adapter_scaling
        return torch.kron(scale_down[None], down), torch.kron(scale_up[None], up)


class PolyhistorModel(AdapterModel):
    """factor: the rank of what a hypernetwork makes; embedding: the size of z."""

    adapter_layer: type[AdapterLinear] = PolyhistorLinear

    def __init__(self, *args: Any, factor: int = 5, embedding: int = 64, **options: Any):
        super().__init__(*args, **options)
        self.own = {"factor": factor, "embedding": embedding}
        self.adapter_z = nn.Parameter(torch.randn(len(self.tasks), embedding))
        layers = [layer for _, _, _, layer in self.backbone.adapted_linears()]
        templates = len(self.backbone.LINEARS) if self.adapter_layer is ScaledLinear else len(layers)
        self.adapter_networks = nn.ModuleList(
            DecomposedNetwork(embedding, layer.base.weight.shape[0], layer.rank, factor) for layer in layers[:templates]
        )
        for number, layer in enumerate(layers):
            layer.attach(self, self.adapter_networks[number % templates])


class LiteModel(PolyhistorModel):
    """The layers of every stage scale the first stage's templates, so its rank divides the others'."""

    adapter_layer = ScaledLinear
