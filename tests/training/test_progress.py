"""The estimate of time left, with a clock that the test turns."""

import io
import time

from ptsa_lite.training.progress import SURE, SeriesProgress, clock_time


def make(expected, terminal=False):
    stream, now = io.StringIO(), [0.0]
    stream.isatty = lambda: terminal
    return SeriesProgress(expected, stream, clock=lambda: now[0]), stream, now


def test_before_anything_ran_the_time_left_is_the_expected_time():
    progress, _, _ = make({"a": 60.0, "b": 120.0})
    assert progress.left() == 180.0


def test_a_machine_twice_as_slow_doubles_what_is_left_but_for_the_prior_belief():
    progress, _, now = make({"a": 300.0, "b": 300.0})
    progress.begin("a")
    now[0] = 600.0
    progress.end()
    pace = (600 + SURE) / (300 + SURE)
    assert abs(progress.left() - 300 * pace) < 1e-9 and 1.8 < pace < 2


def test_a_job_that_overruns_leaves_the_later_ones_their_time():
    progress, _, now = make({"a": 10.0, "b": 100.0})
    progress.begin("a")
    now[0] = 50.0
    assert progress.left() == 100.0


def test_jobs_finished_before_cost_no_time_and_set_no_pace():
    progress, _, _ = make({"a": 60.0, "b": 120.0})
    progress.skip("a")
    assert progress.left() == 120.0 and abs(progress.share() - 1 / 3) < 1e-9


def test_plain_output_has_one_line_for_begin_and_end_and_none_for_each_step():
    progress, stream, now = make({"a": 60.0})
    with progress:
        progress.begin("a")
        for step in range(20):
            progress.step(step, 20, "epoch")
        now[0] = 75.0
        progress.end()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2 and "\r" not in stream.getvalue()
    assert lines[1] == "a: finished after 1:15"


def test_a_cell_that_prints_nothing_is_still_seen_to_take_time():
    progress, stream, now = make({"a": 60.0})
    with progress:
        progress.begin("a")
        now[0] = 31.0
        end = time.monotonic() + 20
        while "0:31 so far" not in stream.getvalue() and time.monotonic() < end:
            time.sleep(0.05)
    assert "0:31 so far" in stream.getvalue()


def test_a_long_job_in_plain_output_speaks_every_half_minute_with_its_last_line():
    progress, stream, now = make({"a": 60.0})
    progress.begin("a")
    now[0] = 31.0
    progress.step(3, 20, "epoch 4 of 9")
    assert "cell 4 of 20" in stream.getvalue() and "epoch 4 of 9" in stream.getvalue()


def test_a_terminal_gets_one_line_redrawn():
    progress, stream, _ = make({"a": 60.0}, terminal=True)
    with progress:
        progress.begin("a")
        progress.step(10, 20)
        progress.end()
    assert "\r" in stream.getvalue() and "[##########..........]" in stream.getvalue()


def test_seconds_read_like_a_clock():
    assert [clock_time(s) for s in (0, 75, 3675)] == ["0:00", "1:15", "1:01:15"]
