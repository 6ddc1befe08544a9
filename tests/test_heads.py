"""The head against its equation, written with torch's own 1x1 convolutions and resize; and the resize itself."""

import pytest
import torch
from torch.nn import functional as F

from ptsa_lite.heads import HRNetHead
from ptsa_lite.resize import resize

CHANNELS = (24, 32, 40, 40)


def by_convolutions(head, features):
    """W2 relu(BN(W1 [up(P_1 f_1), ..., up(P_4 f_4)])), channels first."""
    as_kernel = lambda linear: linear.weight[:, :, None, None]  # noqa: E731
    f = [x.permute(0, 3, 1, 2) for x in features]
    projected = [F.conv2d(x, as_kernel(p)) for x, p in zip(f, head.project, strict=True)]
    up = [F.interpolate(z, f[0].shape[2:], mode="bilinear", align_corners=False) for z in projected]
    x = F.conv2d(torch.cat(up, 1), as_kernel(head.fuse), head.fuse.bias)
    x = F.batch_norm(x, None, None, head.norm.weight, head.norm.bias, training=True).relu()
    return F.conv2d(x, as_kernel(head.predict), head.predict.bias)


def test_the_head_is_its_equation():
    torch.manual_seed(0)
    head = HRNetHead(CHANNELS, 5).double()
    features = [torch.randn(3, s, s, c, dtype=torch.float64) for s, c in zip((16, 8, 4, 4), CHANNELS, strict=True)]
    torch.testing.assert_close(head(features), by_convolutions(head, features))


@pytest.mark.parametrize(("old", "new"), [((4, 4), (8, 8)), ((7, 5), (13, 20)), ((9, 6), (4, 6)), ((3, 3), (3, 3))])
def test_resizing_by_two_products_is_torchs_bilinear_resize(old, new):
    x = torch.randn(2, 3, *old, dtype=torch.float64, requires_grad=True)
    expected = F.interpolate(x, new, mode="bilinear", align_corners=False)
    torch.testing.assert_close(resize(x, new), expected)
    weights = torch.randn_like(expected)
    torch.testing.assert_close(*(torch.autograd.grad((y * weights).sum(), x)[0] for y in (resize(x, new), expected)))


def test_in_bfloat16_the_weights_of_a_resize_by_a_power_of_two_are_exact():
    x = torch.ones(1, 1, 56, 56, dtype=torch.bfloat16)
    assert torch.equal(resize(x, (448, 448)), torch.ones(1, 1, 448, 448, dtype=torch.bfloat16))
