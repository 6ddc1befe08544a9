"""Seconds as people read them."""

from ptsa_lite.training.progress import clock_time


def test_seconds_read_like_a_clock():
    assert [clock_time(s) for s in (0, 75, 3675)] == ["0:00", "1:15", "1:01:15"]
