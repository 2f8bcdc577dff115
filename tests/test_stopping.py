from __future__ import annotations

import pytest

from ganaug import AllOf, AnyOf, History, Progress, StoppingPolicy
from ganaug.errors import ConfigError
from ganaug.stopping import first_reason


def progress(images_seen):
    return Progress(images_seen=images_seen, step=images_seen // 10, epoch=0, losses={})


@pytest.fixture
def history():
    return History(progress(images) for images in (10, 20, 30, 40))


class At(StoppingPolicy):
    def __init__(self, images):
        self.images = images

    def reason_to_stop(self, history):
        return f"saw {self.images}" if history and history[-1].images_seen >= self.images else None


@pytest.mark.parametrize(
    ("images", "expected"),
    [(10, [40]), (20, [30, 40]), (25, [20, 30, 40]), (40, [10, 20, 30, 40]), (41, []), (1, [40])],
)
def test_the_last_images_are_whole_records_and_none_when_there_are_too_few(
    history, images, expected
):
    assert [record.images_seen for record in history.last_images(images)] == expected


def test_the_last_images_of_nothing_are_nothing():
    assert History().last_images(1) == []


def test_the_last_images_leave_the_history_as_it_was(history):
    history.last_images(10).clear()
    assert len(history) == 4


def test_the_first_policy_with_a_reason_gives_it(history):
    assert first_reason([At(50), At(30), At(10)], history) == "saw 30"
    assert first_reason([At(50)], history) is None
    assert first_reason([At(1)], History()) is None
    assert first_reason([], history) is None


def test_a_progress_record_cannot_be_changed():
    with pytest.raises(AttributeError):
        progress(1).step = 2


class Reads(StoppingPolicy):
    needs_metrics = True

    def __init__(self, *names):
        self.metric_names = names

    def reason_to_stop(self, history):
        return None


def test_any_of_gives_the_first_reason_and_all_of_gives_all_or_none(history):
    assert AnyOf([At(50), At(30), At(10)]).reason_to_stop(history) == "saw 30"
    assert AnyOf([At(50), At(60)]).reason_to_stop(history) is None
    assert AllOf([At(30), At(10)]).reason_to_stop(history) == "saw 30 and saw 10"
    assert AllOf([At(30), At(50)]).reason_to_stop(history) is None
    assert AllOf([At(50), At(30)]).reason_to_stop(history) is None
    assert AllOf([AnyOf([At(50), At(20)]), At(40)]).reason_to_stop(history) == "saw 20 and saw 40"
    assert AllOf([At(1)]).reason_to_stop(History()) is None


@pytest.mark.parametrize("several", [AllOf, AnyOf])
def test_several_policies_read_what_each_reads(several):
    assert not several([At(1), At(2)]).needs_metrics
    both = several([At(1), several([Reads("kid", "fid"), Reads("fid", "recall")])])
    assert both.needs_metrics
    assert both.metric_names == ("kid", "fid", "recall")
    with pytest.raises(ConfigError, match=f"{several.__name__} needs at least one"):
        several([])
