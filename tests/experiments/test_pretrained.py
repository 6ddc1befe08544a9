"""Adapters that travel: a folder or a place on the hub, with a card of the run's numbers."""

import json
import shutil
from pathlib import Path

import huggingface_hub.hub_mixin
import pytest
import torch

from ptsa_lite.data.disk import read_json
from ptsa_lite.experiments import pretrained
from ptsa_lite.experiments.pretrained import Pretrained
from ptsa_lite.experiments.run import Run
from ptsa_lite.experiments.train import train_run

NAMES = ("semseg", "normals")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a short training."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    run = Run("lora_shared", NAMES, n_frames=4, img_size=32, rank=2,
              config={"epochs": 1, "batch_size": 2, "warmup_epochs": 0.0})  # fmt: skip
    train_run(run, folder, report=lambda line: None)
    return folder


def test_a_folder_is_saved_and_loaded_and_says_the_same(trained, tmp_path):
    ours = Pretrained.of(trained)
    ours.save_pretrained(tmp_path / "folder")
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == [
        "README.md", "adapters.safetensors", "config.json"]  # fmt: skip
    theirs = Pretrained.from_pretrained(tmp_path / "folder")
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        for name, value in ours.model(images).items():
            assert torch.equal(value, theirs.model(images)[name])
    assert theirs.run.name() == ours.run.name() and theirs.config == ours.config and not theirs.model.training
    assert theirs.config["metrics"] == read_json(trained / "result.json")["metrics"]


def test_the_card_holds_the_run_s_numbers_and_nothing_of_the_machine(trained, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/README.md").write_text("my own project")
    with pytest.raises(ValueError, match="README.md is somebody else's; give a folder of its own"):
        Pretrained.of(trained).save_pretrained(tmp_path / "folder")
    (tmp_path / "folder/README.md").write_text("an older card by ptsa-lite, with other numbers")
    Pretrained.of(trained).save_pretrained(tmp_path / "folder")
    words, result = (tmp_path / "folder/README.md").read_text(), read_json(trained / "result.json")
    assert words.startswith("---\nlibrary_name: ptsa-lite")
    for name in NAMES:
        assert f"| {name} |" in words and f"{result['metrics'][name]:.4g}" in words
    assert "Trained on 4 frames and measured on 4 others" in words and str(trained.parent) not in words
    assert str(trained.parent) not in (tmp_path / "folder/config.json").read_text()


def test_the_hub_gets_the_folder_and_gives_it_back(trained, tmp_path, monkeypatch):
    there = tmp_path / "hub"

    class Hub:
        def __init__(self, **options): ...

        def create_repo(self, repo_id, **options):
            return type("Repository", (), {"repo_id": repo_id})

        def upload_folder(self, repo_id, folder_path, **options):
            shutil.copytree(folder_path, there / repo_id)
            return type("Commit", (), {"commit_url": repo_id})

    def fetch(repo_id, filename, **options):
        return str(there / repo_id / filename)

    monkeypatch.setattr(huggingface_hub.hub_mixin, "HfApi", Hub)
    monkeypatch.setattr(huggingface_hub.hub_mixin, "hf_hub_download", fetch)
    monkeypatch.setattr(pretrained, "hf_hub_download", fetch)
    ours = Pretrained.of(trained)
    ours.push_to_hub("somebody/rooms")
    assert Pretrained.from_pretrained("somebody/rooms").config == ours.config
    assert json.loads((there / "somebody/rooms/config.json").read_text())["run"]["method"] == "lora_shared"


def test_what_is_no_such_folder_is_refused(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for place in ("owner/name", "rnus", "./runs/train/mine"):
        with pytest.raises(OSError, match=f"{place} is no folder, and could not be fetched .*HF_HUB_OFFLINE is set"):
            Pretrained.from_pretrained(place)
    with pytest.raises(OSError, match="me/rooms could not be written .*HF_HUB_OFFLINE is set .*save_pretrained"):
        Pretrained.of(trained).push_to_hub("me/rooms")
    with pytest.raises(ValueError, match="holds no config.json that save_pretrained wrote"):
        Pretrained.from_pretrained(trained)
    Pretrained.of(trained).save_pretrained(tmp_path / "folder")
    path = Path(tmp_path / "folder/adapters.safetensors")
    path.write_bytes(path.read_bytes()[:-8] + b"damaged!")
    with pytest.raises(ValueError, match="is damaged"):
        Pretrained.from_pretrained(tmp_path / "folder")


def test_a_config_that_lacks_what_the_card_tells_leaves_no_half_folder(trained, tmp_path):
    ours = Pretrained.of(trained)
    with pytest.raises(ValueError, match="config lacks metrics, parameters, gmacs, frames, versions"):
        Pretrained(ours.model, {"run": ours.config["run"]}).save_pretrained(tmp_path / "folder")
    assert not [*(tmp_path / "folder").iterdir()]
