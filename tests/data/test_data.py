"""Data sets: what is stored is read back bit for bit, resumes, and does not depend on workers, copies or limits."""

import pickle
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from archives import SHARED, needs_shared, random_frame, write_nyud, write_pascal

import ptsa_lite.data as data
from ptsa_lite.data import cache, count_frames, frames, make_loader, open_dataset, prepared, set_epoch, transforms
from ptsa_lite.data import open as opening
from ptsa_lite.data.archive import Archive
from ptsa_lite.data.listing import ARCHIVES
from ptsa_lite.tasks import IGNORE, NYUD, PASCAL, SCENES, SUITES, default_tasks


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    """What a test draws or decodes is kept for it alone."""
    monkeypatch.setenv("PTSA_CACHE", str(tmp_path / "cache"))


def equal(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(
        torch.equal(a[key], b[key]) if isinstance(a[key], torch.Tensor) else a[key] == b[key] for key in a
    )


@pytest.fixture
def fake_scenes(monkeypatch):
    """A renderer that takes no time and counts its calls."""
    calls = []

    def render_scene(index, seed=0, size=128):
        calls.append(index)
        return random_frame(index + 7 * seed, size, size)

    monkeypatch.setattr(opening, "render_scene", render_scene)
    return calls


# Frames and their cache


@pytest.mark.parametrize("half", [False, True])
def test_a_stored_frame_is_read_back_bit_for_bit(half):
    frame = random_frame(1)
    del frame["edge"]
    if half:
        frame["normals"] = frame["normals"].astype(np.float16)
    back = frames.decode(frames.encode(frame, 5, SCENES))
    assert back.pop("_aspect") == np.float32(32 / 24) and back.keys() == frame.keys()
    for key, array in frame.items():
        assert back[key].dtype == array.dtype and np.array_equal(back[key], array)


def frames_of(made: list, fail_at: int = -1):
    def frame_at(i: int) -> dict:
        if i == fail_at:
            raise KeyboardInterrupt
        made.append(i)
        return random_frame(i, 8, 8)

    return frame_at


def test_a_build_that_was_stopped_goes_on_where_it_was_and_a_longer_one_reuses_it(tmp_path):
    made = []
    with pytest.raises(KeyboardInterrupt):
        cache.build(tmp_path, 100, frames_of(made, fail_at=70), ["depth"], "test")
    (tmp_path / ".000900-000932-00000000.arrow.part").write_bytes(b"half a part")
    made.clear()
    cache.build(tmp_path, 70, frames_of(made), ["depth"], "test")
    assert made == list(range(64, 70)) and not list(tmp_path.glob(".*.part"))
    made.clear()
    paths = cache.build(tmp_path, 100, frames_of(made), ["depth"], "test")
    assert made == list(range(64, 100)) and len(paths) == 4
    dataset = cache.open_parts(paths, 99, ["depth"], "")
    assert dataset["index"] == list(range(99)) and dataset.column_names == frames.columns(["depth"])
    assert dataset[98]["depth"] == random_frame(98, 8, 8)["depth"].tobytes()


def test_a_part_that_was_damaged_is_found_by_its_checksum_and_built_anew(tmp_path):
    made = []
    paths = cache.build(tmp_path, 40, frames_of(made), ["depth"], "test")
    good = paths[1].read_bytes()
    paths[1].write_bytes(good[:-50] + b"x" * 50)
    made.clear()
    cache.build(tmp_path, 40, frames_of(made), ["depth"], "test", check=True)
    assert made == list(range(32, 40)) and paths[1].read_bytes() == good


def test_a_folder_that_cannot_be_written_is_named_with_the_free_space(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"test: cannot write .*file.* GB free\); .*choose another folder by PTSA_CACHE"):
        cache.build(tmp_path / "file" / "x", 1, frames_of([]), ["depth"], "test")


# Archives


@pytest.mark.parametrize("name", ["nyud", "pascal"])
def test_samples_are_those_of_the_archives_frames_at_the_working_size(tmp_path, name):
    root = (write_nyud if name == "nyud" else write_pascal)(tmp_path / "root", train=4, size=(48, 64))
    dataset = open_dataset(name, root, img_size=16)
    archive, kinds = ARCHIVES[name].open(root), {task.name: task.moves for task in SUITES[name].values()}
    for epoch in range(3):
        for i, sample in enumerate(set_epoch(dataset, epoch)):
            frame = transforms.shrink(archive.frame(archive.names("train")[i], kinds), 24)  # 1.5 times 16
            warp = transforms.RECIPES[name](transforms.generator(0, epoch, i))
            assert equal(sample, {**transforms.to_sample(frame, 16, kinds, warp), "index": i})
    assert not equal(dataset[0], open_dataset(name, root, img_size=16, work_size=32)[0])


def test_test_samples_are_the_plain_test_transform(tmp_path):
    root = write_nyud(tmp_path / "root", size=(48, 64))
    sample = open_dataset("nyud", root, img_size=16, split="val")[1]
    plain = transforms.to_sample(ARCHIVES["nyud"].open(root).frame("0005", NYUD), 16, frames.KINDS)
    for key in ("image", "semseg", "depth", "edge"):
        assert torch.equal(sample[key], plain[key])
    assert torch.allclose(sample["normals"], plain["normals"], atol=1e-3)  # half precision


def test_a_prepared_copy_is_used_while_the_archive_stays_and_made_anew_when_it_changes(tmp_path, monkeypatch):
    root, reads = write_nyud(tmp_path / "root"), []
    read = Archive.frame
    monkeypatch.setattr(Archive, "frame", lambda *a: reads.append(a) or read(*a))
    first = open_dataset("nyud", root, img_size=8, work_size=16)[1]
    assert len(reads) == 3 and len(list((tmp_path / "cache").glob("nyud-train-16-*"))) == 1
    fewer = open_dataset("nyud", root, img_size=8, work_size=16, tasks=["depth"])[1]
    assert len(reads) == 3 and set(fewer) == {"image", "depth", "index"} and torch.equal(fewer["depth"], first["depth"])
    np.save(root / "depth/0002.npy", random_frame(2)["depth"] / 2)
    changed = open_dataset("nyud", root, img_size=8, work_size=16)[1]
    assert len(reads) == 6 and torch.allclose(changed["depth"] * 2, first["depth"])
    (root / "gt_sets/train.txt").write_text("0003\n0002\n0001\n")  # the same files in another order
    open_dataset("nyud", root, img_size=8, work_size=16)
    assert len(reads) == 9


def test_an_unfinished_label_does_not_stop_a_copy_of_the_others(tmp_path):
    root = write_pascal(tmp_path / "root")
    (root / "sal_distill/2008_000001.png").unlink()
    options = dict(work_size=16, img_size=16)
    assert "semseg" in open_dataset("pascal", root, tasks=["semseg", "normals"], **options)[0]
    with pytest.raises(ValueError, match="sal_distill/2008_000001.png"):
        open_dataset("pascal", root, tasks=["saliency"], **options)


def test_n_frames_takes_the_first_frames_and_changes_nothing_in_them(tmp_path):
    root = write_nyud(tmp_path / "root", train=5)
    whole, two = open_dataset("nyud", root, img_size=16), open_dataset("nyud", root, img_size=16, n_frames=2)
    assert len(two) == 2 and all(equal(two[i], whole[i]) for i in range(2))
    picked = whole.select([4, 1])
    assert equal(picked[0], whole[4]) and equal(picked[1], whole[1])


def test_the_same_seed_epoch_and_index_give_the_same_sample_and_others_do_not(tmp_path):
    root = write_pascal(tmp_path / "root")
    dataset = open_dataset("pascal", root, img_size=16)
    assert equal(dataset[0], open_dataset("pascal", root, img_size=16)[0])
    assert not equal(dataset[0], set_epoch(dataset, 1)[0]) and equal(dataset[0], set_epoch(set_epoch(dataset, 1), 0)[0])
    assert not equal(dataset[0], open_dataset("pascal", root, img_size=16, seed=1)[0])
    one = dataset.map(lambda row: {**row, **dataset.with_format(None)[0], "index": row["index"]})
    alike = one.with_transform(dataset.format["format_kwargs"]["transform"])  # three times the same frame
    assert not torch.equal(alike[0]["image"], alike[1]["image"])
    val = open_dataset("pascal", root, img_size=16, split="val")
    assert equal(val[0], set_epoch(val, 5)[0])  # nothing is drawn for val
    assert equal(val[0], open_dataset("pascal", root, img_size=16, split="test")[0])


class CtrlCWhileHashed:
    """A value that is interrupted when the `datasets` library pickles it for a hash."""

    def __deepcopy__(self, memo):
        return self

    def __reduce__(self):
        signal.raise_signal(signal.SIGINT)
        return CtrlCWhileHashed, ()


def test_ctrl_c_while_a_transform_is_hashed_is_not_lost(tmp_path):
    dataset = open_dataset("pascal", write_pascal(tmp_path / "root"), img_size=16)
    view = dataset.format["format_kwargs"]["transform"]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            opening._seen_as(dataset, replace(view, recipe=CtrlCWhileHashed()))
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_loaders_give_the_same_batches_for_any_number_of_workers(tmp_path):
    root = write_nyud(tmp_path / "root", train=7)
    dataset = open_dataset("nyud", root, img_size=16)
    runs = [list(make_loader(dataset, 3, seed=1, epoch=2, workers=workers)) for workers in (0, 1, 2)]
    assert [len(batch["index"]) for batch in runs[0]] == [3, 3, 1]
    for run in runs[1:]:
        assert all(equal(a, b) for a, b in zip(run, runs[0], strict=True))
    order = torch.cat([batch["index"] for batch in runs[0]]).tolist()
    assert sorted(order) == list(range(7)) and order != list(range(7))
    other = torch.cat([batch["index"] for batch in make_loader(dataset, 3, seed=1, epoch=3)]).tolist()
    assert other != order
    assert torch.cat([batch["index"] for batch in make_loader(dataset, 4)]).tolist() == list(range(7))


def test_a_data_set_can_be_sent_to_a_process_that_starts_fresh(tmp_path):
    dataset = open_dataset("nyud", write_nyud(tmp_path / "root"), img_size=16)
    assert equal(pickle.loads(pickle.dumps(dataset))[1], dataset[1])


# Scenes


def test_a_suite_names_its_tasks(tmp_path, fake_scenes):
    tasks = default_tasks("scenes")
    frames = open_dataset("scenes", split="val", img_size=32, tasks=tasks, n_frames=2)
    assert set(frames[0]) == {"image", "index", *tasks}


def test_scenes_are_drawn_once_and_kept(tmp_path, fake_scenes):
    options = dict(img_size=16, n_frames=5)
    first = open_dataset("scenes", **options)
    assert fake_scenes == [0, 1, 2, 3, 4] and set(first[0]) == {"image", "index", *PASCAL}
    again = open_dataset("scenes", **options, tasks=list(SCENES))
    assert len(fake_scenes) == 5 and set(again[0]) == {"image", "index", *SCENES}
    assert torch.equal(again[2]["normals"], first[2]["normals"])
    open_dataset("scenes", img_size=16, n_frames=3)
    assert len(fake_scenes) == 5
    exact = open_dataset("scenes", **options, augment=False, tasks=list(SCENES))[4]
    assert equal({**transforms.to_sample(random_frame(4, 16, 16), 16, frames.KINDS), "index": 4}, exact)


def test_scenes_and_copies_are_kept_by_their_versions_and_by_no_source(tmp_path, monkeypatch, fake_scenes):
    root, options = write_nyud(tmp_path / "root"), dict(img_size=16, work_size=16)
    versions = {"scenes": (opening, "SCENES_VERSION"), "nyud": (prepared, "FRAMES_VERSION")}
    for name, (module, version) in versions.items():
        there = []
        for number in (1, 1, 2):
            monkeypatch.setattr(module, version, number)
            open_dataset(name, root if name == "nyud" else "", n_frames=2, **options)
            there.append(len(list((tmp_path / "cache").iterdir())))
        assert there[0] == there[1] == there[2] - 1


def test_scenes_of_val_are_no_scenes_of_train_and_another_seed_draws_others(tmp_path, fake_scenes):
    open_dataset("scenes", img_size=16, n_frames=3, split="val")
    assert min(fake_scenes) >= 1_000_000
    a, b = (open_dataset("scenes", img_size=16, n_frames=3, augment=False, seed=s)[0] for s in (0, 1))
    assert not torch.equal(a["image"], b["image"])


def test_the_renderer_gives_what_the_data_set_takes(tmp_path):
    dataset = open_dataset("scenes", img_size=32, n_frames=2, tasks=list(SCENES))
    batch = next(iter(make_loader(dataset, 2)))
    assert batch["image"].shape == (2, 3, 32, 32) and batch["depth"].shape == (2, 1, 32, 32)
    for name, task in SCENES.items():
        label = batch[name]
        assert (label != IGNORE).any() or name == "human_parts"
        if task.kind == "segmentation":
            assert set(label.unique().tolist()) <= {*range(task.channels), IGNORE}


# Arguments


def test_bad_arguments_are_refused_in_one_sentence(tmp_path):
    root = write_nyud(tmp_path)
    for words, options in (
        ("unknown data set 'nyu'; did you mean 'nyud'", dict(name="nyu")),
        ("unknown split 'vla'; did you mean 'val'", dict(name="nyud", root=root, split="vla")),
        ("unknown task 'deph'; did you mean 'depth'", dict(name="nyud", root=root, tasks=["deph"])),
        ("unknown task 'saliency'", dict(name="nyud", root=root, tasks=["saliency"])),
        ("name at least one, and each once", dict(name="nyud", root=root, tasks=["depth", "depth"])),
        ("name at least one, and each once", dict(name="nyud", root=root, tasks=[])),
        ("img_size must be a whole number of at least 1, not 0", dict(name="nyud", root=root, img_size=0)),
        ("n_frames must be None or a whole number of at least 1, not -2", dict(name="nyud", root=root, n_frames=-2)),
        ("augment must be None or True or False, not 'no'", dict(name="nyud", root=root, augment="no")),
        ("work_size 64 is below img_size 128", dict(name="nyud", root=root, work_size=64)),
        ("needs root=", dict(name="nyud")),
        ("root must be a path, or empty, not None", dict(name="nyud", root=None)),
        ("the scenes are drawn, not read from .*; leave out root", dict(name="scenes", root=root)),
        ("is no folder; expected the root of the pascal archive", dict(name="pascal", root=tmp_path / "none")),
    ):
        with pytest.raises(ValueError, match=words) as caught:
            open_dataset(**options)
        assert "\n" not in str(caught.value)


def test_importing_the_module_imports_nothing_heavy():
    heavy = "{'torch', 'datasets', 'pyarrow', 'scipy'} & set(sys.modules)"
    command = f"import sys, {data.__name__}; assert not {heavy}, {heavy}"
    subprocess.run([sys.executable, "-c", command], check=True)


@needs_shared
def test_the_real_pascal_sample_serves_the_tasks_that_it_has():
    root = SHARED / "data/pascal"
    assert count_frames("pascal", root, "train") == 196
    dataset = open_dataset("pascal", root, img_size=64, tasks=["semseg", "human_parts"], n_frames=12)
    batch = next(iter(make_loader(dataset, 4, seed=0)))
    assert batch["image"].shape == (4, 3, 64, 64) and torch.isfinite(batch["image"]).all()
    assert set(batch["semseg"].unique().tolist()) <= {*range(21), IGNORE}
    with pytest.raises(ValueError, match="no folder sal_distill"):
        open_dataset("pascal", root)
