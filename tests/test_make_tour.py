"""The packaged model: made by one command, and what its file holds is what its numbers say."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from figures.make_tour import SCENES, animate_tour, pack_tour, train_tour
from ptsa_lite.experiments.settings import read_run
from ptsa_lite.experiments.train import TOUR, evaluate_run, load_run, run_of
from ptsa_lite.predict import predict
from ptsa_lite.scenes import render_scene

TINY = {"img_size": 64, "n_frames": 8, "rank": 2, "config.epochs": 2, "config.batch_size": 4, "config.warmup_epochs": 1}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tour")
    train_tour(read_run("tour", changes=TINY), folder, report=lambda line: None)
    return folder


def test_the_packed_file_is_half_as_large_and_its_numbers_are_measured_with_it(trained, tmp_path):
    result = pack_tour(trained, tmp_path)
    sizes = [(folder / "last.safetensors").stat().st_size for folder in (trained, tmp_path)]
    assert sizes[1] < 0.55 * sizes[0]
    kept = json.loads((tmp_path / "result.json").read_text())
    assert result["metrics"] == kept["metrics"] == evaluate_run(tmp_path)["metrics"]
    whole, half = (dict(load_run(folder)[1].named_parameters()) for folder in (trained, tmp_path))
    for name, value in half.items():
        assert value.dtype == torch.float32
        assert torch.equal(value, whole[name].half().float() if whole[name].requires_grad else whole[name]), name


def test_the_animation_shows_the_training(trained, tmp_path):
    animate_tour(trained, tmp_path / "tour.gif")
    with Image.open(tmp_path / "tour.gif") as gif:
        assert gif.is_animated and gif.info["loop"] == 0
        length, frames = 0, []
        for number in range(gif.n_frames):
            gif.seek(number)
            length += gif.info["duration"]
            frames.append(np.asarray(gif.convert("RGB")))
    assert 5_000 < length < 15_000, "about ten seconds"
    assert sum(bool((a != b).any()) for a, b in zip(frames, frames[1:], strict=False)) == len(frames) - 1


def test_the_package_brings_a_run_that_is_the_one_its_settings_describe():
    run, model = load_run("tour")
    assert run == run_of(TOUR) and run.name() == read_run("tour").name()
    result = json.loads((TOUR / "result.json").read_text())
    assert result["name"] == run.name() and result["metrics"]["semseg"] > 40
    scene = render_scene(1_000_000 + SCENES[0], size=(192, 192))
    known = scene["semseg"] != 255
    right = predict(model, scene["image"])["semseg"] == scene["semseg"]
    assert right[known].mean() > 0.7, "it tells most of a scene that it has not seen"
