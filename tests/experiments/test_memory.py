"""A container's limit counts, not the memory of the machine that it runs on."""

import pytest

from ptsa_lite.experiments import memory


def limit(folder, text):
    path = folder / "memory.max"
    path.write_text(text)
    return (path, folder / "absent")


@pytest.mark.parametrize(("text", "wanted", "fit"), [("2147483648\n", 2, 1), ("4000000000\n", 2, 2), ("1000\n", 3, 1)])
def test_as_many_processes_as_have_room_and_always_one(tmp_path, text, wanted, fit):
    assert memory.processes(wanted, limit(tmp_path, text)) == fit


def test_no_limit_leaves_the_machines_memory(tmp_path):
    assert memory.total(limit(tmp_path, "max\n")) == memory.total(()) > 1e8


def test_a_study_starts_no_helper_that_has_no_room(tmp_path, monkeypatch):
    from ptsa_lite.experiments import queue as study

    asked = []
    monkeypatch.setattr(study, "processes", lambda wanted: 1)
    monkeypatch.setattr(study, "_start_helpers", lambda runs, folder, n: asked.append(n) or [])
    monkeypatch.setattr(study, "_left", lambda runs, folder: [1, 2])
    monkeypatch.setattr(study, "_work", lambda runs, folder, report: None)
    study.run_study([], tmp_path, jobs=2)
    assert asked == [0]
