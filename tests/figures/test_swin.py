"""How a Swin sees: windows that see what the mask lets through, fronts that are means."""

import numpy as np
import pytest

from ptsa_lite.figures.swin import draw_likeness, pooled, tint, window_of


def regions(grid, window, shift):
    place = np.arange(grid)
    strip = (place >= grid - window).astype(int) + (place >= grid - shift)
    return 3 * strip[:, None] + strip


@pytest.mark.parametrize("grid, window, shift", [(16, 4, 2), (8, 4, 2), (14, 7, 3), (4, 4, 0)])
def test_a_token_is_shown_to_see_what_the_mask_lets_it_see(grid, window, shift):
    region = regions(grid, window, shift) if shift else np.zeros((grid, grid), int)
    number = np.arange(grid * grid).reshape(grid, grid)
    rolled = np.roll(number, (-shift, -shift), (0, 1))
    for token in number.ravel():
        r, c = np.argwhere(rolled == token)[0]
        top, left = r // window * window, c // window * window
        here = np.s_[top : top + window, left : left + window]
        expected = rolled[here][region[here] == region[r, c]]
        seen = number[window_of(divmod(int(token), grid), grid, window, shift)]
        assert set(seen.ravel()) == set(expected)


def test_only_windows_with_several_regions_are_tinted():
    tinted = tint(regions(16, 4, 2), 4)[..., 3] > 0
    expected = np.zeros((16, 16), bool)
    expected[-4:], expected[:, -4:] = True, True
    assert np.array_equal(tinted, expected)


def test_the_fronts_of_the_pyramid_are_means():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    assert np.array_equal(pooled(image, 8), image)
    assert np.allclose(pooled(image, 2)[1, 0], image[4:, :4].mean((0, 1)), atol=0.5)


def test_a_heat_map_row_stands_under_every_frame_and_the_asking_token_is_marked():
    maps = {"one": np.zeros((2, 4, 4)), "two": np.zeros((2, 4, 4))}
    figure = draw_likeness(np.zeros((2, 3, 8, 8), np.uint8), maps, (1, 0.5, 0.5))
    marked = [bool(axes.lines) for axes in figure.axes]
    assert marked == [False, True] * 3
