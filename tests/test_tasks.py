import pytest

from ptsa_lite.tasks import IGNORE, NYUD, Task, select


def test_tasks_come_in_the_suites_order_and_a_single_name_is_one_task():
    assert list(select(NYUD, ["edge", "semseg"])) == ["semseg", "edge"]
    assert list(select(NYUD, "depth")) == ["depth"]


def test_an_unknown_or_repeated_task_is_refused_by_name():
    with pytest.raises(ValueError, match="'dept'; did you mean 'depth'"):
        select(NYUD, "dept")
    for names in (["depth", "depth"], []):
        with pytest.raises(ValueError, match="name at least one, and each once"):
            select(NYUD, names)


def test_more_classes_than_a_byte_holds_are_refused():
    assert Task("mask", "segmentation", IGNORE).channels == IGNORE
    with pytest.raises(ValueError, match="channels must be 0 to 255, as a label is one byte"):
        Task("mask", "segmentation", IGNORE + 1)
