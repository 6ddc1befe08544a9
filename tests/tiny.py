"""The smallest Swin that still has everything: four stages, shifted windows, mergings. For tests only."""

import timm
import torch

from ptsa_lite.backbones import SwinBackbone


def tiny_backbone(img_size=64, seed=0):
    """31 thousand parameters; one block a stage, two in the third."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        swin = timm.create_model(
            "swin_tiny_patch4_window7_224", pretrained=False, img_size=img_size, window_size=4, num_classes=0,
            embed_dim=8, depths=(1, 1, 2, 1), num_heads=(1, 2, 4, 4),
        )  # fmt: skip
    return SwinBackbone(swin)
