"""The BIDS App: `lacunet-bids BIDS_DIR OUTPUT_DIR participant|group`.

Its words are those that BIDS Apps share, which typer cannot read (`--participant-label 01 02`), so argparse does.
"""

import argparse
import os
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, get_args

from lacunet import __version__
from lacunet.cli.import_ import importer_of
from lacunet.cli.options import exit_with, loading_of, require_writable, task_of
from lacunet.cli.program import run_program
from lacunet.cli.segment import MOST_LINES
from lacunet.cli.tally import Tally
from lacunet.cli.terminal import print_left_out, print_segmented, progress, say
from lacunet.errors import OutputError, UsageError, visible
from lacunet.intake.align.choices import Stripper
from lacunet.segmentation.layout import COHORT_PAGE, RESULTS_TABLE

if TYPE_CHECKING:
    from lacunet.errors import Problem
    from lacunet.segmentation.bids_dataset import BidsVisit

_PARTICIPANT, _GROUP = "participant", "group"


@dataclass(frozen=True)
class Asked:
    """What was typed; see `_parser` for the words."""

    bids_dir: Path
    output_dir: Path
    analysis_level: str
    participant_label: Sequence[str]
    session_label: Sequence[str]
    skip_bids_validation: bool
    model: str
    device: str
    n_cpus: int | None
    work_dir: Path | None
    stripper: Stripper
    allow: bool
    save_probabilities: bool
    no_viewer: bool
    overwrite: bool
    show_names: bool


class _Parser(argparse.ArgumentParser):
    """What is said of a wrong word repeats what was typed, and that must not steer a terminal."""

    def error(self, message: str) -> NoReturn:
        """As argparse does."""
        super().error(visible(message))


def main() -> None:
    """Run the BIDS App: exit status 0; 1 where a case failed; 2 for a wrong command line; 128 and a signal's number."""
    run_program("lacunet-bids", _work, lambda: "the same command goes on where it stopped")


def _work() -> None:
    asked = Asked(**vars(_parser().parse_args()))
    if asked.n_cpus is not None:
        _use_cores(asked.n_cpus)
    if asked.work_dir is not None:
        _work_in(asked.work_dir)
    if asked.analysis_level == _GROUP:
        _group(asked)
    else:
        _participant(asked)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="lacunet-bids",
        description="Masks of brain tumours from whichever MRI sequences a patient has, as a BIDS derivative. "
        "Research software, not a medical device.",
        allow_abbrev=False,
    )
    parser.add_argument("bids_dir", type=Path, metavar="BIDS_DIR", help="the top folder of a BIDS data set")
    parser.add_argument("output_dir", type=Path, metavar="OUTPUT_DIR", help="folder of the derivative")
    parser.add_argument(
        "analysis_level",
        choices=(_PARTICIPANT, _GROUP),
        help="participant: a mask and a page for each visit; group: the cohort's table and page, from OUTPUT_DIR",
    )
    which = parser.add_argument_group("which visits")
    which.add_argument(
        *("--participant-label", "--participant_label"),
        nargs="+",
        default=(),
        metavar="LABEL",
        help="only these, with or without sub-",
    )
    which.add_argument(
        *("--session-label", "--session_label", "--session-id"),
        nargs="+",
        default=(),
        metavar="LABEL",
        help="only these, with or without ses-",
    )
    which.add_argument(
        *("--skip-bids-validation", "--skip_bids_validation", "--skip-bids-validator", "--skip_bids_validator"),
        action="store_true",
        dest="skip_bids_validation",
        help="do not look at dataset_description.json of BIDS_DIR",
    )
    how = parser.add_argument_group("how")
    how.add_argument("-m", "--model", default="default", help="a shipped model, or the folder of one")
    how.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1; auto is a GPU if there is one")
    how.add_argument(
        *("--n-cpus", "--n_cpus", "--nprocs", "--nthreads"),
        type=_at_least_one,
        metavar="N",
        help="threads; default: all cores that it may use",
    )
    how.add_argument(
        "-w", "--work-dir", type=Path, metavar="DIR", help="where temporary files go; default: TMPDIR, or /tmp"
    )
    how.add_argument("--stripper", choices=get_args(Stripper), default="auto", help="what removes the skull")
    how.add_argument("--allow", action="store_true", help="go on even if a step of import is judged to have failed")
    what = parser.add_argument_group("what is written")
    what.add_argument("--save-probabilities", action="store_true", help="also a map per region")
    what.add_argument("--no-viewer", action="store_true", help="pages without scans: small, and easier to share")
    what.add_argument(
        "--overwrite", action="store_true", help="also visits that are done; without it, these are passed over"
    )
    what.add_argument("--show-names", action="store_true", help="show names of files and folders as they are")
    parser.add_argument("--version", action="version", version=f"lacunet-bids {__version__}")
    return parser


def _at_least_one(word: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"{visible(word)}: give a number of threads, 1 or more")
    return int(word)


def _use_cores(count: int) -> None:
    """Let what computes here use so many threads. Both packages read the variables when they are imported."""
    os.environ |= {"OMP_NUM_THREADS": str(count), "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": str(count)}
    import torch

    torch.set_num_threads(count)


def _work_in(folder: Path) -> None:
    """Put temporary files there: those of this process, and of those that it starts."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"--work-dir: cannot be made ({error.strerror}); choose another folder") from error
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder.absolute())


def _participant(asked: Asked) -> None:
    from lacunet.cohort.failures import forget_failure, note_failure
    from lacunet.crew.crew import Place
    from lacunet.data.source_table import write_sources
    from lacunet.errors import Problem
    from lacunet.intake.found import Survey
    from lacunet.prediction.team import as_team
    from lacunet.segmentation.bids import source_dataset
    from lacunet.segmentation.bids_dataset import read_visits, require_bids, visits_of
    from lacunet.segmentation.sources import segment
    from lacunet.segmentation.write import SegmentSettings

    visits = visits_of(asked.bids_dir, asked.participant_label, asked.session_label)
    if not asked.skip_bids_validation:
        require_bids(asked.bids_dir)
    _require_apart(asked)
    task, output = task_of(asked.model), asked.output_dir
    require_writable(output)
    settings = SegmentSettings(
        probabilities=asked.save_probabilities,
        overwrite=asked.overwrite,
        resume=not asked.overwrite,
        layout="bids",
        dataset=source_dataset(asked.bids_dir, output, asked.show_names),
        viewer=not asked.no_viewer,
    )
    team = as_team(loading_of(asked.model, "auto", 0, None).on(Place(asked.device)))
    found = read_visits(visits, task, asked.show_names)
    print_left_out(found.left_out, MOST_LINES)
    tally = Tally(len(visits), len(found.left_out))
    with progress() as bar:
        importer = importer_of({}, None, asked.stripper, asked.device, asked.allow, asked.show_names, None, bar, task)
        tally.show(bar)
        with closing(segment(team, found, output, settings, importer)) as results:
            for result in results:
                if isinstance(result, Survey):
                    tally.survey(result, task)
                    continue
                if isinstance(result, Problem):
                    result = _of_visit(result, found.exports, visits)
                    note_failure(output, result, tuple(task.regions))
                else:
                    forget_failure(output, result.name)
                    print_segmented(result, task)
                tally.count(result)
                tally.show(bar)
    write_sources(output, found.rows)
    tally.say(tally.total, "visits", output)
    exit_with(tally.problems)


def _group(asked: Asked) -> None:
    from lacunet.cohort.cohort import cohort_of
    from lacunet.cohort.page import write_cohort_page
    from lacunet.cohort.table import write_results

    output = asked.output_dir
    cohort = cohort_of(output) if output.is_dir() else None
    if cohort is None or not cohort.cases:
        raise UsageError("OUTPUT_DIR holds no results; run the level participant first, with the same OUTPUT_DIR")
    write_results(output / RESULTS_TABLE, cohort)
    write_cohort_page(output / COHORT_PAGE, cohort)
    failed = sum(case.result is None for case in cohort.cases)
    say(f"{len(cohort.cases) - failed} visits with a mask, {failed} that failed")
    say(f"table: {output / RESULTS_TABLE}")
    say(f"page: {output / COHORT_PAGE}")


def _require_apart(asked: Asked) -> None:
    """Results go into no folder of the scans but `derivatives`."""
    dataset, output = asked.bids_dir.resolve(), asked.output_dir.resolve()
    inside = output.relative_to(dataset).parts if output.is_relative_to(dataset) else ("derivatives",)
    if not inside or inside[0] != "derivatives":
        raise UsageError("OUTPUT_DIR lies among the scans; take BIDS_DIR/derivatives/lacunet, or a place elsewhere")


def _of_visit(problem: "Problem", exports: Sequence[Path], visits: "Sequence[BidsVisit]") -> "Problem":
    """A problem of reading a visit's folder, under the name of the visit: elsewhere such a folder has a number only."""
    numbers = {"the source": 1} | {f"source {number}": number for number in range(1, len(exports) + 1)}
    if not exports or problem.case not in numbers:
        return problem
    folder = exports[numbers[problem.case] - 1]
    return replace(problem, case=next(visit.name for visit in visits if visit.folder == folder))
