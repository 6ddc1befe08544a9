"""What every test stands on: few threads, no GPU, no display, no network, a cache of its own."""

import os

# Before torch or matplotlib is imported by any test.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # tests compare with tensors of the processor, often bit for bit
os.environ["MPLBACKEND"] = "Agg"
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Data sets that tests draw or decode are kept for this run alone."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["PTSA_CACHE"] = str(folder)
    return folder
