"""Backbones as four stages. A family is a few answers about timm's modules; all else is shared."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn import functional as F

from .resize import resize


class Backbone(nn.Module):
    """timm's modules under timm's names, read as four stages of blocks and what ends each stage.

    timm keeps patch merging at the *start* of the next stage; Microsoft's code and the paper's line count it at the end
    of its own, and take a stage's features after it. Only the order of reading differs. The last norm and the
    classifier are left out.

    What stands here is how most of timm's models are built: `stages`, each with its `blocks`, and at its start a
    `downsample`. A family answers only where it differs: `blocks`, `end`, `embed`, `run`, `map`, `LINEARS`, `NORM`.
    """

    LINEARS: tuple[str, ...] = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")  # of a block: what takes adapters
    NORM = "norm1"  # of a block: a norm as wide as its tokens
    MULTIPLE = 32  # of an image's sides
    n_stages = 4
    name = ""
    img_size: tuple[int, int]
    net_class: Any  # timm's

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...  # whatever timm calls its own

    def __init__(self, net: nn.Module, img_size: tuple[int, int]):
        super().__init__()
        self.__dict__.update(vars(net))  # timm's parameters, modules and settings, under timm's own names
        self.net_class, self.img_size = type(net), img_size
        for left_out in ("norm", "fc_norm", "head"):
            self._modules.pop(left_out, None)
        module: Any
        for module in self.modules():
            if hasattr(module, "qkv_bias_separate"):  # else timm reads qkv's weight past the layer, and its adapter
                module.qkv_bias_separate = True

    def blocks(self, stage: int) -> Any:
        """The blocks of a stage, counted from 0."""
        return self.stages[stage].blocks

    def end(self, stage: int, x: Tensor) -> Tensor:
        """What leads from a stage's last block to the next stage: half the grid, more channels."""
        return self.stages[stage + 1].downsample(x) if stage + 1 < self.n_stages else x

    def embed(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> what the first block takes; for the Swins (B, H/4, W/4, C)."""
        return self.patch_embed(images)

    def run(self, block: nn.Module, x: Tensor) -> Tensor:
        """One block, as timm runs it."""
        return block(x)

    def map(self, stage: int, x: Tensor) -> Tensor:
        """What a head reads after a stage: (B, h, w, C), channels last."""
        return x

    def stage(self, stage: int, x: Tensor) -> Tensor:
        """A stage's blocks and its end."""
        for block in self.blocks(stage):
            x = self.run(block, x)
        return self.end(stage, x)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> the map of every stage, channels last, at strides 8, 16, 32, 32."""
        x = self.embed(images)
        maps = []
        for s in range(self.n_stages):
            x = self.stage(s, x)
            maps.append(self.map(s, x))
        return maps

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels inside each stage's blocks: 96, 192, 384, 768 for Swin-T."""
        return tuple(getattr(self.blocks(s)[0], self.NORM).weight.numel() for s in range(self.n_stages))

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each stage's map, after its end: 192, 384, 768, 768 for Swin-T."""
        return self.widths[1:] + self.widths[-1:]

    def adapted_linears(self) -> Iterator[tuple[int, nn.Module, str, Any]]:
        """(stage, parent module, attribute, layer) of every linear layer that takes adapters, or has them."""
        for s in range(self.n_stages):
            for block in self.blocks(s):
                for path in self.LINEARS:
                    part, _, name = path.partition(".")
                    parent = getattr(block, part)
                    if hasattr(parent, name):
                        yield s, parent, name, getattr(parent, name)


class SwinBackbone(Backbone):
    """Swin and SwinV2: attention in windows, every other block's shifted; a stage ends with patch merging."""

    @property
    def stages(self) -> Any:
        return self.layers


class PVTv2Backbone(Backbone):
    """PVTv2: global attention to a coarser grid. A stage ends with its norm and the next overlapping patch embedding.

    The paper does not state where it takes PVT's features: here, as for Swin, after that.
    """

    LINEARS = ("attn.q", "attn.kv", "attn.proj", "mlp.fc1", "mlp.fc2")

    def run(self, block: nn.Module, x: Tensor) -> Tensor:
        return block(x.flatten(1, 2), x.shape[1:3]).view(x.shape)

    def end(self, stage: int, x: Tensor) -> Tensor:
        x = self.stages[stage].norm(x)
        return super().end(stage, x.permute(0, 3, 1, 2)) if stage + 1 < self.n_stages else x


class ConvNeXtBackbone(Backbone):
    """ConvNeXt: channels first; the two linear layers of a block take adapters, its depth-wise convolution does not."""

    LINEARS, NORM = ("mlp.fc1", "mlp.fc2"), "norm"

    def embed(self, images: Tensor) -> Tensor:
        return self.stem(images)

    def map(self, stage: int, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1)


class ViTBackbone(Backbone):
    """A plain ViT (DINOv2, DINOv3): four runs of its blocks, all on one grid; heads read it twice as fine, as it is,
    and half as fine, which is a pyramid without a weight (after ViTDet, Li et al. 2022)."""

    LINEARS = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc1_g", "mlp.fc1_x", "mlp.fc2")

    @property
    def MULTIPLE(self) -> int:  # type: ignore[override]
        return 2 * self.patch_embed.patch_size[0]

    @property
    def channels(self) -> tuple[int, ...]:
        return self.widths

    def blocks(self, stage: int) -> Any:
        blocks: Any = self._modules["blocks"]
        n = len(blocks)
        return blocks[stage * n // self.n_stages : (stage + 1) * n // self.n_stages]

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


FAMILIES: dict[str, type[Backbone]] = {
    "swin_*": SwinBackbone,
    "swinv2_*": SwinBackbone,
    "pvt_v2_b?": PVTv2Backbone,
    "convnext*": ConvNeXtBackbone,
    "vit_*_patch1[46]_*dinov[23]*": ViTBackbone,
}
"""Patterns of timm's names."""
