"""The smallest backbones that still have everything: four stages, shifted windows, mergings. For tests only."""

import timm
import torch

from ptsa_lite.costs import macs_of, shape_only
from ptsa_lite.families import PVTv2Backbone, SwinBackbone
from ptsa_lite.relatives.convnext import ConvNeXtBackbone
from ptsa_lite.relatives.vit import ViTBackbone

STAGES = dict(depths=(1, 1, 2, 1), num_heads=(1, 2, 4, 4))
"""One block a stage, two in the third."""

FAMILIES = {
    "swin": (SwinBackbone, "swin_tiny_patch4_window7_224", dict(STAGES, window_size=4, embed_dim=8)),
    "swinv2": (SwinBackbone, "swinv2_tiny_window8_256", dict(STAGES, window_size=4, embed_dim=8)),
    "pvt": (PVTv2Backbone, "pvt_v2_b0", dict(STAGES, embed_dims=(8, 16, 32, 32))),
    "convnext": (ConvNeXtBackbone, "convnext_tiny", dict(depths=(1, 1, 2, 1), dims=(8, 16, 32, 32))),
    "dinov2": (ViTBackbone, "vit_small_patch14_reg4_dinov2", dict(depth=5, embed_dim=16, num_heads=2, patch_size=16)),
    "dinov3": (ViTBackbone, "vit_small_patch16_dinov3", dict(depth=5, embed_dim=32, num_heads=2)),
}


def tiny_backbone(img_size=64, seed=0):
    """A Swin of 31 thousand parameters."""
    return tiny_family("swin", img_size, seed, drop_path_rate=0.1)[1]


def tiny_family(family, img_size=64, seed=0, drop_path_rate=0.0):
    """(timm's model, our backbone over its modules); nothing is random in training without a drop_path_rate."""
    ours, name, options = FAMILIES[family]
    if ours in (SwinBackbone, ViTBackbone):
        options = options | {"img_size": img_size}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = timm.create_model(name, pretrained=False, num_classes=0, drop_path_rate=drop_path_rate, **options)
    return model, ours(model, (img_size, img_size))


def executed_macs(model):
    """Multiply-adds that a model's forward really executes for one image: its matrix products, by torch's counter."""
    model = shape_only(model)
    image = torch.empty(1, 3, *model.img_size, device="meta")
    return macs_of(lambda: model(image, resize=False))
