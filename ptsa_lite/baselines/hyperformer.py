"""HyperFormer (Karimi Mahabadi et al., ACL 2021): a hypernetwork makes every task's adapters.

An adapter as in `adapter`, whose matrices are linear in an embedding of the task:

    I_t = norm(M2 relu(M1 z_t)),  D_t = H_D I_t,  U_t = H_U I_t        z_t: 512, I_t: 64 numbers

HyperFormer has its own H for each adapter and shares it among tasks. HyperFormer++ shares it among layers too, and M1
reads z_t beside an embedding of the block and one of the place in it (after attention, after the MLP).
Trained: z, M, H, the adapters' biases, the backbone's norms (shared by the tasks), heads. `rank` is R.
Departures: with several widths ++ has one H a stage; the adapters' biases are plain, one set a task, and norms are not
made by hypernetworks; H_U starts at zero, so that a fresh adapter changes nothing.
Count on Swin-T at R = (12, 24, 48, 96), an eighth of the widths: 70.23 M without heads, ++ 13.01 M. Published 72.77 M:
the first and the 2.55 M of that benchmark's decoders (R and all else are inferred from the count).
"""

from typing import Any

import torch
from torch import Tensor, nn

from .adapter import PLACES, AdapterLinear, AdapterModel

TASK, HIDDEN = 512, 128  # widths of z and between M1 and M2, as in their code


class Embedding(nn.Module):
    """I (G, k) for tasks by number; where there are blocks, for a block and a place as well."""

    def __init__(self, n_tasks: int, n_blocks: int, size: int):
        super().__init__()
        self.z = nn.Parameter(torch.randn(n_tasks, TASK))
        self.where = nn.ParameterList(torch.randn(n, TASK) for n in (n_blocks, len(PLACES)) if n_blocks)
        first, second = nn.Linear((1 + len(self.where)) * TASK, HIDDEN), nn.Linear(HIDDEN, size)
        self.mlp, self.norm = nn.Sequential(first, nn.ReLU(), second), nn.LayerNorm(size)

    def forward(self, tasks: list[int], *where: int) -> Tensor:
        z = self.z[tasks]
        here = [table[number].expand_as(z) for table, number in zip(self.where, where, strict=False)]
        return self.norm(self.mlp(torch.cat([z, *here], dim=1)))


class HyperNetwork(nn.Module):
    """H_D and H_U of one width: (G, k) -> (G, R, C), (G, C, R)."""

    def __init__(self, size: int, width: int, rank: int):
        super().__init__()
        self.shape = (rank, width)
        self.down, self.up = nn.Linear(size, rank * width), nn.Linear(size, width * rank)
        nn.init.normal_(self.down.weight, std=(3 * size * width) ** -0.5)  # D as spread as the line's A
        for parameter in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(parameter)

    def forward(self, embedded: Tensor) -> tuple[Tensor, Tensor]:
        rank, width = self.shape
        return self.down(embedded).view(-1, rank, width), self.up(embedded).view(-1, width, rank)


class HyperLinear(AdapterLinear):
    """The hypernetwork and the embedding are the model's: here in a tuple, which registers nothing."""

    def attach(self, embedding: nn.Module, network: nn.Module, *where: int) -> None:
        self.source, self.where = (embedding, network), where

    def weights(self) -> tuple[Tensor, Tensor]:
        embedding, network = self.source
        return network(embedding(self.groups, *self.where))


class HyperFormerModel(AdapterModel):
    """embedding: the size of I."""

    adapter_layer, share_layers = HyperLinear, False

    def __init__(self, *args: Any, embedding: int = 64, **options: Any):
        super().__init__(*args, **options)
        self.own = {"embedding": embedding, "share_layers": self.share_layers}
        layers = [(stage, layer) for stage, _, _, layer in self.backbone.adapted_linears()]
        n_places = len(self.backbone.LINEARS)
        self.adapter_embedding = Embedding(len(self.tasks), self.share_layers * len(layers) // n_places, embedding)
        self.adapter_networks = nn.ModuleList()
        for number, (stage, layer) in enumerate(layers):
            if not self.share_layers or stage == len(self.adapter_networks):  # the first of its stage
                self.adapter_networks.append(HyperNetwork(embedding, layer.base.weight.shape[0], layer.rank))
            layer.attach(self.adapter_embedding, self.adapter_networks[-1], *divmod(number, n_places))


class PlusModel(HyperFormerModel):
    """HyperFormer++."""

    share_layers = True
