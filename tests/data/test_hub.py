"""The 13-class copy of NYUv2: a parquet with the hub's features, written here."""

import numpy as np
import pytest
import torch
from archives import write_nyud

from ptsa_lite.data import open_dataset
from ptsa_lite.tasks import IGNORE, NYUD, NYUV2_13, suite


def hub_row(seed, h=24, w=32):
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=(3, h, w)).astype(np.float32)
    normal /= np.linalg.norm(normal, axis=0)
    normal[:, :4, :4] = 0
    depth = rng.uniform(0.7, 9, (1, h, w)).astype(np.float32)
    depth[0, -4:] = 0
    return {
        "image": (rng.integers(0, 256, (3, h, w)) / 255).astype(np.float32),
        "segmentation": rng.integers(-1, 13, (h, w)), "depth": depth, "normal": normal,
        "noise": rng.normal(size=(1, h, w)).astype(np.float32),
    }  # fmt: skip


def write_hub(root, train=5, val=3, change=lambda row: row):
    """With Hugging Face's own writer, so that the columns are the hub's extension types."""
    import datasets

    h, w = 24, 32
    features = datasets.Features({
        "image": datasets.Array3D((3, h, w), "float32"), "segmentation": datasets.Array2D((h, w), "int64"),
        "depth": datasets.Array3D((1, h, w), "float32"), "normal": datasets.Array3D((3, h, w), "float32"),
        "noise": datasets.Array3D((1, h, w), "float32"),
    })  # fmt: skip
    (root / "data").mkdir(parents=True)
    for split, seeds in (("train", range(train)), ("val", range(100, 100 + val))):
        half = len(seeds) // 2
        for part, some in enumerate((seeds[:half], seeds[half:])):
            rows = [change(hub_row(seed)) for seed in some]
            data = {key: [row[key] for row in rows] for key in rows[0]}
            table = datasets.Dataset.from_dict(data, features=features)
            table.to_parquet(root / "data" / f"{split}-{part:05d}-of-00002.parquet", batch_size=2)
    return root


def test_frames_are_those_of_the_files_over_all_parts(tmp_path):
    root = write_hub(tmp_path / "hub")
    train, val = (open_dataset("nyuv2_13", root, split=s, img_size=32, augment=False) for s in ("train", "val"))
    assert (len(train), len(val)) == (5, 3)
    for dataset, first in ((train, 0), (val, 100)):
        for i, sample in enumerate(dataset):
            row = hub_row(first + i)
            columns = (np.arange(32) * 2 + 1) * 24 // 64  # rows of the file under the square's rows
            ids = row["segmentation"][columns]
            assert torch.equal(sample["semseg"], torch.from_numpy(np.where(ids < 0, IGNORE, ids)))
            depth = row["depth"][0][columns]
            np.testing.assert_array_equal(sample["depth"][0], np.where(depth == 0, np.float32(IGNORE), depth))
            assert (sample["normals"][:, :2, :2] == IGNORE).all() and set(sample) == {"image", "index", *NYUV2_13}


def test_it_is_a_protocol_of_its_own(tmp_path):
    root = write_hub(tmp_path / "hub")
    assert suite("nyuv2_13")["semseg"].channels == 13 and suite("nyud")["semseg"].channels == 40
    assert "edge" not in NYUV2_13 and NYUV2_13["depth"] == NYUD["depth"]
    with pytest.raises(ValueError, match="is no NYUD archive"):
        open_dataset("nyud", root)
    with pytest.raises(ValueError, match="holds no train..parquet"):
        open_dataset("nyuv2_13", write_nyud(tmp_path / "archive"))
    with pytest.raises(ValueError, match="unknown task 'edge'"):
        open_dataset("nyuv2_13", root, tasks=["edge"])
    with pytest.raises(ValueError, match="needs root="):
        open_dataset("nyuv2_13")


def test_the_augmentation_is_nyud_s_and_training_runs(tmp_path):
    from ptsa_lite.experiments.run import Run
    from ptsa_lite.experiments.train import train_run

    root = write_hub(tmp_path / "hub")
    run = Run("decoders_only", tuple(NYUV2_13), data="nyuv2_13", root=str(root), img_size=32, weights="random",
              config={"epochs": 1, "batch_size": 2, "lr": 1e-3, "warmup_epochs": 0})  # fmt: skip
    assert set(train_run(run, tmp_path / "run", lambda line: None)["metrics"]) == set(NYUV2_13)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda row: row | {"segmentation": row["segmentation"] + 3}, "classes 2..15; expected -1..12"),
        (lambda row: row | {"image": row["image"] * 255}, "image values outside 0..1"),
        (lambda row: row | {"normal": row["normal"] * 2}, "normals of length 2"),
    ],
)
def test_values_of_another_protocol_are_refused(change, says, tmp_path):
    root = write_hub(tmp_path / "hub", change=change)
    with pytest.raises(ValueError, match=says):
        open_dataset("nyuv2_13", root, img_size=32)[0]


def test_a_damaged_file_is_named(tmp_path):
    root = write_hub(tmp_path / "hub")
    path = root / "data" / "train-00001-of-00002.parquet"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match="train-00001-of-00002.parquet cannot be read as parquet"):
        open_dataset("nyuv2_13", root)
