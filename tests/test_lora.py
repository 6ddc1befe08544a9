import pytest
import torch
from torch import nn

from ptsa_lite.fast import dropped, low_rank_linear
from ptsa_lite.lora import GroupedLoRALinear, Route, run_linear


@pytest.fixture
def layer():
    torch.manual_seed(0)
    layer = GroupedLoRALinear(nn.Linear(12, 20), n_groups=3, rank=4, scale=2.0)
    nn.init.normal_(layer.lora_B)
    return layer


def plain(layer, x, g):
    """One group on its own, as the equation is written."""
    return layer.base(x) + layer.scale * x @ layer.lora_A[g].T @ layer.lora_B[g].T


def test_all_groups_in_one_call_equal_the_equation_group_by_group(layer):
    x = torch.randn(3 * 2, 5, 12)
    expected = torch.cat([plain(layer, x[2 * g : 2 * g + 2], g) for g in range(3)])
    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("parents", [[0, 0, 0], [0, 1, 1], [1, 0, 1]])
def test_a_branching_equals_copying_the_input_first(layer, parents):
    n_parents = max(parents) + 1
    x = torch.randn(n_parents * 2, 5, 12, requires_grad=True)
    copied = torch.cat([x[2 * p : 2 * p + 2] for p in parents])
    branched = layer(x, Route(None, torch.tensor(parents), n_parents))
    weights = torch.randn_like(branched)
    fast = torch.autograd.grad((branched * weights).sum(), [x, layer.lora_A, layer.lora_B])
    slow = torch.autograd.grad((layer(copied) * weights).sum(), [x, layer.lora_A, layer.lora_B])
    torch.testing.assert_close(branched, layer(copied), atol=1e-5, rtol=1e-5)
    for a, b in zip(fast, slow, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_a_fresh_adapter_changes_nothing():
    layer, x = GroupedLoRALinear(nn.Linear(12, 20), n_groups=2, rank=4), torch.randn(4, 12)
    assert torch.equal(layer(x), layer.base(x))


def test_running_some_groups_equals_picking_them_from_all(layer):
    x = torch.randn(6, 5, 12)
    some = layer(torch.cat([x[:2], x[4:]]), Route(torch.tensor([0, 2])))
    torch.testing.assert_close(some, torch.cat([layer(x)[:2], layer(x)[4:]]))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("n_groups", [1, 3])
def test_merged_weights_give_the_same_output(n_groups, bias):
    layer = GroupedLoRALinear(nn.Linear(12, 20, bias=bias), n_groups, rank=4)
    nn.init.normal_(layer.lora_B)
    x, merged = torch.randn(3 * n_groups, 5, 12), layer.merged()
    assert isinstance(merged, nn.Linear) == (n_groups == 1)
    torch.testing.assert_close(run_linear(merged, x, Route()), layer(x), atol=1e-5, rtol=1e-5)


def test_the_loss_of_one_group_gives_no_gradient_to_another(layer):
    layer(torch.randn(6, 5, 12))[2:4].sum().backward()
    assert layer.lora_A.grad[1].abs().sum() > 0
    assert not layer.lora_A.grad[[0, 2]].any() and not layer.lora_B.grad[[0, 2]].any()


@pytest.mark.parametrize("rank", [0, -1, 13])
def test_a_rank_that_does_not_fit_the_layer_is_refused(rank):
    with pytest.raises(ValueError, match="give 1 to 12"):
        GroupedLoRALinear(nn.Linear(12, 20), 2, rank)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("parents", [None, [0, 0, 0], [1, 0, 1]])
def test_its_own_gradient_is_autograds_of_the_equation(parents, dropout):
    """For every input, the frozen weight too: the similarity of tasks is measured on it."""
    torch.manual_seed(0)
    shapes = {"x": (len(set(parents or range(3))), 7, 12), "weight": (20, 12), "bias": (20,)}
    shapes |= {"a": (3, 4, 12), "b": (3, 20, 4)}
    x, weight, bias, a, b = inputs = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes.values()]
    index = None if parents is None else torch.tensor(parents)

    torch.manual_seed(1)
    fast = low_rank_linear(*inputs, 2.0, index, dropout)
    torch.manual_seed(1)
    kept = x * ~dropped(x, dropout) / (1 - dropout) if dropout else x
    slow = torch.stack([
        x[p] @ weight.T + bias + 2.0 * kept[p] @ a[g].T @ b[g].T for g, p in enumerate(parents or range(3))
    ])  # fmt: skip
    torch.testing.assert_close(fast, slow)
    weights = torch.randn_like(slow)
    expected = torch.autograd.grad((slow * weights).sum(), inputs)
    for name, one, other in zip(shapes, torch.autograd.grad((fast * weights).sum(), inputs), expected, strict=True):
        torch.testing.assert_close(one, other, msg=name)


def test_dropout_drops_the_wanted_share_of_values_and_others_each_time():
    x = torch.empty(301, 1001)
    first, second = dropped(x, 0.05), dropped(x, 0.05)
    for mask in (first, second, *first.flatten()[: 4 * 70_000].view(-1, 4).T):  # four come from one random number
        assert abs(mask.float().mean().item() - 0.05) < 5 * (0.05 / mask.numel()) ** 0.5
    assert abs((first & second).float().mean().item() - 0.05**2) < 5 * 0.05 / x.numel() ** 0.5
    assert abs((first[:, 1:] & first[:, :-1]).float().mean().item() - 0.05**2) < 5 * 0.05 / x.numel() ** 0.5


def test_in_evaluation_nothing_is_dropped(layer):
    layer.dropout.p = 0.5
    x = torch.randn(3 * 2, 5, 12)
    assert not torch.equal(layer(x), layer(x))
    assert torch.equal(layer.eval()(x), layer(x))
