"""The bar that a person sees: one job at a time, and lines that stay."""

import io

import pytest
from rich.console import Console
from rich.progress import Progress as RichProgress

from lacunet.cli.terminal import Bar
from lacunet.progress import Progress, Silent


@pytest.fixture
def drawn() -> RichProgress:
    return RichProgress(console=Console(file=io.StringIO(), width=80))


def shown(drawn: RichProgress) -> list[tuple[str, float, float | None]]:
    return [(task.description, task.completed, task.total) for task in drawn.tasks if task.visible]


def test_silent_and_the_bar_are_both_a_progress(drawn):
    assert isinstance(Silent(), Progress)
    assert isinstance(Bar(drawn), Progress)


def test_nothing_is_drawn_before_there_are_words(drawn):
    Bar(drawn)
    assert shown(drawn) == []


def test_a_bar_moves_and_another_job_takes_its_place(drawn):
    bar = Bar(drawn)
    bar.advanced("preparing cases", 1, 2, "preparing cases")
    assert shown(drawn) == [("preparing cases", 1, 2)]
    bar.advanced("preparing cases", 2, 2, "preparing cases")
    assert shown(drawn) == [("preparing cases", 2, 2)]
    bar.advanced("train", 1, 100, "train: loss 0.500")
    assert shown(drawn) == [("train: loss 0.500", 1, 100)]


def test_the_same_job_begins_anew_in_the_next_training(drawn):
    bar = Bar(drawn)
    bar.advanced("train", 7, 10, "train: loss 0.500")
    before = drawn.task_ids
    bar.advanced("train", 1, 20, "train: loss 0.900")
    assert shown(drawn) == [("train: loss 0.900", 1, 20)]
    assert drawn.task_ids != before  # its clock begins anew, too


def test_a_total_may_grow(drawn):
    bar = Bar(drawn)
    bar.advanced("segmenting", 0, 1, "segmenting")
    bar.advanced("segmenting", 0, 3, "segmenting")
    assert shown(drawn) == [("segmenting", 0, 3)]


def test_what_is_being_done_stands_beside_the_count_until_the_bar_moves(drawn):
    bar = Bar(drawn)
    bar.advanced("segmenting", 1, 3, "segmenting")
    bar.doing("registering the scans")
    assert shown(drawn) == [("registering the scans", 1, 3)]
    bar.advanced("segmenting", 2, 3, "segmenting")
    assert shown(drawn) == [("segmenting", 2, 3)]


def test_without_a_job_under_way_it_has_no_end(drawn):
    bar = Bar(drawn)
    bar.doing("looking")
    assert shown(drawn) == [("looking", 0, None)]
    bar.advanced("preparing cases", 2, 2, "preparing cases")
    bar.doing("measuring seconds a step")
    assert shown(drawn) == [("measuring seconds a step", 0, None)]


def test_a_line_stays_word_for_word(drawn):
    bar = Bar(drawn)
    bar.said("[bold] step 4: validation 0.5000  (best)")
    assert drawn.console.file.getvalue() == "[bold] step 4: validation 0.5000  (best)\n"
