"""Batches for one process and for several, with workers that live on."""

import shutil

import pytest
import torch
from torch.utils.data import ConcatDataset, Subset

from ptsa_lite.data import loading, make_loader, open_dataset
from ptsa_lite.data.loading import EpochLoader, batches_of, workers_here
from ptsa_lite.data.open import set_epoch


@pytest.fixture(scope="module")
def scenes():
    return open_dataset("scenes", img_size=32, n_frames=11)


def as_one(batches):
    return [{key: value.clone() for key, value in batch.items()} for batch in batches]


def same(one, other):
    return all(torch.equal(a[key], b[key]) for a, b in zip(one, other, strict=True) for key in a)


def test_epochs_are_those_of_make_loader_for_any_number_of_workers(scenes):
    for workers in (0, 2):
        loader = EpochLoader(scenes, 4, seed=3, workers=workers)
        assert len(loader) == 2
        for epoch in (0, 1, 0):
            expected = make_loader(scenes, 4, seed=3, epoch=epoch, drop_last=True)
            assert same(as_one(loader.epoch(epoch)), list(expected)), (workers, epoch)


def test_parts_of_several_processes_make_the_whole_batch(scenes):
    whole = list(EpochLoader(scenes, 4, seed=3).epoch(1))
    parts = [list(EpochLoader(scenes, 4, seed=3, part=(rank, 2)).epoch(1)) for rank in (0, 1)]
    joined = [{key: torch.cat([a[key], b[key]]) for key in a} for a, b in zip(*parts, strict=True)]
    assert same(joined, whole)


def test_every_other_batch_goes_to_another_process(scenes):
    whole = list(make_loader(scenes, 3))
    parts = [list(make_loader(scenes, 3, part=(rank, 3))) for rank in range(3)]
    assert [len(part) for part in parts] == [2, 1, 1]
    assert same([parts[0][0], parts[1][0], parts[2][0], parts[0][1]], whole)


def test_shuffled_batches_hold_every_frame_once():
    batches = batches_of(11, 4, seed=1, epoch=2)
    assert sorted(i for batch in batches for i in batch) == list(range(11)) and [len(b) for b in batches] == [4, 4, 3]
    assert batches_of(11, 4, seed=1, epoch=2, drop_last=True) == batches[:2] != batches_of(11, 4, 1, 3, True)


def test_there_are_no_more_workers_than_processors(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 3}, raising=False)
    assert [workers_here(wanted) for wanted in (0, 1, 2, 6)] == [0, 1, 2, 2]
    monkeypatch.delattr("os.sched_getaffinity")
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert workers_here(6) == 1


def test_where_shared_memory_is_small_there_are_fewer_workers_and_it_is_said(scenes, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(loading, "SHARED", tmp_path)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: range(8), raising=False)
    sample = sum(value.nbytes for value in scenes[0].values() if isinstance(value, torch.Tensor))
    for batches, fit in ((100, 4), (6, 2), (5, 1), (1, 0)):
        usage = (10**9, 0, batches * 4 * sample)
        monkeypatch.setattr("shutil.disk_usage", lambda path, usage=usage: shutil._ntuple_diskusage(*usage))
        assert workers_here(4, scenes, batch_size=4) == fit
        said = capsys.readouterr().out
        assert ("a container gets more by --shm-size" in said) == (fit < 4) and said.count("\n") <= 1
    assert len(list(make_loader(scenes, 4, workers=2))) == 3  # by this process alone
    monkeypatch.setattr(loading, "SHARED", tmp_path / "none")  # another system
    assert workers_here(4, scenes, batch_size=4) == 4


class Own(torch.utils.data.Dataset):
    """Samples of a reader's own making."""

    def __len__(self):
        return 8

    def __getitem__(self, i):
        return {"image": torch.full((3, 8, 8), float(i)), "index": i, "depth": torch.ones(1, 8, 8)}


def test_a_data_set_of_ones_own_is_loaded_as_it_is():
    for batches in (EpochLoader(Own(), 4, seed=3).epoch(1), make_loader(Own(), 4, seed=3, epoch=1, workers=1)):
        found = torch.cat([batch["image"][:, 0, 0, 0] for batch in batches])
        assert found.tolist() == [float(i) for batch in batches_of(8, 4, 3, 1) for i in batch]


@pytest.mark.parametrize(
    "option", [dict(workers=-1), dict(workers=1.5), dict(epoch=-1), dict(batch_size=True), dict(seed="a")], ids=str
)
def test_an_option_of_another_kind_is_refused_by_its_name(scenes, option):
    with pytest.raises(ValueError, match=f"{next(iter(option))} must be (None or )?a whole number"):
        make_loader(scenes, **{"batch_size": 4} | option)


def test_parts_and_sums_of_a_data_set_are_augmented_anew_in_every_epoch():
    whole = open_dataset("scenes", n_frames=4, img_size=32, tasks=["depth"])
    for part in (Subset(whole, [2, 0]), ConcatDataset([whole, whole])):
        assert len(set_epoch(part, 1)) == len(part)
        assert torch.equal(set_epoch(part, 1)[1]["image"], set_epoch(whole, 1)[0 if len(part) == 2 else 1]["image"])
        assert not torch.equal(set_epoch(part, 1)[1]["image"], set_epoch(part, 2)[1]["image"])


def test_a_loader_draws_nothing_from_the_callers_generator():
    frames, before = open_dataset("scenes", n_frames=4, img_size=32, tasks=["depth"]), torch.get_rng_state()
    assert len([*make_loader(frames, 2, seed=1)]) == 2
    assert torch.equal(torch.get_rng_state(), before)
