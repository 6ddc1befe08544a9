"""How far a series is: lines in a log, one line drawn anew in a terminal, and a time left that learns."""

import io

import pytest

from ptsa_lite.workshop import progress as module
from ptsa_lite.workshop.progress import Progress


def made(seconds, terminal=False):
    stream = io.StringIO()
    stream.isatty = lambda: terminal
    return Progress(seconds, stream), stream


def test_a_log_has_a_line_for_begin_and_end_and_none_for_each_step():
    progress, stream = made({"a": 60.0})
    progress.begin("a")
    for step in range(20):
        progress.step(step, 20, "epoch")
    progress.end()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2 and "\r" not in stream.getvalue()
    assert "a starts" in lines[0] and lines[1].startswith("a: finished after 00:0")


def test_a_log_is_told_now_and_then_where_a_notebook_is(monkeypatch):
    monkeypatch.setattr(module, "EVERY", 0.0)
    progress, stream = made({"a": 60.0})
    progress.begin("a")
    progress.step(3, 20, "epoch 4 of 9")
    assert "so far" in stream.getvalue() and "a, cell 4 of 20 | epoch 4 of 9" in stream.getvalue()


def test_a_terminal_gets_one_line_redrawn():
    progress, stream = made({"a": 60.0, "b": 60.0}, terminal=True)
    progress.begin("a")
    progress.step(10, 20)
    progress.end()
    assert "\r 25%" in stream.getvalue() and "a: finished" in stream.getvalue()


def test_the_time_left_is_in_proportion_to_what_was_expected_and_skipped_notebooks_set_no_pace():
    progress, _ = made({"a": 500.0, "b": 60.0, "c": 120.0})
    progress.skip("a")
    progress.begin("b")
    progress.bar.start_t -= 30  # seconds ago: half as long as expected ...
    progress.end()
    progress.begin("c")
    about = progress.bar.format_dict
    rate = (about["n"] - about["initial"]) / about["elapsed"]
    assert (about["total"] - about["n"]) / rate == pytest.approx(60, rel=0.1)  # ... so is what is left
    assert "01:00 left" in str(progress.bar)
    progress.bar.close()
