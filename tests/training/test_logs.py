"""Epochs told to TensorBoard."""

import math
import sys

import pytest

from ptsa_lite.training.logs import to_tensorboard

RECORDS = [
    {"epoch": 1, "loss": 2.0, "lr": 0.1, "seconds": 3.0, "losses": {"depth": 2.0}, "metrics": None},
    {"epoch": 2, "loss": 1.0, "lr": 0.05, "seconds": 3.0, "losses": {"depth": 1.0}, "metrics": {"depth": 0.5}},
]


def test_tensorboard_reads_what_every_epoch_had(tmp_path):
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = to_tensorboard(tmp_path)
    for record in RECORDS:
        log(None, record)
    events = EventAccumulator(str(tmp_path)).Reload()
    read = {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert read["loss"] == [(1, 2.0), (2, 1.0)] and read["losses/depth"] == [(1, 2.0), (2, 1.0)]
    assert read["metrics/depth"] == [(2, 0.5)] and math.isclose(read["lr"][1][1], 0.05, rel_tol=1e-6)


def test_where_it_is_missing_one_sentence_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ValueError, match="python -m pip install tensorboard"):
        to_tensorboard(tmp_path)
