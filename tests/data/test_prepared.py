"""Archives prepared into a folder of their own."""

import shutil

import pytest
import torch
from archives import write_nyud, write_pascal

from ptsa_lite.__main__ import main
from ptsa_lite.data import cache, make_loader, open_dataset
from ptsa_lite.data.archive import Archive
from ptsa_lite.data.prepared import prepare_archive
from ptsa_lite.experiments.run import Run, open_sets
from ptsa_lite.tasks import suite

WRITE = {"nyud": write_nyud, "pascal": write_pascal}


def quiet(line):
    pass


def assert_same_samples(one, other, epochs=2):
    for epoch in range(epochs):
        for a, b in zip(*(make_loader(s, 2, seed=4, epoch=epoch) for s in (one, other)), strict=True):
            assert a.keys() == b.keys()
            assert all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("name", WRITE)
def test_training_from_it_is_training_from_the_archive_bit_for_bit(name, tmp_path):
    root = WRITE[name](tmp_path / "archive")
    prepare_archive(name, root, tmp_path / "out", img_size=32, report=quiet)
    run = Run("decoders_only", tuple(suite(name)), data=name, img_size=32)
    sets = [open_sets(Run(**{**run.__dict__, "root": str(path)})) for path in (root, tmp_path / "out")]
    shutil.rmtree(root)  # the archive itself is needed no more: what was read of it above lies in the cache
    for ours, theirs in zip(*sets, strict=True):
        assert len(ours) == len(theirs) > 0
        assert_same_samples(ours, theirs)


def test_it_goes_on_where_it_was_stopped_and_mends_what_is_damaged(tmp_path, monkeypatch):
    root, out = write_nyud(tmp_path / "archive", train=70, val=2), tmp_path / "out"

    def stops(archive, name, *others, read=Archive.frame):
        if name == archive.names("train")[40]:
            raise KeyboardInterrupt
        return read(archive, name, *others)

    with monkeypatch.context() as patch:
        patch.setattr(Archive, "frame", stops)
        with pytest.raises(KeyboardInterrupt):
            prepare_archive("nyud", root, out, img_size=32, report=quiet)
    assert not (out / "prepared.json").exists()
    first = sorted(out.glob("*/*.arrow"))
    assert len(first) == 1
    time = first[0].stat().st_mtime_ns
    prepare_archive("nyud", root, out, img_size=32, report=quiet)
    assert first[0].stat().st_mtime_ns == time and len(sorted(out.glob("*/*.arrow"))) == 4
    content = bytearray(first[0].read_bytes())
    content[len(content) // 2] ^= 1
    first[0].write_bytes(content)
    prepare_archive("nyud", root, out, img_size=32, report=quiet)
    assert all(cache.intact(path) for path in out.glob("*/*.arrow"))


def test_an_archive_without_a_label_serves_the_other_tasks_and_says_so(tmp_path):
    root, said = write_pascal(tmp_path / "archive"), []
    shutil.rmtree(root / "sal_distill")
    prepare_archive("pascal", root, tmp_path / "out", img_size=32, report=said.append)
    assert "has no labels for saliency; the other tasks are prepared" in said[0]
    tasks = ["semseg", "human_parts", "normals"]
    assert set(open_dataset("pascal", tmp_path / "out", img_size=32, tasks=tasks)[0]) == {"image", "index", *tasks}
    with pytest.raises(ValueError, match="was prepared without saliency"):
        open_dataset("pascal", tmp_path / "out", img_size=32)


def test_what_does_not_fit_is_refused(tmp_path, monkeypatch):
    root, out = write_nyud(tmp_path / "archive"), tmp_path / "out"
    prepare_archive("nyud", root, out, img_size=32, report=quiet)
    with pytest.raises(ValueError, match="holds another preparation"):
        prepare_archive("nyud", root, out, img_size=64, report=quiet)
    with pytest.raises(ValueError, match="holds a prepared 'nyud', not 'pascal'"):
        open_dataset("pascal", out)
    with pytest.raises(ValueError, match="holds train at 48, below 96"):
        open_dataset("nyud", out, img_size=64)
    next(out.glob("nyud-val*/*.arrow")).unlink()
    with pytest.raises(ValueError, match="lacks 1 of 1 parts"):
        open_dataset("nyud", out, split="val", img_size=32)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(ValueError, match="choose another disk"):
        prepare_archive("nyud", root, tmp_path / "full", img_size=32, report=quiet)


def test_a_part_cut_short_and_a_manifest_that_leads_elsewhere_are_refused(tmp_path):
    out = prepare_archive("nyud", write_nyud(tmp_path / "archive"), tmp_path / "out", img_size=32, report=quiet).parent
    part, manifest = next(out.glob("nyud-train*/*.arrow")), (out / "prepared.json").read_text()
    part.write_bytes(part.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"\.arrow is damaged .*prepare the archive"):
        open_dataset("nyud", out, img_size=32)
    elsewhere = manifest.replace('"folder": "', '"folder": "../')
    fewer = manifest.replace('"frames": 3', '"frames": -3')
    for text in ("[]", "{}", elsewhere, fewer):
        (out / "prepared.json").write_text(text)
        with pytest.raises(ValueError, match="prepared.json .*delete it and prepare"):
            open_dataset("nyud", out, img_size=32)


def test_prepare_from_the_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("PTSA_TRACEBACK", raising=False)
    root, out = write_nyud(tmp_path / "archive"), tmp_path / "out"
    words = ["data", "prepare", "nyud", str(root), str(out), "--size", "32", "--tasks", "depth,semseg"]
    assert main(words) == 0
    assert "train: 3 frames at 48x48" in capsys.readouterr().out
    assert open_dataset("nyud", out, img_size=32, tasks=["semseg"])[0]["semseg"].shape == (32, 32)
    assert main(["data", "prepare", "nyd", str(root), str(out)]) == 2
    assert "did you mean 'nyud'" in capsys.readouterr().err
