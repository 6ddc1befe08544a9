"""Plain vision transformers (DINOv2, DINOv3), which the paper does not use."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from ptsa_lite.families import Backbone
from ptsa_lite.resize import resize


class Trunk(nn.ModuleList):
    """A ViT's blocks, and a stage's where they are called with its number: torch.export looks for a module here."""

    def __call__(self, stage: int) -> Any:
        return self[stage * len(self) // Backbone.n_stages : (stage + 1) * len(self) // Backbone.n_stages]


class ViTBackbone(Backbone):
    """A plain ViT (DINOv2, DINOv3): four runs of its blocks, all on one grid; heads read it twice as fine, as it is,
    and half as fine, which is a pyramid without a weight (after ViTDet, Li et al. 2022)."""

    LINEARS = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc1_g", "mlp.fc1_x", "mlp.fc2")
    SIZED = True

    def __init__(self, net: nn.Module, img_size: tuple[int, int]):
        super().__init__(net, img_size)
        self.__dict__["trunk"] = Trunk(self._modules["blocks"])  # no child of its own: names stay timm's

    @property
    def MULTIPLE(self) -> int:  # type: ignore[override]
        return 2 * self.patch_embed.patch_size[0]

    @property
    def channels(self) -> tuple[int, ...]:
        return self.widths

    @property
    def blocks(self) -> Any:
        return self.trunk

    def embed(self, images: Tensor) -> Tensor:
        x = self.net_class._pos_embed(self, self.patch_embed(images))  # (B, tokens, C), class and register tokens first
        return self.norm_pre(x[0] if isinstance(x, tuple) else x)

    def run(self, block: nn.Module, x: Tensor) -> Tensor:
        if getattr(self, "rope", None) is None:
            return block(x)
        return block(x, rope=self.rope.get_embed(shape=self.patch_embed.grid_size))

    def end(self, stage: int, x: Tensor) -> Tensor:
        return x

    def map(self, stage: int, x: Tensor) -> Tensor:
        h, w = self.patch_embed.grid_size
        grid = x[:, self.num_prefix_tokens :].mT.unflatten(2, (h, w))  # (B, C, h, w)
        if stage == 0:
            grid = resize(grid, (2 * h, 2 * w))
        elif stage > 1:
            grid = F.avg_pool2d(grid, 2)
        return grid.permute(0, 2, 3, 1)
