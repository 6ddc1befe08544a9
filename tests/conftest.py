"""What every test stands on: few threads, the processor, no display, no network, a cache of its own."""

import os

# Before torch or matplotlib is imported by any test.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["MPLBACKEND"] = "Agg"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it torch calls no GPU deterministic

import pytest  # noqa: E402
import torch  # noqa: E402

# Files of a minute and more, which two processes begin with: with one of them at the end the other would be idle.
LONG = ("test_notebooks.py", "test_queue.py", "test_overfit.py", "test_predict.py", "test_step.py", "test_train.py")
# Kept for xdist's workers, which see what this process leaves them.
VISIBLE = os.environ.setdefault("PTSA_TESTS_MAY_SEE", os.environ.get("CUDA_VISIBLE_DEVICES", "all"))
gpu_is_there = torch.cuda.is_available


def see(gpu: bool) -> None:
    """What this process, and those that it starts from now on, find of the machine."""
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    if not gpu or VISIBLE != "all":
        os.environ["CUDA_VISIBLE_DEVICES"] = VISIBLE if gpu else ""
    torch.cuda.is_available = gpu_is_there if gpu else lambda: False


see(gpu=False)


def pytest_xdist_auto_num_workers(config):
    """Two processes for the whole suite, where there are two processors; a part of it that was asked for starts sooner
    in this one."""
    whole = config.args_source is config.ArgsSource.TESTPATHS
    config.option.loadscopereorder = False  # files in the order of collection, not by their numbers of tests
    return 2 if whole and (os.cpu_count() or 1) > 1 else 0


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


def pytest_runtest_setup(item):
    """Tests run on the processor, whose results they compare bit for bit; those that are marked `gpu` on a GPU."""
    on_gpu = item.get_closest_marker("gpu") is not None
    see(on_gpu)
    if on_gpu and not gpu_is_there():
        pytest.skip("needs a GPU")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Data sets that tests draw or decode are kept for this run alone."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["PTSA_CACHE"] = str(folder)
    return folder
