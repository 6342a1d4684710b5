"""A BIDS data set as a BIDS App reads it: which visits there are, and which scans of each may be segmented."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lacunet.data.find import survey
from lacunet.data.hidden_names import survey_named
from lacunet.errors import DataError, Problem, UsageError
from lacunet.reading import folders_in, is_file, read_json
from lacunet.segmentation.bids import DESCRIPTION
from lacunet.segmentation.sources import Sources
from lacunet.task import Task

_MOST_SHOWN = 10
"""Labels that an error names."""


@dataclass(frozen=True)
class BidsVisit:
    """One person at one session.

    Attributes:
        name: `sub-01`, or `sub-01_ses-1` where the person has folders of sessions.
        folder: Where its scans are.
    """

    name: str
    folder: Path


def require_bids(dataset: Path) -> None:
    """What lacunet needs of a BIDS data set; whether it is valid, the official validator says.

    Raises:
        UsageError: there is no such folder, or its description is missing or damaged.
    """
    path, skip = dataset / DESCRIPTION, "--skip-bids-validation goes on without it"
    if not is_file(path):
        raise UsageError(f"BIDS_DIR has no {DESCRIPTION}, so it may be no BIDS data set; {skip}")
    try:
        said = read_json(path, DataError, skip)
    except DataError as error:
        raise UsageError(str(error).replace(str(path), f"{DESCRIPTION} of BIDS_DIR")) from None
    if missing := [key for key in ("Name", "BIDSVersion") if not isinstance(said, dict) or key not in said]:
        raise UsageError(f"{DESCRIPTION} of BIDS_DIR: {' and '.join(missing)} missing, which BIDS requires; {skip}")


def visits_of(dataset: Path, participants: Sequence[str] = (), sessions: Sequence[str] = ()) -> list[BidsVisit]:
    """The visits of a data set, by name.

    Args:
        dataset: Its folder.
        participants: Labels, with or without `sub-`; none: all.
        sessions: Labels, with or without `ses-`; none: all, and persons without sessions.

    Raises:
        UsageError: there is no such folder, it or a person's cannot be opened, it holds no `sub-` folder, or a label
            is not there.
    """
    if not dataset.is_dir():
        raise UsageError("BIDS_DIR: there is no such folder")
    people = _labelled(folders_in(dataset, UsageError, "BIDS_DIR"), "sub")
    if not people:
        raise UsageError("BIDS_DIR holds no folder that is called sub-LABEL; give the top folder of a BIDS data set")
    chosen = _chosen(people, participants, "sub", "--participant-label")
    visits = [visit for person in chosen for visit in _visits_of_person(dataset / person)]
    if not sessions:
        return visits
    there = sorted({visit.name.partition("_")[2] for visit in visits} - {""})
    wanted = _chosen(there, sessions, "ses", "--session-label")
    return [visit for visit in visits if visit.name.partition("_")[2] in wanted]


def _labelled(names: Sequence[str], kind: str) -> list[str]:
    return [name for name in names if re.fullmatch(rf"{kind}-[0-9A-Za-z]+", name)]


def _chosen(there: Sequence[str], labels: Sequence[str], kind: str, option: str) -> list[str]:
    wanted = {f"{kind}-{label.removeprefix(f'{kind}-')}" for label in labels}
    if missing := sorted(wanted - set(there)):
        some = ", ".join([*there[:_MOST_SHOWN], *(["..."] if len(there) > _MOST_SHOWN else [])])
        raise UsageError(f"{option}: there is no {', '.join(missing)}; there are {some or 'none'}")
    return [name for name in there if not labels or name in wanted]


def _visits_of_person(folder: Path) -> list[BidsVisit]:
    inside = folders_in(folder, UsageError, f"BIDS_DIR/{folder.name}")
    sessions = [BidsVisit(f"{folder.name}_{name}", folder / name) for name in _labelled(inside, "ses")]
    if not sessions:
        return [BidsVisit(folder.name, folder)]
    beside = folder / "anat"  # BIDS wants all scans in sessions, or none
    return [BidsVisit(folder.name, beside), *sessions] if beside.name in inside else sessions


def read_visits(visits: Sequence[BidsVisit], task: Task, show_names: bool = False) -> Sources:
    """What there is to segment. A visit whose file names leave a choice is left to import, which chooses and says why.

    Args:
        visits: Of a data set.
        task: Knows the modalities.
        show_names: Name files as they are.
    """
    found = [_read(visit, task, show_names) for visit in visits]
    return Sources(
        cases=[case for one in found for case in one.cases],
        exports=[export for one in found for export in one.exports],
        problems=[problem for one in found for problem in one.problems],
        left_out=[left for one in found for left in one.left_out],
        rows=[row for one in found for row in one.rows],
    )


def _read(visit: BidsVisit, task: Task, show_names: bool) -> Sources:
    try:
        known = survey(visit.folder, task)
    except DataError:
        return Sources(problems=[Problem(visit.name, "has no T1w, T2w or FLAIR image in its folder anat")])
    if {case.name for case in known.cases} | {problem.case for problem in known.problems} != {visit.name}:
        return Sources(problems=[Problem(visit.name, f"the names of its files do not begin with {visit.name}_")])
    if known.problems or known.by_words:
        return Sources(exports=[visit.folder])
    named = survey_named([visit.folder], task, show_names)
    return Sources(named.cases, (), named.problems, named.left_out, named.rows)
