"""A training so small that a test can run dozens: 8 x 8 frames, a model of a frozen layer, batch norm and heads."""

import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from ptsa_lite.recipe import TrainConfig
from ptsa_lite.tasks import SCENES, select
from ptsa_lite.training import loop as training
from ptsa_lite.training.loop import train_epochs

TASKS = select(SCENES, ["semseg", "depth", "edge"])
CONFIG = TrainConfig(epochs=4, batch_size=4, lr=1e-2, warmup_epochs=1, eval_every=3)


class TinyData:
    """Frames of 8 x 8 with labels that their colours determine."""

    def __init__(self, frames=10, seed=0, spoil=None):
        generator = torch.Generator().manual_seed(seed)
        self.images = torch.randn(frames, 3, 2, 2, generator=generator).repeat_interleave(4, 2).repeat_interleave(4, 3)
        self.spoil = spoil

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = self.images[index]
        depth = image[:1].abs() + 1
        return {
            "image": image, "index": index, "semseg": (image[0] > 0).long() + (image[1] > 0).long(),
            "depth": torch.full_like(depth, math.nan) if index == self.spoil else depth,
            "edge": (image[2:] > 1).float(),
        }  # fmt: skip


def tiny_loader(dataset, batch_size, seed=None, epoch=0, workers=0, drop_last=False, part=(0, 1)):
    order = range(len(dataset))
    if seed is not None:
        order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(1000 * seed + epoch)).tolist()
    return DataLoader(dataset, batch_size, sampler=order, num_workers=workers, drop_last=drop_last)


class TinyEpochs:
    def __init__(self, dataset, batch_size, seed, workers, part, pin):
        self.make = lambda epoch: tiny_loader(dataset, batch_size, seed, epoch, workers, drop_last=True)

    def __len__(self):
        return len(self.make(0))

    def epoch(self, epoch):
        return self.make(epoch)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(training, "make_loader", tiny_loader)
    monkeypatch.setattr(training, "EpochLoader", TinyEpochs)


class TinyModel(nn.Module):
    """A frozen layer, batch norm, dropout and heads at half the resolution: what a resumed run could get wrong."""

    def __init__(self, seed=0, tasks=TASKS):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.stem = nn.Conv2d(3, 8, 3, padding=1).requires_grad_(False)
            self.norm = nn.BatchNorm2d(8)
            self.drop = nn.Dropout2d(0.1)
            self.heads = nn.ModuleDict({name: nn.Conv2d(8, t.channels, 3, 2, 1) for name, t in tasks.items()})

    def forward(self, images, resize=True):
        assert not resize  # the losses and meters do it, image by image
        x = self.drop(self.norm(self.stem(images)).relu())
        return {name: head(x) for name, head in self.heads.items()}


def timeless(record):
    return {key: value for key, value in record.items() if not key.startswith("seconds")}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def run(out_dir=None, stop_after=None, config=CONFIG, model=None, data=None):
    model = model or TinyModel()
    records = []
    epochs = train_epochs(model, data or TinyData(), TinyData(5, seed=1), TASKS, config, out_dir)
    for record in epochs:
        records.append(record)
        if record["epoch"] == stop_after:
            epochs.close()
            break
    return model, records
