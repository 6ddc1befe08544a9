"""ConvNeXt (Liu et al., 2022), which the paper does not use."""

from torch import Tensor

from ptsa_lite.families import Backbone


class ConvNeXtBackbone(Backbone):
    """ConvNeXt: channels first; the two linear layers of a block take adapters, its depth-wise convolution does not."""

    LINEARS = ("mlp.fc1", "mlp.fc2")

    def embed(self, images: Tensor) -> Tensor:
        return self.stem(images)

    def map(self, stage: int, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1)
