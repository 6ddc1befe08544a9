"""Scenes in an archive's clothes: read as an archive, they are the scenes."""

import numpy as np
import pytest

from ptsa_lite.data import scene_archive
from ptsa_lite.data.listing import ARCHIVES
from ptsa_lite.data.scene_archive import NYU40, VOC, write_scene_archive
from ptsa_lite.data.verify import verify
from ptsa_lite.scenes import SCENE_CLASSES, render_scene


@pytest.mark.parametrize("name", ARCHIVES)
def test_it_is_an_archive_in_which_nothing_is_missing_or_wrong(name, tmp_path):
    report = verify(name, write_scene_archive(name, tmp_path, 2, 1, size=(48, 64)))
    assert report.ok, str(report)


@pytest.mark.parametrize("name", ARCHIVES)
def test_its_labels_are_the_scenes(name, tmp_path):
    archive = ARCHIVES[name].open(write_scene_archive(name, tmp_path, 2, 1, size=(48, 64)))
    tasks = [task for task in archive.tasks if not (name == "pascal" and task == "edge")]
    frame = archive.frame(archive.names("train")[1], tasks)
    scene = render_scene(1, size=(48, 64))
    ids = VOC if name == "pascal" else NYU40
    expected = np.array([ids.get(c, 0) for c in SCENE_CLASSES], np.uint8)[scene["semseg"]]
    np.testing.assert_array_equal(frame["semseg"], expected if name == "pascal" else expected - np.uint8(1))
    np.testing.assert_allclose(frame["normals"], scene["normals"], atol=0.01)
    for task in ("human_parts", "saliency", "depth", "edge"):
        if task in tasks and frame.get(task) is not None:
            np.testing.assert_allclose(frame[task], scene[task], atol=1e-6)


def test_what_is_there_is_not_drawn_again(tmp_path, monkeypatch):
    write_scene_archive("nyud", tmp_path, 2, 1, size=(24, 32))
    monkeypatch.setattr(scene_archive, "render_scene", lambda *_, **__: pytest.fail("drawn again"))
    write_scene_archive("nyud", tmp_path, 2, 1, size=(24, 32))


def test_frames_of_another_seed_are_not_taken_for_those_asked_for(tmp_path):
    for place, seeds in (("both", (1, 0)), ("one", (0,))):
        for seed in seeds:
            write_scene_archive("nyud", tmp_path / place, 1, 1, size=(24, 32), seed=seed)
    both, one = ((tmp_path / place / "images" / "scene_00000.jpg").read_bytes() for place in ("both", "one"))
    assert both == one
