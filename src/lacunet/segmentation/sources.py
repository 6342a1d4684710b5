"""Any source to masks: cases that lacunet finds by name, and hospital exports, which are imported first."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

from lacunet.case import CaseFiles
from lacunet.data.find import survey_all
from lacunet.errors import DataError, LacunetError, Problem, UsageError
from lacunet.intake.align.rigid import Rigid
from lacunet.intake.build import import_case
from lacunet.intake.found import Scan, Survey, Visit
from lacunet.intake.importer import Importer, needs_import
from lacunet.prediction.predictor import Predictor
from lacunet.segmentation.native import Origin, OriginalScan
from lacunet.segmentation.segment import Segmented, SegmentSettings, begin, done_before, segment_case, segment_cases
from lacunet.task import Subset, Task

DEFAULT_TARGETS = ("t1c", "t2f")
"""A mask is brought back to the first of these scans that is there, else to the first scan, unless the user says."""


@dataclass(frozen=True)
class Sources:
    """What there is to segment.

    Attributes:
        cases: Found by the names of their files.
        exports: Archives and folders that are imported first.
        problems: Cases that were found and cannot be segmented.
    """

    cases: Sequence[CaseFiles] = ()
    exports: Sequence[Path] = ()
    problems: Sequence[Problem] = field(default_factory=tuple)


def read_sources(paths: Sequence[Path], task: Task) -> Sources:
    """Tell cases from exports.

    Raises:
        DataError: a folder holds neither, or two cases have one name.
    """
    exports = [path for path in paths if needs_import(path, task)]
    cases, problems = survey_all([path for path in paths if path not in exports], task)
    return Sources(cases, exports, problems)


def segment(
    predictor: Predictor,
    sources: Sources | Sequence[Path],
    folder: Path,
    settings: SegmentSettings | None = None,
    importer: Importer | None = None,
    targets: Sequence[str] = (),
) -> Iterator[Survey | Segmented | Problem]:
    """Segment all that the sources hold; a case that fails is a `Problem` and the others are still done.

    Args:
        predictor: The model.
        sources: Case folders, folders of cases, manifests, archives, DICOM folders; or what `read_sources` returned.
        folder: Where results go.
        settings: What is written.
        importer: How scans with skull, or on grids of their own, are made ready.
        targets: Modalities on whose own grid an imported case's mask is wanted; T1ce, else FLAIR, if none is named.

    Yields:
        The problems that were found before, then each case; of an export first what it holds.

    Raises:
        DataError: a folder holds nothing usable, or the results of two cases would lie in one place.
        OutputError: results are there already, and neither `overwrite` nor `resume` is asked for.
        UsageError: one name is given for several sources or visits.
    """
    settings, importer = settings or SegmentSettings(), importer or Importer(task=predictor.model.task)
    there = sources if isinstance(sources, Sources) else read_sources(sources, predictor.model.task)
    make_ready = partial(made_ready, importer=importer, targets=targets)
    cases = segment_cases(predictor, there.cases, folder, settings, make_ready)
    exports = segment_exports(predictor, importer, there.exports, folder, settings, targets)
    yield from chain(there.problems, cases, exports)


def segment_exports(
    predictor: Predictor,
    importer: Importer,
    exports: Sequence[Path],
    folder: Path,
    settings: SegmentSettings,
    targets: Sequence[str] = (),
) -> Iterator[Survey | Segmented | Problem]:
    """Segment several exports; one that is refused is a `Problem` and the others are still done.

    Raises:
        UsageError: one name is given for several exports or visits, or a wish names nothing that is there.
    """
    if importer.name is not None and len(exports) > 1:
        raise UsageError(f"--name {importer.name}: there are {len(exports)} sources; leave it out")
    done: set[str] = set()
    for number, export in enumerate(exports, 1):
        where = f"source {number}" if len(exports) > 1 else "the source"
        results = segment_export(predictor, importer, export, folder, settings, targets)
        try:
            for result in results:
                if isinstance(result, Survey):
                    names = {importer.name_of(visit) for visit in result.visits}
                    if twice := sorted(names & done):
                        raise DataError(f"{', '.join(twice)}: another source holds the same case; it is left out")
                    done |= names
                yield result
        except UsageError:
            raise
        except LacunetError as error:
            yield Problem(where, str(error).removeprefix("the source: "))
        finally:
            results.close()


def segment_export(
    predictor: Predictor,
    importer: Importer,
    export: Path,
    folder: Path,
    settings: SegmentSettings,
    targets: Sequence[str] = (),
) -> Generator[Survey | Segmented | Problem, None, None]:
    """Segment every visit of an export; the masks come back on the grids of the scans as they were.

    Yields:
        What the export holds, then each visit.

    Raises:
        DataError: the export holds nothing usable.
        OutputError: results are there already, and neither `overwrite` nor `resume` is asked for.
        UsageError: a wish names nothing that is there, or one name is given for several visits.
    """
    with importer.surveyed(export) as (survey, work):
        yield survey
        begin([importer.name_of(visit) for visit in survey.visits], folder, settings, predictor.model.task)
        for visit in survey.visits:
            name = importer.name_of(visit)
            try:
                yield (
                    done_before(name, folder, settings)
                    or _segmented(predictor, importer, visit, work, folder, settings, targets)
                )
            except LacunetError as error:
                yield Problem(name, str(error))


def _segmented(
    predictor: Predictor,
    importer: Importer,
    visit: Visit,
    work: Path,
    folder: Path,
    settings: SegmentSettings,
    targets: Sequence[str],
) -> Segmented:
    wanted = wanted_targets(tuple(visit.scans), targets, importer.task)  # before minutes are spent
    record = importer.imported(visit, work)
    scans = {name: original_scan(visit.scans[name], placed.scan_to_case) for name, placed in record.scans.items()}
    origin = Origin(scans, wanted, record)
    return segment_case(predictor, importer.files_of(work, record), folder, settings, origin)


@contextmanager
def made_ready(files: CaseFiles, importer: Importer, targets: Sequence[str] = ()) -> Iterator[tuple[CaseFiles, Origin]]:
    """A case whose scans have skulls, or lie on grids of their own, ready for `segment_case`, and its way back.

    Raises:
        DataError: a scan is not what it should be, or a step failed.
        UsageError: a target that the case lacks.
    """
    scans = {modality: image.path for modality, image in files.images.items()}
    wanted = wanted_targets(tuple(scans), targets, importer.task)
    with TemporaryDirectory(prefix="lacunet-") as folder:
        record = import_case(scans, Path(folder), files.name, importer.task, importer.settings, importer.progress)
        originals = {name: OriginalScan(scans[name], placed.scan_to_case) for name, placed in record.scans.items()}
        yield importer.files_of(Path(folder), record), Origin(originals, wanted, record)


def wanted_targets(there: Sequence[str], asked: Sequence[str], task: Task) -> Subset:
    """Whose own grid is wanted: what was asked for, else T1ce, else FLAIR, else the first there is.

    Raises:
        UsageError: a sequence is asked for that the case lacks.
    """
    wanted = [task.modality(word) for word in asked]
    if absent := [modality for modality in wanted if modality not in there]:
        raise UsageError(f"--onto {', '.join(absent)}: the case has only {', '.join(task.subset(there))}")
    default = next((modality for modality in DEFAULT_TARGETS if modality in there), task.subset(there)[0])
    return task.subset(wanted or [default])


def original_scan(scan: Scan, scan_to_case: Rigid) -> OriginalScan:
    """A recognised scan, for the way back; without its DICOM files where its slices are not theirs."""
    if scan.dicom is None:
        return OriginalScan(scan.path, scan_to_case)
    if not scan.dicom.even:
        return OriginalScan(scan.path, scan_to_case, note="its slices were interpolated; use the NIfTI mask")
    return OriginalScan(scan.path, scan_to_case, tuple(instance.path for instance in scan.dicom.instances))
