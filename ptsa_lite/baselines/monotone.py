"""A smooth monotone map of 0..1 onto itself: where a velocity field leads each place in one second.

The field is piecewise linear between equally spaced knots and 0 at both ends: two places never meet, and the ends stay.
Such maps are CPAB transformations (Freifeld et al. 2017); here they are integrated in steps, not in closed form.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

STEPS = 4  # of Runge and Kutta's method: within a thousandth for velocities up to a tenth


def read_at(values: Tensor, u: Tensor) -> Tensor:
    """(..., n) values at equal distances over 0..1, read at places u (m,) in between: (..., m)."""
    place = u.clamp(0, 1) * (values.shape[-1] - 1)
    left = place.detach().floor().long().clamp(max=values.shape[-1] - 2)
    return torch.lerp(values[..., left], values[..., left + 1], place - left)


def flow(velocity: Tensor, n: int) -> Tensor:
    """f at n equal distances over 0..1, for the velocity's (cells - 1) inner values."""
    v = F.pad(velocity, (1, 1))
    u, h = torch.linspace(0, 1, n, device=v.device, dtype=v.dtype), 1 / STEPS
    for _ in range(STEPS):
        a = read_at(v, u)
        b = read_at(v, u + h / 2 * a)
        c = read_at(v, u + h / 2 * b)
        u = u + h / 6 * (a + 2 * b + 2 * c + read_at(v, u + h * c))
    return u
