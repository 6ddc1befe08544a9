"""Seconds as people read them."""


def clock_time(seconds: float) -> str:
    """75 -> 1:15, 3675 -> 1:01:15."""
    minutes, seconds = divmod(round(max(seconds, 0.0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
