"""What is fast equals what is plain: outputs and every gradient, in double precision and in a short format."""

import pytest
import torch
from torch import nn

from ptsa_lite.fast import FastHRNetHead, FastLoRALinear, dropped, fast
from ptsa_lite.heads import HRNetHead
from ptsa_lite.lora import GroupedLoRALinear

CHANNELS = (24, 32, 40, 40)
SIZES = [((16, 16), (8, 8), (4, 4), (4, 4)), ((15, 9), (8, 5), (4, 3), (4, 3)), ((4, 4), (4, 4), (4, 4), (4, 4))]


def gradients(output, inputs, weights):
    return torch.autograd.grad((output * weights).sum(), inputs)


def mask(x, p):
    """`dropped` as a tensor of x's shape, True where a value is dropped."""
    return torch.zeros(x.numel(), dtype=torch.bool).index_fill_(0, dropped(x, p).long(), True).view(x.shape)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_layers_own_gradient_is_autograds_of_the_equation(dropout):
    """For every input, the frozen weight too: the similarity of tasks is measured on it."""
    torch.manual_seed(0)
    layer = FastLoRALinear(nn.Linear(12, 20).double(), 3, 4, scale=2.0, dropout=dropout)
    nn.init.normal_(layer.lora_B)
    x = torch.randn(6, 7, 12, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(1)
    ours = layer(x)
    torch.manual_seed(1)
    rows = x.view(3, 14, 12)
    kept = rows * ~mask(rows, dropout) / (1 - dropout) if dropout else rows
    low = torch.stack([kept[g] @ layer.lora_A[g].T @ layer.lora_B[g].T for g in range(3)])
    expected = layer.base(x) + 2.0 * low.view(6, 7, 20)
    torch.testing.assert_close(ours, expected)
    weights, inputs = torch.randn_like(ours), [x, *layer.parameters()]
    for one, other in zip(gradients(ours, inputs, weights), gradients(expected, inputs, weights), strict=True):
        torch.testing.assert_close(one, other)


def test_in_bfloat16_the_layer_agrees_within_that_formats_error():
    torch.manual_seed(0)
    quick = FastLoRALinear(nn.Linear(64, 48), 2, 4)
    nn.init.normal_(quick.lora_B, std=0.1)
    plain = GroupedLoRALinear(quick.base, 2, 4)
    plain.load_state_dict(quick.state_dict())
    x = torch.randn(4, 10, 64)
    with torch.autocast("cpu", torch.bfloat16):
        one, other = quick(x), plain(x)
    assert one.dtype == other.dtype == torch.bfloat16
    assert (one - other).float().norm() < 0.02 * plain(x).norm()


@pytest.mark.parametrize("p", [0.05, 0.5])
def test_every_value_is_dropped_with_that_probability_by_itself_and_others_each_time(p):
    torch.manual_seed(0)
    x = torch.empty(1501, 1001)
    first, second = mask(x, p), mask(x, p)
    pairs = first & second, first[:, 1:] & first[:, :-1], first[1:] & first[:-1]
    parts = first[:, :5], first[:3], first[-3:], first  # the ends, too
    for found, share in [*((part, p) for part in parts), *((pair, p**2) for pair in pairs)]:
        assert abs(found.double().mean().item() - share) < 5 * (share / found.numel()) ** 0.5
    few = torch.stack([mask(torch.empty(3), p) for _ in range(20_000)])  # a row is often dropped nowhere
    assert (few.double().mean(0) - p).abs().max().item() < 5 * (p / len(few)) ** 0.5


def test_the_places_that_are_dropped_rise_and_lie_within():
    for shape in ((0, 4), (1,), (7, 5, 3)):
        x = torch.empty(shape)
        for _ in range(100):
            places = dropped(x, 0.9).tolist()
            assert places == sorted(set(places)) and all(0 <= place < x.numel() for place in places)


def heads(dtype=torch.float32):
    torch.manual_seed(0)
    quick, plain = FastHRNetHead(CHANNELS, 5).to(dtype), HRNetHead(CHANNELS, 5).to(dtype)
    plain.load_state_dict(quick.state_dict())
    return quick, plain


def maps(sizes, dtype=torch.float32):
    return [torch.randn(3, *s, c, dtype=dtype, requires_grad=True) for s, c in zip(sizes, CHANNELS, strict=True)]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("training", [True, False])
def test_fusing_before_bringing_up_equals_the_equation_in_outputs_and_gradients(sizes, training, device):
    quick, plain = (head.to(device).train(training) for head in heads(torch.float64))
    features = [f.detach().to(device).requires_grad_() for f in maps(sizes, torch.float64)]
    one, other = quick(features), plain(features)
    torch.testing.assert_close(one, other)
    weights = torch.randn_like(one)
    ours = gradients(one, [*quick.parameters(), *features], weights)
    theirs = gradients(other, [*plain.parameters(), *features], weights)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)


def test_in_bfloat16_the_head_agrees_within_that_formats_error():
    (quick, plain), features = heads(), maps(SIZES[0])
    with torch.autocast("cpu", torch.bfloat16):
        one, other = quick(features), plain(features)
    assert one.dtype == torch.bfloat16
    assert (one - other).float().norm() < 0.02 * other.float().norm()


def test_a_gpu_takes_the_plain_layer_which_can_be_compiled():
    assert fast("cpu")["layer"] is FastLoRALinear and fast("cuda")["layer"] is GroupedLoRALinear
