"""The smallest backbones that still have everything: four stages, shifted windows, mergings. For tests only."""

import timm
import torch

from ptsa_lite.families import PVTv2Backbone, SwinBackbone, SwinV2Backbone

SHAPE = dict(pretrained=False, num_classes=0, depths=(1, 1, 2, 1), num_heads=(1, 2, 4, 4))
"""One block a stage, two in the third."""


def tiny_backbone(img_size=64, seed=0):
    """31 thousand parameters."""
    swin = timm_model("swin_tiny_patch4_window7_224", seed, img_size=img_size, window_size=4, embed_dim=8)
    return SwinBackbone(swin)


def tiny_family(family, img_size=64, seed=0):
    """(timm's model, our backbone over its modules): swin, swinv2 or pvt, none with anything random in training."""
    if family == "pvt":
        model = timm_model("pvt_v2_b0", seed, embed_dims=(8, 16, 32, 32))
        return model, PVTv2Backbone(model, (img_size, img_size))
    name, ours = {"swin": ("swin_tiny_patch4_window7_224", SwinBackbone),
                  "swinv2": ("swinv2_tiny_window8_256", SwinV2Backbone)}[family]  # fmt: skip
    model = timm_model(name, seed, img_size=img_size, window_size=4, embed_dim=8, drop_path_rate=0.0)
    return model, ours(model)


def timm_model(name, seed, **options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return timm.create_model(name, **SHAPE, **options)
