import re
from argparse import Namespace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed
from tiny import tiny_backbone, tiny_family

from ptsa_lite.backbones import SMALL, load_backbone
from ptsa_lite.weights import fit_position_table, load_weights


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
    with pytest.raises(ValueError, match='Missing key.* "patch_embed.proj.bias"'):
        load_backbone(weights=path, img_size=64)
    save_file(tiny_backbone().state_dict(), path)
    with pytest.raises(ValueError, match="written for another backbone"):
        load_backbone(weights=path, img_size=64)
    save_file(whole | {"extra": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match='Unexpected key.* "extra"'):
        load_backbone(weights=path, img_size=64)


def as_microsoft_has_it(state):
    """Patch merging at the end of a stage, the classifier under its old name."""
    theirs = {}
    for key, value in state.items():
        for number in (1, 2, 3):
            key = key.replace(f"layers.{number}.downsample.", f"layers.{number - 1}.downsample.")
        theirs[key.replace("head.fc.", "head.")] = value
    return theirs


@pytest.mark.parametrize("wrapped", [lambda s: s, lambda s: {"model": s, "args": Namespace(lr=1)},
                                     lambda s: {"state_dict": s, "epoch": 3}])  # fmt: skip
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
    with pytest.raises(ValueError, match=r"relative_position_bias_table: .*\[50, 1\].*\[49, 1\]"):
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
    with pytest.raises(ValueError, match=r"no whole file of plain tensors \(it asks for \w+.*save_file") as told:
        load_backbone(weights=tmp_path / "foreign.pth", img_size=64)
    assert "weights_only" not in str(told.value), "torch's advice is to execute it"
    assert not (tmp_path / "executed").exists()
    torch.save({"epoch": 3}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="holds no tensors by name"):
        load_backbone(weights=tmp_path / "other.pth", img_size=64)


def test_a_folder_is_told_with_the_files_of_weights_in_it(tmp_path):
    """As a clone from a hub is one."""
    for name in ("config.json", "model.safetensors", "pytorch_model.bin"):
        (tmp_path / name).touch()
    with pytest.raises(FileNotFoundError, match="that folder holds model.safetensors, pytorch_model.bin: name one"):
        load_backbone(weights=tmp_path, img_size=64)


def test_what_is_allowed_in_a_file_is_allowed_there_alone(tmp_path):
    torch.save({"model": load_backbone(img_size=64).state_dict(), "args": Namespace(lr=1)}, tmp_path / "theirs.pth")
    before = torch.serialization.get_safe_globals()
    load_backbone(weights=tmp_path / "theirs.pth", img_size=64)
    assert set(torch.serialization.get_safe_globals()) == set(before)  # torch keeps them in any order


def test_an_oblong_size_that_the_packaged_windows_do_not_fit_is_told():
    with pytest.raises(ValueError, match=r"has square windows, and a side of \(64, 96\) is too short for them"):
        load_backbone(img_size=(64, 96))
    assert load_backbone(img_size=(128, 192)).img_size == (128, 192)
