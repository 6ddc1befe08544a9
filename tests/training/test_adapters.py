"""Files of what was trained: what they say of themselves, and whom they refuse."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from tiny import tiny_backbone, tiny_family
from torch import nn

from ptsa_lite import __version__
from ptsa_lite.fast import fast
from ptsa_lite.heads import HRNetHead
from ptsa_lite.lora import GroupedLoRALinear
from ptsa_lite.methods import METHODS, build_model
from ptsa_lite.tasks import NYUD, PASCAL, Task, select
from ptsa_lite.training.adapters import adapter_state, load_adapters, read_metadata, save_adapters
from ptsa_lite.training.sameness import POSITION_TABLES
from ptsa_lite.tree import TaskTree

NAMES = tuple(PASCAL)
TREE = TaskTree(((NAMES,), (NAMES,), (NAMES[:2], NAMES[2:]), tuple((n,) for n in NAMES)))


def model_of(method="ptsa", backbone=None, tasks=PASCAL, rank=2, **options):
    tree = TREE if method == "ptsa" else None
    return build_model(method, backbone or tiny_backbone(), tasks, tree, rank=rank, **options)


def trained(model):
    """Other values wherever training would leave some."""
    for name, value in adapter_state(model).items():
        if "num_batches" not in name:
            nn.init.uniform_(value.detach(), 0.1, 0.2)
    return model.eval()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.safetensors"


@pytest.mark.parametrize("method", METHODS)
def test_what_any_method_trained_survives_saving(method, path):
    model, other = trained(model_of(method, rank=4)), model_of(method, rank=4).eval()
    size = save_adapters(nn.DataParallel(model), path, run={"rank": 2})
    assert size == path.stat().st_size
    assert load_adapters(other, path) == {"run": {"rank": 2}}
    images = torch.randn(1, 3, 64, 64)
    for name, out in model(images).items():
        assert torch.equal(out, other(images)[name])


def test_a_file_says_what_it_is_for(path):
    save_adapters(model_of(backbone=named("some_swin")), path)
    metadata = read_metadata(path)
    said = metadata["description"]
    assert said["backbone"] == "some_swin" and said["ranks"] == [2, 2, 2, 2] and list(said["tasks"]) == list(NAMES)
    assert TaskTree.from_dict(said["tree"]) == TREE
    assert metadata["versions"]["ptsa_lite"] == __version__ and metadata["versions"]["torch"] == torch.__version__


def named(name):
    backbone = tiny_backbone()
    backbone.name = name
    return backbone


class OtherHead(HRNetHead):
    """The same parameters, another function."""


class OtherLayer(GroupedLoRALinear):
    """The same."""


METRES = PASCAL | {"saliency": replace(PASCAL["saliency"], kind="depth")}
REACH = {unit: {"reach": Task("reach", "regression", unit=unit)} for unit in ("cm", "m")}


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (lambda: model_of(tasks=select(PASCAL, NAMES[:2]), method="lora_shared"), r"tasks\.saliency is .* and not set"),
        (lambda: model_of(tasks=NYUD, method="lora_shared"), r"tasks\.semseg\.channels is 21 in the file and 40 here"),
        (lambda: model_of(tasks=METRES), r"tasks\.saliency\.kind is 'binary' in the file and 'depth' here"),
        (lambda: model_of(head=OtherHead), r"heads is \['HRNetHead'\] in the file and \['OtherHead'\] here"),
        (lambda: model_of(layer=OtherLayer), r"layers is \['GroupedLoRALinear'\] .* and \['OtherLayer'\] here"),
        (lambda: model_of("lora_shared"), r"tree\.stages is"),
        (lambda: model_of(rank=3), r"ranks is \[2, 2, 2, 2\] in the file and \[3, 3, 3, 3\] here"),
        (lambda: model_of(scale=1.0), r"scale is 4.0 in the file and 1.0 here"),
        (lambda: model_of(backbone=named("other")), "backbone is '' in the file and 'other' here"),
        (lambda: model_of(backbone=tiny_family("pvt")[1]), "adapted|widths"),
        (lambda: model_of(backbone=tiny_backbone(seed=1)), "frozen weights differ"),
    ],
)
def test_a_model_that_it_does_not_fit_refuses_it_and_says_where(other, says, path):
    save_adapters(model_of(), path)
    with pytest.raises(ValueError, match=f"a.safetensors is for another model: ({says})"):
        load_adapters(other(), path)


def test_another_unit_is_another_model(path):
    save_adapters(model_of("lora_shared", tasks=REACH["cm"]), path)
    with pytest.raises(ValueError, match=r"tasks\.reach\.unit is 'cm' in the file and 'm' here"):
        load_adapters(model_of("lora_shared", tasks=REACH["m"]), path)


def test_a_quicker_form_of_the_same_layer_and_head_is_the_same_model(path):
    model, quick = trained(model_of()), model_of(**fast("cpu")).eval()
    save_adapters(model, path)
    load_adapters(quick, path)
    images = torch.randn(1, 3, 64, 64)
    for name, y in quick(images).items():
        torch.testing.assert_close(y, model(images)[name], rtol=1e-4, atol=1e-4)


def test_single_task_models_are_told_apart_by_task(path):
    save_adapters(model_of("single_task_lora"), path)
    with pytest.raises(ValueError, match=r"semseg\.scale is 4.0 in the file and 1.0 here"):
        load_adapters(model_of("single_task_lora", scale=1.0), path)


def of_size(img_size):
    """The same weights but for the tables of positions, which are those of another window."""
    backbone, plain = tiny_backbone(img_size=img_size), tiny_backbone().state_dict()
    backbone.load_state_dict({k: v for k, v in plain.items() if not k.endswith(POSITION_TABLES)}, strict=False)
    return backbone


@pytest.mark.parametrize("method", ["lora_shared", "single_task_lora", "decoders_only"])
def test_another_size_of_images_is_the_same_method(method, path):
    """At 96 x 96 the last stage's windows are 3 wide, at 64 x 64 they are 2: the table's middle is cut out."""
    model = trained(model_of(method, of_size(96)))
    for name, value in model.named_parameters():
        if name.endswith("relative_position_bias_table"):
            nn.init.normal_(value)
    save_adapters(model, path)
    small = model_of(method)
    load_adapters(small, path)
    theirs, fitted = adapter_state(model), 0
    for name, value in adapter_state(small).items():
        if value.shape != theirs[name].shape:
            middle = theirs[name].view(5, 5, -1)[1:4, 1:4].flatten(0, 1)
            torch.testing.assert_close(value, middle)
            fitted += 1
        else:
            assert torch.equal(value, theirs[name])
    assert fitted == {"lora_shared": 1, "single_task_lora": 4, "decoders_only": 0}[method]


def test_a_window_that_is_not_square_is_refused_rather_than_fitted(path):
    save_adapters(model_of("lora_shared", of_size((64, 96))), path)
    with pytest.raises(ValueError, match="cannot be fitted to this model's images; give the size"):
        load_adapters(model_of("lora_shared", of_size((96, 64))), path)


def test_a_flipped_bit_is_found_by_the_checksum(path):
    save_adapters(model_of(), path)
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="a.safetensors is damaged: its checksum is not that of its content"):
        load_adapters(model_of(), path)


def test_a_file_of_something_else_is_refused(path):
    with pytest.raises(FileNotFoundError, match="no adapters at"):
        read_metadata(path)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="does not say what it was saved for"):
        load_adapters(model_of(), path)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ValueError, match="not a whole adapter file"):
        read_metadata(path)


def test_a_model_of_which_nothing_trains_is_not_saved_as_one(path):
    model = model_of()
    for nothing in (model.merge(), model.requires_grad_(False)):
        with pytest.raises(ValueError, match="nothing of this model trains, so there is nothing to save"):
            save_adapters(nothing, path)
    with pytest.raises(ValueError, match="dtype must be None or a float format"):
        save_adapters(model_of(), path, dtype=torch.int8)
    assert not path.exists()
    assert save_adapters(model_of(), path.parent / "new" / path.name) > 0  # the folder is made
