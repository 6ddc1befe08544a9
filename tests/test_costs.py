import pytest
import torch
from tiny import executed_macs, tiny_backbone

from ptsa_lite.backbones import load_backbone
from ptsa_lite.costs import count_macs, count_parameters
from ptsa_lite.methods import build_model
from ptsa_lite.tasks import NYUD, PASCAL
from ptsa_lite.tree import TaskTree


@pytest.fixture(scope="module")
def swin_t():
    with torch.device("meta"):
        return load_backbone("swin_tiny_patch4_window7_224", "random", 448)


def model(swin_t, n_groups, tasks=PASCAL, rank=16):
    with torch.device("meta"):
        return build_model("ptsa", swin_t, tasks, next(TaskTree.enumerate(tuple(tasks), n_groups)), rank)


def test_parameters_by_role_equal_the_known_counts(swin_t):
    assert sum(p.numel() for p in swin_t.parameters()) == 27_517_818
    counts = count_parameters(model(swin_t, (1, 1, 2, 4), rank=(64, 64, 16, 16)))
    assert counts["heads"] == 1_946_624
    assert (counts["patch_embed"], counts["norms"], counts["positions"]) == (4_896, 23_040, 23_322)
    assert counts["merging"] == 1_548_288
    assert counts["trainable"] == 6_888_506
    assert counts["frozen"] + sum(counts[k] for k in ("patch_embed", "norms", "positions", "merging")) == 27_517_818


@pytest.mark.parametrize(
    ("n_groups", "per_rank"),
    [((1, 1, 2, 4), 181_248), ((1, 2, 2, 4), 187_392), ((1, 1, 1, 1), 70_656), ((4, 4, 4, 4), 282_624)],
)
@pytest.mark.parametrize("rank", [1, 8])
def test_low_rank_parameters_are_a_multiple_of_the_rank(swin_t, n_groups, per_rank, rank):
    assert count_parameters(model(swin_t, n_groups, rank=rank))["adapters"] == per_rank * rank


@pytest.mark.parametrize(("rank", "count"), [(16, 4_953_146), (32, 6_083_642), (64, 8_344_634)])
def test_mtlora_has_its_published_parameters(swin_t, rank, count):
    with torch.device("meta"):
        assert count_parameters(build_model("mtlora", swin_t, PASCAL, rank=rank))["trainable"] == count


def test_roles_of_single_task_models_are_those_of_their_models(swin_t):
    """Whatever the tasks are called: one is called normals."""
    with torch.device("meta"):
        several, one = (count_parameters(build_model(m, swin_t, PASCAL)) for m in ("single_task", "full_finetune"))
    for role in one:
        if role not in ("heads", "trainable", "total"):
            assert several[role] == 4 * one[role], role


def test_full_finetuning_trains_everything(swin_t):
    with torch.device("meta"):
        counts = count_parameters(build_model("full_finetune", swin_t, PASCAL))
    assert counts["trainable"] == counts["total"] == 29_464_442


PASCAL_TABLE = {
    (1, 1, 1, 1): 21.475, (1, 1, 1, 4): 29.804, (1, 1, 2, 2): 32.817, (1, 1, 2, 4): 38.370,
    (1, 2, 2, 4): 41.383, (1, 1, 4, 4): 55.502, (4, 4, 4, 4): 73.607,
}  # fmt: skip
NYUD_TABLE = {(1, 1, 1, 1): 21.519, (1, 1, 2, 4): 38.414, (1, 2, 2, 4): 41.427, (4, 4, 4, 4): 73.651}
THREE_TABLE = {(1, 1, 2, 3): 34.652, (1, 1, 1, 1): 20.533}


@pytest.mark.parametrize(("n_groups", "gmacs"), PASCAL_TABLE.items())
def test_macs_on_pascal_equal_the_papers(swin_t, n_groups, gmacs):
    assert count_macs(model(swin_t, n_groups)) / 1e9 == pytest.approx(gmacs, rel=1e-4)


@pytest.mark.parametrize(("n_groups", "gmacs"), NYUD_TABLE.items())
def test_macs_on_nyud_equal_the_table(swin_t, n_groups, gmacs):
    assert count_macs(model(swin_t, n_groups, NYUD)) / 1e9 == pytest.approx(gmacs, rel=1e-4)


@pytest.mark.parametrize(("n_groups", "gmacs"), THREE_TABLE.items())
def test_macs_of_three_tasks_equal_the_table(swin_t, n_groups, gmacs):
    three = {name: NYUD[name] for name in ("semseg", "depth", "normals")}
    assert count_macs(model(swin_t, n_groups, three)) / 1e9 == pytest.approx(gmacs, rel=5e-3)


def test_counting_matrix_products_by_hand_agrees_with_torchs_counter():
    """Where nothing branches, what we count beyond torch's counter is norms, activations and biases: to the unit."""
    backbone = load_backbone(weights="random", img_size=64)
    one = build_model("lora_shared", backbone, PASCAL, rank=4)
    beyond = 16 * 16 * 2 * 32  # the patch embedding's bias and norm
    for c, tokens, depth in ((32, 256, 2), (64, 64, 2), (128, 16, 6), (256, 4, 2)):
        beyond += depth * tokens * 6 * c  # two norms, one activation at 4 C
    beyond += 64 * 128 + 16 * 256 + 4 * 512  # the mergings' norms
    beyond += 64 * sum(3 * 1080 + 1080 + task.channels for task in PASCAL.values())  # batch norm, ReLU, biases
    # torch counts resizing too: 36 channels of 4x4 and 216 of 2x2 to 8x8, along one side and then the other
    beyond -= len(PASCAL) * (36 * (8 * 4 * 4 + 8 * 8 * 4) + 216 * (8 * 2 * 2 + 8 * 8 * 2))
    assert count_macs(one, convention="all") - executed_macs(one) == beyond


def test_what_a_branching_adds_is_executed_as_it_is_counted(swin_t):
    shared, branching = (model(swin_t, n_groups) for n_groups in ((1, 1, 1, 1), (1, 1, 2, 4)))
    executed = executed_macs(branching) - executed_macs(shared)
    counted = count_macs(branching, convention="all") - count_macs(shared, convention="all")
    small = 784 * 6 * 384 * 6 + 3 * 196 * 6 * 768 * 2 + 196 * 1536  # norms and activations of the added groups
    assert counted - executed == small


def test_single_task_models_cost_their_sum():
    backbone = load_backbone(weights="random", img_size=64)
    four = build_model("single_task", backbone, PASCAL)
    assert count_macs(four) == sum(count_macs(one) for one in four.models.values())


def test_an_unknown_convention_is_refused(swin_t):
    with pytest.raises(ValueError, match="did you mean 'paper'"):
        count_macs(model(swin_t, (1, 1, 2, 4)), convention="papers")


@pytest.mark.parametrize("method", ["lora_separate", "ptsa"])
def test_merging_changes_nothing_that_is_counted_on_paper(method):
    tree = next(TaskTree.enumerate(tuple(PASCAL), (1, 1, 2, 4))) if method == "ptsa" else None
    model = build_model(method, tiny_backbone(), PASCAL, tree, rank=2)
    assert count_macs(model.merge()) == count_macs(model)
