"""Files of what was trained: what they say of themselves, and whom they refuse."""

import pytest
import torch
from tiny import tiny_backbone, tiny_family
from torch import nn

from ptsa_lite import __version__
from ptsa_lite.methods import METHODS, build_model
from ptsa_lite.tasks import NYUD, PASCAL, select
from ptsa_lite.training.adapters import read_metadata
from ptsa_lite.tree import TaskTree

NAMES = tuple(PASCAL)
TREE = TaskTree(((NAMES,), (NAMES,), (NAMES[:2], NAMES[2:]), tuple((n,) for n in NAMES)))


def model_of(method="ptsa", backbone=None, tasks=PASCAL, rank=2):
    return build_model(method, backbone or tiny_backbone(), tasks, TREE if method == "ptsa" else None, rank=rank)


@pytest.mark.parametrize("method", METHODS)
def test_what_any_method_trained_survives_saving(method, tmp_path):
    model, other = model_of(method), model_of(method)
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if "num_batches" not in name and (getattr(value, "requires_grad", False) or "running" in name):
            nn.init.uniform_(value, 0.1, 0.2)
    size = model.save_adapters(tmp_path / "a.safetensors", run={"rank": 2})
    assert size == (tmp_path / "a.safetensors").stat().st_size
    assert other.load_adapters(tmp_path / "a.safetensors") == {"run": {"rank": 2}}
    images = torch.randn(1, 3, 64, 64)
    for name, out in model.eval()(images).items():
        assert torch.equal(out, other.eval()(images)[name])


def test_a_file_says_what_it_is_for(tmp_path):
    model = model_of()
    model.backbone.name = "some_swin"
    model.save_adapters(tmp_path / "a.safetensors")
    metadata = read_metadata(tmp_path / "a.safetensors")
    said = metadata["description"]
    assert said["backbone"] == "some_swin" and said["ranks"] == [2, 2, 2, 2] and list(said["tasks"]) == list(NAMES)
    assert TaskTree.from_dict(said["tree"]) == TREE
    assert metadata["versions"]["ptsa_lite"] == __version__ and metadata["versions"]["torch"] == torch.__version__


def named(name):
    backbone = tiny_backbone()
    backbone.name = name
    return backbone


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (lambda: model_of(tasks=select(PASCAL, NAMES[:2]), method="lora_shared"), "tasks"),
        (lambda: model_of(tasks=NYUD, method="lora_shared"), "tasks"),
        (lambda: model_of("lora_shared"), "tree"),
        (lambda: model_of(rank=3), "ranks"),
        (lambda: model_of(backbone=named("other")), "backbone"),
        (lambda: model_of(backbone=tiny_family("pvt")[1]), "frozen weights|widths"),
        (lambda: model_of(backbone=tiny_backbone(seed=1)), "frozen weights"),
    ],
)
def test_a_model_that_it_does_not_fit_refuses_it_and_says_where(other, says, tmp_path):
    model_of().save_adapters(tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=f"a.safetensors was saved for ({says}) .*, this model has"):
        other().load_adapters(tmp_path / "a.safetensors")


def test_a_flipped_bit_is_found_by_the_checksum(tmp_path):
    path = tmp_path / "a.safetensors"
    model_of().save_adapters(path)
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="a.safetensors is damaged: its checksum is not that of its content"):
        model_of().load_adapters(path)


def test_a_file_of_something_else_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="does not say what it was saved for"):
        model_of().load_adapters(tmp_path / "x.safetensors")
