"""What is kept for the backward pass is counted to the byte, and our step keeps less than a loop over groups."""

import torch
from bench.kept import ELSEWHERE, kept_for_backward
from bench.rivals import LoopOverGroups, LoopOverTasks, random_batch
from test_speed import adapted
from torch import nn

from ptsa_lite.fast import FastLoRALinear
from ptsa_lite.losses import total_loss
from ptsa_lite.tasks import PASCAL


def test_a_layer_keeps_its_input_once_and_its_output_where_the_loss_needs_it():
    model = nn.Sequential()
    model.add_module("fc1", nn.Linear(8, 16))
    model.add_module("norm", nn.LayerNorm(16))
    x = torch.randn(5, 8)
    found = kept_for_backward(model, lambda: model(x).square().sum())
    assert found["adapted layers"] == 4 * 5 * 8
    assert found["norms"] == 4 * (5 * 16 + 2 * 5)  # its input, a mean and a deviation a row
    assert found["losses"] == 4 * 5 * 16 and found[ELSEWHERE] == 0


def test_a_frozen_layer_passes_a_gradient_on_and_keeps_nothing():
    model, x = nn.Linear(8, 16), torch.randn(5, 8, requires_grad=True)
    assert sum(kept_for_backward(model, lambda: model(x).sum()).values()) == 4 * 5 * 8
    model.requires_grad_(False)
    assert sum(kept_for_backward(model, lambda: model(x).sum()).values()) == 0


def test_ours_keeps_less_than_the_loops_and_the_same_in_the_heads():
    batch, model = random_batch(PASCAL, 64, 2), adapted(dropout=0.05, layer=FastLoRALinear)
    kept = []
    for one in (model, LoopOverGroups(model).train(), LoopOverTasks(model).train()):

        def forward(one=one):
            return total_loss(PASCAL, one(batch["image"], resize=False), batch)[0]

        kept.append(kept_for_backward(one, forward))
    assert sum(kept[0].values()) < sum(kept[1].values()) < sum(kept[2].values())
    assert kept[0]["heads"] <= 1.01 * kept[1]["heads"]  # where a map is saved first is its place
    assert kept[0]["adapted layers"] < 0.8 * kept[1]["adapted layers"]
