"""The numbers behind the explorables are those of the package."""

import base64

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ptsa_lite.figures.style import Drawing
from ptsa_lite.tree import TaskTree
from ptsa_lite.workshop.explore import Explorable, letters, likeness_data, rank_data


def test_a_pairs_spectrum_is_what_a_rank_reaches_of_what_its_tasks_want():
    updates = F.normalize(torch.randn(3, 12, 8, generator=torch.manual_seed(0)).flatten(1)).view(3, 12, 8)
    data = rank_data(updates, 4, [2, 4, 8])
    assert data["per_rank"] == 20 and len(data["spectra"]) == 7
    for tasks, spectrum in data["spectra"].items():
        own = updates[[int(task) for task in tasks.split("+")]]
        u, s, v = torch.linalg.svd(own.mean(0), full_matrices=False)
        lost = (own - (u[:, :3] * s[:3]) @ v[:3]).square().sum((1, 2)).mean()
        assert 1 - sum(spectrum[:3]) == pytest.approx(float(lost), abs=2e-3)


def test_a_tree_becomes_the_group_of_each_task_at_each_stage():
    tree = TaskTree.parse("a+b+c > a+c | b > a | b | c")
    assert letters(tree, "abc") == [[0, 0, 0], [0, 1, 0], [0, 1, 2]]


@pytest.mark.parametrize("side, grid", [(48, 24), (24, 24), (12, 12)])
def test_packed_tokens_keep_their_cosines(side, grid):
    generator = torch.manual_seed(0)
    wide = torch.randn(3, side, side, 6, generator=generator) @ torch.randn(6, 64, generator=generator)
    data = likeness_data({"one": [wide]}, [np.zeros((8, 8, 3), np.uint8)])
    packed = data["networks"]["one"][0]
    numbers = np.frombuffer(base64.b64decode(packed["tokens"]), np.int8).astype(np.float32)
    tokens = torch.from_numpy(numbers.reshape(-1, packed["dims"]))
    assert packed["grid"] == grid and len(tokens) == 3 * grid * grid
    unit, step = F.normalize(tokens, dim=1), side // grid
    true = F.normalize(wide - wide.mean((0, 1, 2)), dim=-1)[:, ::step, ::step].flatten(0, 2)
    torch.testing.assert_close(unit @ unit[7], true @ true[7], atol=0.05, rtol=0)


def test_an_explorable_holds_script_data_and_a_still_and_nothing_that_ends_the_script():
    assert repr(Explorable("rank", {})) == "a drawing to move: rank"  # no address, which would change
    text = Explorable("rank", {"words": "</script><b>"}, Drawing(figsize=(1, 1)))._repr_html_()
    assert text.count("</script>") == 1 and "data:image/webp" in text and "\\u003c/script>" in text
    with pytest.raises(FileNotFoundError):
        Explorable("nothing", {})._repr_html_()
