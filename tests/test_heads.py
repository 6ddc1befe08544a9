"""The head's fast forward against its equation, and where its batch norm and sizes matter."""

import pytest
import torch
from torch.nn import functional as F

from ptsa_lite.heads import HRNetHead

CHANNELS = (24, 32, 40, 40)


def by_the_equation(head: HRNetHead, features):
    """W2 relu(BN(W1 [up(P_1 f_1), ..., up(P_4 f_4)])): bring every map up, put them side by side, then W1."""
    size = features[0].shape[1:3]
    maps = [project(f).permute(0, 3, 1, 2) for project, f in zip(head.project, features, strict=True)]
    maps = [F.interpolate(m, size, mode="bilinear", align_corners=False) for m in maps]
    x = head.fuse(torch.cat(maps, 1).permute(0, 2, 3, 1))
    x = F.relu(head.norm(x.flatten(0, 2))).view(x.shape)
    return head.predict(x).permute(0, 3, 1, 2)


def example(sizes=((16, 16), (8, 8), (4, 4), (4, 4)), dtype=torch.float32):
    torch.manual_seed(0)
    head = HRNetHead(CHANNELS, 5).to(dtype)
    return head, [torch.randn(3, *s, c, dtype=dtype, requires_grad=True) for s, c in zip(sizes, CHANNELS, strict=True)]


@pytest.mark.parametrize(
    "sizes", [((16, 16), (8, 8), (4, 4), (4, 4)), ((15, 9), (8, 5), (4, 3), (4, 3)), ((4, 4), (4, 4), (4, 4), (4, 4))]
)
@pytest.mark.parametrize("training", [True, False])
def test_fusing_before_bringing_up_equals_the_equation_in_outputs_and_gradients(sizes, training):
    head, features = example(sizes, torch.float64)
    head.train(training)
    inputs = [*head.parameters(), *features]
    fast, slow = head(features), by_the_equation(head, features)
    torch.testing.assert_close(fast, slow)
    weights = torch.randn_like(slow)
    expected = torch.autograd.grad((slow * weights).sum(), inputs)
    for one, other in zip(torch.autograd.grad((fast * weights).sum(), inputs), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)


def test_in_single_precision_it_agrees_to_a_hundred_thousandth():
    head, features = example()
    torch.testing.assert_close(head(features), by_the_equation(head, features), rtol=1e-5, atol=1e-5)


def test_in_bfloat16_it_agrees_within_that_formats_error():
    head, features = example()
    with torch.autocast("cpu", torch.bfloat16):
        fast, slow = head(features), by_the_equation(head, features)
    assert fast.dtype == torch.bfloat16
    assert (fast - slow).float().norm() < 0.02 * slow.float().norm()
