"""Two results as two visits of one person: what must hold before they are compared."""

from dataclasses import dataclass
from pathlib import Path

from lacunet.errors import DataError, UsageError
from lacunet.segmentation.provenance import MODEL
from lacunet.task import Task
from lacunet.visits.finished import Finished, read_finished
from lacunet.visits.visit import Visit, load_visit

_ONE_PERSON = "give two visits of one person"


@dataclass(frozen=True)
class Pair:
    """Two visits of one person.

    Attributes:
        earlier: The first.
        later: The second.
        days: Between them; None where it is not known.
        named: Whether the names of the cases, or their DICOM files, say that they are of one person.
    """

    earlier: Visit
    later: Visit
    days: int | None
    named: bool


def read_pair(earlier: Path, later: Path, task: Task, days: int | None = None) -> Pair:
    """Read two results of `lacunet segment`.

    Args:
        earlier: The folder of the first.
        later: The folder of the second.
        task: Of the model.
        days: Between them, where the user knows it.

    Raises:
        DataError: a case is not finished, they are of two persons, in the wrong order, or were not segmented alike.
        UsageError: it is one folder twice.
    """
    if earlier.resolve() == later.resolve():
        raise UsageError(f"{later}: the same folder twice; name the folders of two visits")
    done = [read_finished(folder) for folder in (earlier, later)]
    named = _named_alike(*done)
    _require_alike(*done)
    first, second = (load_visit(one, task) for one in done)
    named = _one_by_dicom(first, second) or named
    return Pair(first, second, _days_between(first, second) if days is None else days, named)


def _require_alike(first: Finished, second: Finished) -> None:
    """Whatever differs between two ways to segment would be taken for a change of the tumour."""
    one, two = first.record, second.record
    for what, its, others in (
        ("model", _model(first), _model(second)),
        ("post-processing", ", ".join(one.postprocessing) or "none", ", ".join(two.postprocessing) or "none"),
        ("mirror images", one.mirror, two.mirror),
        ("correction of uneven brightness", _n4(first), _n4(second)),
    ):
        if its != others:
            raise DataError(
                f"{one.case} and {two.case}: not segmented in the same way, {what}: {its} and {others}; segment both "
                "with the same options"
            )


def _model(finished: Finished) -> str:
    return f"{finished.record.provenance.get(MODEL, '?')} (sha256 {finished.record.weights[:8]})"


def _n4(finished: Finished) -> str:
    return "--n4 on or auto" if finished.record.evened else "off"


def _named_alike(first: Finished, second: Finished) -> bool:
    """Whether the names say that both are of one person.

    Raises:
        DataError: they say that they are not.
    """
    one, two = first.named_person, second.named_person
    if one is not None and two is not None and one != two:
        raise DataError(
            f"{first.record.case} and {second.record.case}: two persons by their names, {one} and {two}; {_ONE_PERSON}"
        )
    return one is not None and one == two


def _one_by_dicom(first: Visit, second: Visit) -> bool:
    """Whether the DICOM files say that both are of one person.

    Raises:
        DataError: they say that they are not.
    """
    if first.dicom_person is None or second.dicom_person is None:
        return False
    if not first.dicom_person.may_be(second.dicom_person):
        names = f"{first.record.case} and {second.record.case}"
        raise DataError(f"{names}: two persons, by their DICOM files; {_ONE_PERSON}")
    return True


def _days_between(first: Visit, second: Visit) -> int | None:
    if first.day is None or second.day is None:
        return None
    days = (second.day - first.day).days
    if days < 0:
        raise DataError(
            f"{second.record.case}: was {-days} day{'' if days == -1 else 's'} before {first.record.case}; name the "
            "earlier visit first"
        )
    return days
