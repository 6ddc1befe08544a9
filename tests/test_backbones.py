import re
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.layers import resample_abs_pos_embed
from tiny import tiny_backbone, tiny_family

from ptsa_lite.backbones import SMALL, SMALL_WEIGHTS, fit_position_table, load_backbone, load_weights


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


def test_a_smaller_window_keeps_the_same_offsets():
    table = torch.arange(49.0)[:, None].expand(49, 2)  # 7 x 7 offsets of a window of 4
    small = fit_position_table(table, torch.Size([9, 2]))  # 3 x 3, of a window of 2
    assert small[:, 0].tolist() == [16, 17, 18, 23, 24, 25, 30, 31, 32]
    assert torch.equal(fit_position_table(table, table.shape), table)


def test_weights_survive_saving(tmp_path):
    one = load_backbone(weights="random", img_size=64, seed=1)
    save_file(one.state_dict(), tmp_path / "w.safetensors")
    two = load_backbone(weights=tmp_path / "w.safetensors", img_size=64)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


def test_the_same_seed_gives_the_same_random_weights_and_leaves_the_callers_generator():
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    one, two = (load_backbone(weights="random", img_size=64, seed=3) for _ in range(2))
    assert torch.equal(one.patch_embed.proj.weight, two.patch_embed.proj.weight)
    assert torch.equal(before, torch.random.get_rng_state())


def test_wrong_or_truncated_weights_are_refused_with_the_reason(tmp_path):
    path = tmp_path / "w.safetensors"
    with pytest.raises(FileNotFoundError, match="no weights at"):
        load_backbone(weights=path, img_size=64)
    whole = load_backbone(weights="random", img_size=64).state_dict()
    save_file(whole, path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="no whole file of plain tensors"):
        load_backbone(weights=path, img_size=64)
    path.write_bytes(b"\x80\x02c__builtin__\nprint\n.")  # a pickle is not even looked into
    with pytest.raises(ValueError, match="no whole file of plain tensors"):
        load_backbone(weights=path, img_size=64)
    save_file({k: v for k, v in whole.items() if k != "patch_embed.proj.bias"}, path)
    with pytest.raises(ValueError, match="has no patch_embed.proj.bias"):
        load_backbone(weights=path, img_size=64)
    save_file(tiny_backbone().state_dict(), path)
    with pytest.raises(ValueError, match="written for another backbone|expected"):
        load_backbone(weights=path, img_size=64)
    save_file(whole | {"extra": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="has extra"):
        load_backbone(weights=path, img_size=64)


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
     dict(name=None), dict(seed=-1), dict(seed="0"), dict(drop_path=2.0), dict(drop_path=float("nan"))],
    ids=str,
)  # fmt: skip
def test_an_option_of_another_kind_is_refused_by_its_name(option):
    with pytest.raises(ValueError, match=f"{next(iter(option))} must be "):
        load_backbone(**{"weights": "random", "img_size": 64} | option)


def test_importing_the_package_brings_in_nothing_heavy_beyond_torch_and_timm():
    code = (
        "import sys, torch, timm\nimport ptsa_lite, ptsa_lite.methods, ptsa_lite.similarity, ptsa_lite.data\n"
        "print(*sys.modules)"
    )
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    for heavy in ("datasets", "pandas", "pyarrow", "scipy", "matplotlib", "papermill", "jupytext", "ipywidgets"):
        assert heavy not in modules


def test_the_asset_is_half_precision_and_under_eight_megabytes():
    state = load_file(SMALL_WEIGHTS)
    assert SMALL_WEIGHTS.stat().st_size < 8e6
    assert {v.dtype for v in state.values()} == {torch.float16}


def as_microsoft_has_it(state):
    """Patch merging at the end of a stage, the classifier under its old name."""
    theirs = {}
    for key, value in state.items():
        for number in (1, 2, 3):
            key = key.replace(f"layers.{number}.downsample.", f"layers.{number - 1}.downsample.")
        theirs[key.replace("head.fc.", "head.")] = value
    return theirs


@pytest.mark.parametrize("wrapped", [lambda s: s, lambda s: {"model": s}, lambda s: {"state_dict": s, "epoch": 3}])
@pytest.mark.parametrize("named", [dict, as_microsoft_has_it, lambda s: {f"module.{k}": v for k, v in s.items()}])
def test_weights_load_as_people_hold_them(tmp_path, wrapped, named):
    swin = timm.create_model("swin_tiny_patch4_window7_224", pretrained=False, img_size=64, **SMALL)
    torch.save(wrapped(named(swin.state_dict())), tmp_path / "theirs.pth")
    backbone = load_backbone(weights=tmp_path / "theirs.pth", img_size=64)
    for key, value in backbone.state_dict().items():
        assert torch.equal(value, swin.state_dict()[key]), key


AUTHORS = {  # timm's name, and what the models' authors call it
    "pvt": [
        ("patch_embed.", "patch_embed1."), (r"stages.(\d).downsample.", r"patch_embed\1+1."),
        (r"stages.(\d).blocks.", r"block\1+1."), (r"stages.(\d).norm.", r"norm\1+1."), ("dwconv", "dwconv.dwconv"),
    ],
    "convnext": [
        ("stem.", "downsample_layers.0."), (r"stages.(\d).downsample.", r"downsample_layers.\1."),
        (r"stages.(\d).blocks.", r"stages.\1."), ("conv_dw", "dwconv"), ("mlp.fc", "pwconv"), ("head.norm", "norm"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("family", AUTHORS)
def test_weights_by_the_names_of_their_authors_load(tmp_path, family):
    (net, _), (_, backbone), theirs = tiny_family(family), tiny_family(family, seed=1), {}
    for key, value in net.state_dict().items():
        for ours, named in AUTHORS[family]:
            key = re.sub(ours, named, key)
        theirs[re.sub(r"(\d)\+1", lambda m: str(int(m[1]) + 1), key)] = value
    torch.save({"model": theirs}, tmp_path / "theirs.pth")
    load_weights(backbone, tmp_path / "theirs.pth")
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in backbone.state_dict().items())


def test_a_vits_positions_are_brought_to_another_grid(tmp_path):
    (net, _), (_, backbone) = tiny_family("dinov2", 64), tiny_family("dinov2", 96, seed=1)
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    load_weights(backbone, tmp_path / "w.safetensors")
    assert torch.equal(backbone.patch_embed.proj.weight, net.patch_embed.proj.weight)
    assert torch.equal(backbone.pos_embed, resample_abs_pos_embed(net.pos_embed, (6, 6), num_prefix_tokens=0))


@pytest.mark.parametrize("changed", [torch.nan, 1e39])
def test_weights_that_are_not_finite_are_refused(tmp_path, changed):
    state = load_backbone(weights="random", img_size=64).state_dict()
    state["patch_embed.proj.bias"] = state["patch_embed.proj.bias"].double().fill_(changed)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match="w.safetensors: patch_embed.proj.bias holds values that are not finite"):
        load_backbone(weights=tmp_path / "w.safetensors", img_size=64)


def test_a_table_of_positions_that_is_none_is_refused(tmp_path):
    state = load_backbone(weights="random", img_size=64).state_dict()
    state["layers.0.blocks.0.attn.relative_position_bias_table"] = torch.zeros(50, 1)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"relative_position_bias_table is \(50, 1\), expected \(49, 1\)"):
        load_backbone(weights=tmp_path / "w.safetensors", img_size=64)


def test_microsofts_names_in_safetensors_load_too(tmp_path):
    swin = timm.create_model("swin_tiny_patch4_window7_224", pretrained=False, img_size=64, **SMALL)
    save_file(as_microsoft_has_it(swin.state_dict()), tmp_path / "theirs.safetensors")
    backbone = load_backbone(weights=tmp_path / "theirs.safetensors", img_size=64)
    assert torch.equal(backbone.layers[1].downsample.reduction.weight, swin.layers[1].downsample.reduction.weight)


def test_a_pth_is_read_and_nothing_in_it_is_executed(tmp_path):
    class Foreign:
        def __reduce__(self):
            return (Path(tmp_path / "executed").touch, ())

    torch.save({"model": Foreign()}, tmp_path / "foreign.pth")
    with pytest.raises(ValueError, match=r"no whole file of plain tensors.*save_file"):
        load_backbone(weights=tmp_path / "foreign.pth", img_size=64)
    assert not (tmp_path / "executed").exists()
    torch.save({"epoch": 3}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="holds no tensors by name"):
        load_backbone(weights=tmp_path / "other.pth", img_size=64)


def test_an_unknown_tag_of_weights_is_told_with_those_that_there_are():
    with pytest.raises(ValueError, match="no weights 'in1k' of swin_tiny_patch4_window7_224; it has: .*ms_in1k"):
        load_backbone("swin_tiny_patch4_window7_224.in1k", "random", 224)


def test_without_a_network_one_sentence_names_the_ways_out(monkeypatch):
    def unreachable(*args, **options):
        raise ConnectionError("no route to host")

    monkeypatch.setattr("timm.create_model", unreachable)
    with pytest.raises(OSError, match="connect to the network, give the path of a file as weights, or weights='rand"):
        load_backbone("swin_tiny_patch4_window7_224.ms_in1k", img_size=224)
