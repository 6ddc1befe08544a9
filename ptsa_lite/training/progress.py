"""Seconds as people read them."""

from tqdm import tqdm

clock_time = tqdm.format_interval
