"""The layer against its equation, group by group."""

import pytest
import torch
from torch import nn

from ptsa_lite.fast import FastLoRALinear
from ptsa_lite.lora import GroupedLoRALinear

both = pytest.mark.parametrize("kind", [GroupedLoRALinear, FastLoRALinear])


def make(kind, **options):
    torch.manual_seed(0)
    layer = kind(nn.Linear(12, 20), n_groups=3, rank=4, scale=2.0, **options)
    nn.init.normal_(layer.lora_B)
    return layer


def equation(layer, x, g):
    """One group on its own: W x + b + s B A x."""
    return layer.base(x) + layer.scale * x @ layer.lora_A[g].T @ layer.lora_B[g].T


@both
def test_all_groups_in_one_call_equal_the_equation_group_by_group(kind):
    layer, x = make(kind), torch.randn(3 * 2, 5, 12)
    expected = torch.cat([equation(layer, x[2 * g : 2 * g + 2], g) for g in range(3)])
    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)


@both
def test_a_fresh_adapter_changes_nothing(kind):
    layer, x = kind(nn.Linear(12, 20), n_groups=2, rank=4), torch.randn(4, 12)
    assert torch.equal(layer(x), layer.base(x))


@both
def test_some_groups_are_picked_from_all(kind):
    layer, x = make(kind), torch.randn(6, 5, 12)
    some = layer.only([0, 2])(torch.cat([x[:2], x[4:]]))
    torch.testing.assert_close(some, torch.cat([layer(x)[:2], layer(x)[4:]]))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("n_groups", [1, 3])
def test_merged_weights_give_the_same_output(n_groups, bias):
    layer = GroupedLoRALinear(nn.Linear(12, 20, bias=bias), n_groups, rank=4)
    nn.init.normal_(layer.lora_B)
    x, merged = torch.randn(3 * n_groups, 5, 12), layer.merged()
    assert isinstance(merged, nn.Linear) == (n_groups == 1)
    torch.testing.assert_close(merged(x), layer(x), atol=1e-5, rtol=1e-5)
    if n_groups > 1:
        torch.testing.assert_close(merged.only([2])(x[6:]), layer(x)[6:], atol=1e-5, rtol=1e-5)


@both
def test_the_loss_of_one_group_gives_no_gradient_to_another(kind):
    layer = make(kind)
    layer(torch.randn(6, 5, 12))[2:4].sum().backward()
    assert layer.lora_A.grad[1].abs().sum() > 0
    assert not layer.lora_A.grad[[0, 2]].any() and not layer.lora_B.grad[[0, 2]].any()


@pytest.mark.parametrize("rank", [0, -1, 13])
def test_a_rank_that_does_not_fit_the_layer_is_refused(rank):
    with pytest.raises(ValueError, match="give 1 to 12|rank must be a whole number of at least 1"):
        GroupedLoRALinear(nn.Linear(12, 20), 2, rank)


@pytest.mark.parametrize("option", [dict(rank=2.0), dict(rank=True), dict(n_groups=0), dict(n_groups=2.0),
                                    dict(scale=float("nan")), dict(dropout=1.0)], ids=str)  # fmt: skip
def test_an_option_of_another_kind_is_refused_by_its_name(option):
    with pytest.raises(ValueError, match=f"{next(iter(option))} must be "):
        GroupedLoRALinear(nn.Linear(12, 20), **{"n_groups": 2, "rank": 2} | option)


@both
def test_in_evaluation_nothing_is_dropped(kind):
    layer, x = make(kind, dropout=0.5), torch.randn(3 * 2, 5, 12)
    assert not torch.equal(layer(x), layer(x))
    assert torch.equal(layer.eval()(x), layer(x))
