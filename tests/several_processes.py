"""What `test_distributed` has each of several processes do: train 20 steps, evaluate, and write what it saw."""

import json
import sys
from pathlib import Path

import torch
from timm.layers import DropPath
from tiny import tiny_backbone

from ptsa_lite.data import open_dataset
from ptsa_lite.methods import build_model
from ptsa_lite.recipe import TrainConfig
from ptsa_lite.tasks import default_tasks
from ptsa_lite.training import distributed
from ptsa_lite.training import loop as training
from ptsa_lite.training.step import Stepper
from ptsa_lite.tree import TaskTree

TASKS = default_tasks("scenes")
NAMES = tuple(TASKS)
TREE = TaskTree(((NAMES,), (NAMES,), (NAMES[:2], NAMES[2:]), tuple((n,) for n in NAMES)))
CONFIG = TrainConfig(epochs=5, batch_size=8, lr=5e-4, warmup_epochs=1, eval_every=5)


def make(method="ptsa"):
    backbone = tiny_backbone()
    for module in backbone.modules():
        if isinstance(module, DropPath):
            module.drop_prob = 0.0  # processes draw their own, so chance would tell them from one process
    torch.manual_seed(0)
    return build_model(method, backbone, TASKS, TREE if method == "ptsa" else None, rank=2)


def sets():
    options = dict(img_size=64, seed=3)
    return open_dataset("scenes", n_frames=36, **options), open_dataset("scenes", split="val", n_frames=19, **options)


def losses_of(config, folder=None, model=None, val=True) -> tuple[list[dict], dict, torch.nn.Module]:
    """Every step's losses, the last metrics, and the trained model."""
    steps, step = [], Stepper.__call__
    model, (train_set, val_set) = model or make(), sets()

    class Watched(Stepper):
        def __call__(self, batch, rate):
            losses = step(self, batch, rate)
            steps.append(losses | {"frames": batch["index"].tolist()})
            return losses

    training.Stepper = Watched
    try:
        records = list(training.train_epochs(model, train_set, val_set if val else None, TASKS, config, folder))
    finally:
        training.Stepper = Stepper
    return steps, records[-1]["metrics"] if records else None, model


def seen_by_batch_norm(x):
    """Output, gradient of the input and running statistics of a batch norm that sees these rows."""
    norm = torch.nn.BatchNorm2d(3)
    norm.weight.data.copy_(torch.tensor([1.0, 2.0, 0.5]))
    x = x.clone().requires_grad_()
    y = distributed.share_batch_norm(norm)(x) if distributed.size() > 1 else norm(x)
    (y * torch.arange(y[0].numel()).view(y[0].shape)).square().sum().backward()
    saw = {"y": y, "dx": x.grad, "mean": norm.running_mean, "var": norm.running_var}
    return {key: value.tolist() for key, value in saw.items()}


def rows():
    return torch.randn(6, 3, 4, 5, generator=torch.Generator().manual_seed(0)) * 3 + 7


if __name__ == "__main__":
    out = Path(sys.argv[1])
    with distributed.processes():
        rank = distributed.rank()
        steps, metrics, model = losses_of(CONFIG, out / "run")
        trained = TrainConfig(**{**CONFIG.to_dict(), "epochs": 2})
        losses_of(trained, model=make("mtlora"), val=False)  # some of its parameters have no gradient
        same_model = training.evaluate(make(), sets()[1], TASKS, 4)
        part = rows()[:2] if rank == 0 else rows()[2:]
        saw = {"steps": steps, "metrics": metrics, "untrained": same_model, "norm": seen_by_batch_norm(part)}
        (out / f"saw-{rank}.json").write_text(json.dumps(saw))
