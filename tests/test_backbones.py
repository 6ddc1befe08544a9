import time

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import load_file

from ptsa_lite.backbones import SMALL, SMALL_WEIGHTS, load_backbone


def plain_swin(img_size=64, **shape):
    name = "swin_tiny_patch4_window7_224"
    return timm.create_model(name, pretrained=False, img_size=img_size, num_classes=0, **shape)


@pytest.mark.parametrize("img_size", [64, 96, 128, (64, 96)])
def test_our_stages_in_our_order_compute_what_timm_computes(img_size):
    torch.manual_seed(0)
    swin, backbone = plain_swin(img_size, **SMALL).eval(), load_backbone(weights="random", img_size=img_size).eval()
    swin.load_state_dict(backbone.state_dict(), strict=False)
    images = torch.randn(2, 3, *((img_size, img_size) if isinstance(img_size, int) else img_size))
    x = swin.patch_embed(images)
    for layer in swin.layers:
        x = layer(x)
    torch.testing.assert_close(backbone(images)[-1], x, atol=1e-5, rtol=1e-5)


def test_features_are_taken_after_patch_merging():
    maps = load_backbone(weights="random", img_size=128)(torch.randn(1, 3, 128, 128))
    assert [tuple(m.shape) for m in maps] == [(1, 16, 16, 64), (1, 8, 8, 128), (1, 4, 4, 256), (1, 4, 4, 256)]


def test_the_packaged_swin_loads_without_network(monkeypatch):
    import socket

    def refuse(*args):
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert sum(p.numel() for p in load_backbone().parameters()) == 3_072_238


@pytest.mark.parametrize("img_size", [64, 160, 224])
def test_the_packaged_swin_runs_at_other_sizes(img_size):
    maps = load_backbone(img_size=img_size)(torch.randn(1, 3, img_size, img_size))
    assert maps[0].shape == (1, img_size // 8, img_size // 8, 64)
    assert all(bool(m.isfinite().all()) for m in maps)


def test_the_same_seed_gives_the_same_random_weights_and_leaves_the_callers_generator():
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    one, two = (load_backbone(weights="random", img_size=64, seed=3) for _ in range(2))
    assert torch.equal(one.patch_embed.proj.weight, two.patch_embed.proj.weight)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(("name", "says"), [("swin_tiny_patch4_window7_22", "did you mean"), ("resnet50", "unknown")])
def test_an_unknown_backbone_is_refused(name, says):
    with pytest.raises(ValueError, match=says):
        load_backbone(name, "random")


@pytest.mark.parametrize("img_size", [100, 16, (128, 130)])
def test_an_image_size_that_the_stages_cannot_halve_is_refused(img_size):
    with pytest.raises(ValueError, match="multiples of 32"):
        load_backbone(weights="random", img_size=img_size)


@pytest.mark.parametrize(
    "option",
    [dict(img_size=64.0), dict(img_size="64"), dict(img_size=-64), dict(img_size=(64,)), dict(img_size=None),
     dict(name=None), dict(weights=None), dict(seed=-1), dict(seed="0"), dict(drop_path=2.0),
     dict(drop_path=float("nan"))],
    ids=str,
)  # fmt: skip
def test_an_option_of_another_kind_is_refused_by_its_name(option):
    with pytest.raises(ValueError, match=f"{next(iter(option))} must be "):
        load_backbone(**{"weights": "random", "img_size": 64} | option)


def test_the_asset_is_half_precision_and_under_eight_megabytes():
    state = load_file(SMALL_WEIGHTS)
    assert SMALL_WEIGHTS.stat().st_size < 8e6
    assert {v.dtype for v in state.values()} == {torch.float16}


def test_an_unknown_tag_of_weights_is_told_with_those_that_there_are():
    with pytest.raises(ValueError, match="unknown weights of swin_tiny_patch4_window7_224: 'in1k'.*: .*ms_in1k"):
        load_backbone("swin_tiny_patch4_window7_224.in1k", "random", 224)


@pytest.mark.parametrize("offline", [False, True])
def test_without_a_network_one_sentence_names_the_ways_out_at_once(monkeypatch, tmp_path, caplog, offline):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # where nobody answers
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    start = time.monotonic()
    with pytest.raises(OSError, match="connect to the network, give the path of a file as weights, or .*'random'") as e:
        load_backbone("swin_tiny_patch4_window7_224.ms_in1k", img_size=64)
    assert time.monotonic() - start < 5 and not caplog.records, "nothing is tried twice"
    assert ("HF_HUB_OFFLINE is set" if offline else "http://127.0.0.1:9: ") in str(e.value)
    assert constants.HF_HUB_OFFLINE is offline
