"""How many cases have a mask, and the line that says it."""

from pathlib import Path

import pytest

from lacunet.cli.tally import Tally
from lacunet.errors import Problem
from lacunet.intake.found import LeftOut, Survey
from lacunet.segmentation.layout import places
from lacunet.segmentation.write import Segmented
from lacunet.task import GLIOMA


class Drawn:
    """A bar that remembers where it was."""

    def __init__(self) -> None:
        self.at: list[tuple[int, int]] = []

    def advanced(self, job: str, done: int, total: int, words: str) -> None:
        assert (job, words) == ("segmenting", "segmenting")
        self.at.append((done, total))

    def doing(self, words: str) -> None:
        raise AssertionError(words)

    said = doing


def test_masks_and_problems_are_counted_apart_and_the_bar_moves_with_both() -> None:
    tally, bar = Tally(total=2, left_out=0), Drawn()
    tally.show(bar)
    for result in (Segmented("a", places(Path("out"), "a"), {}, []), Problem("b", "no scan")):
        tally.count(result)
        tally.show(bar)
    assert bar.at == [(0, 2), (1, 2), (2, 2)]
    assert (tally.done, tally.problems, tally.number) == (1, [Problem("b", "no scan")], 2)


@pytest.mark.parametrize(
    ("before", "dropped", "said"),
    [
        (0, 0, "1 of 3 visits in out"),
        (1, 0, "1 of 3 visits in out; 1 file or folder was left out, as listed above"),
        (2, 3, "1 of 3 visits in out; 5 files or folders were left out, as listed above"),
    ],
)
def test_the_line_at_the_end_says_what_was_left_out(capsys, before: int, dropped: int, said: str) -> None:
    tally = Tally(total=3, left_out=before, done=1)
    survey = Survey("nifti", (), tuple(LeftOut(f"file {number}", "no scan") for number in range(dropped)))
    tally.survey(survey, GLIOMA)
    tally.say(3, "visits", Path("out"))
    assert capsys.readouterr().out.splitlines()[-1] == said
