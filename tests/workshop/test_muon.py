import pytest
import torch

from ptsa_lite.workshop.muon import Muon


def gradients(shape, n):
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(shape, generator=generator) for _ in range(n)]


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch.optim.Muon is of torch 2.9")
@pytest.mark.parametrize("shape", [(48, 16), (16, 48), (24, 24)])
def test_it_is_torchs_with_the_iteration_in_float32(shape):
    start = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    mine, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    options = {"lr": 0.02, "weight_decay": 0.1}
    a, b = Muon([mine], **options), torch.optim.Muon([theirs], adjust_lr_fn="match_rms_adamw", **options)
    for gradient in gradients(shape, 5):
        mine.grad, theirs.grad = gradient.clone(), gradient.clone()
        a.step()
        b.step()
    moved = (theirs - start).norm()
    assert (mine - theirs).norm() < 0.01 * moved  # bfloat16's digits


def test_a_step_has_singular_values_near_one():
    p = torch.nn.Parameter(torch.zeros(32, 8))
    optimiser = Muon([p], lr=1.0, weight_decay=0.0)
    left, right = torch.linalg.qr(torch.randn(32, 8))[0], torch.linalg.qr(torch.randn(8, 8))[0]
    p.grad = left @ torch.diag(10.0 ** -torch.linspace(0, 1.5, 8)) @ right  # a gradient with a factor of 30 within
    optimiser.step()
    values = torch.linalg.svdvals(-p / (0.2 * 32**0.5))
    assert values.min() > 0.6 and values.max() < 1.3
