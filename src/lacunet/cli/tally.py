"""How many cases of a run have a mask, and why the others have none: kept and shown while the results come."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lacunet.cli.terminal import dropped, print_survey, say
from lacunet.errors import Problem

if TYPE_CHECKING:
    from lacunet.intake.found import Survey
    from lacunet.progress import Progress
    from lacunet.segmentation.write import Segmented
    from lacunet.task import Task


@dataclass
class Tally:
    """The results so far.

    Attributes:
        total: How many there will be, as far as it is known.
        left_out: How many files and folders are not used.
        done: How many cases have a mask.
        problems: The cases that have none.
    """

    total: int
    left_out: int
    done: int = 0
    problems: list[Problem] = field(default_factory=list)

    @property
    def number(self) -> int:
        """How many results there are."""
        return self.done + len(self.problems)

    def count(self, result: "Segmented | Problem") -> None:
        """Count the result of a case."""
        if isinstance(result, Problem):
            self.problems.append(result)
        else:
            self.done += 1

    def survey(self, survey: "Survey", task: "Task") -> None:
        """Say what a source holds, and count what of it is not used."""
        print_survey(survey, task)
        self.left_out += survey.dropped

    def show(self, bar: "Progress") -> None:
        """Move the bar to the number of results."""
        bar.advanced("segmenting", self.number, self.total, "segmenting")

    def say(self, of: int, what: str, output: Path) -> None:
        """A line at the end: `2 of 3 cases in masks; 1 file or folder was left out, as listed above`."""
        say(f"{self.done} of {of} {what} in {output}{'; ' + dropped(self.left_out) if self.left_out else ''}")
