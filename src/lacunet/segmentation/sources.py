"""From any source to masks: cases found by their file names, and hospital exports, which are imported first."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from lacunet.case import CaseFiles
from lacunet.crew.crew import Here, Lost
from lacunet.data.hidden_names import all_without_names, survey_named
from lacunet.data.parts import Part, in_part
from lacunet.data.source_table import SourceRow, gather_tables, own_table, write_sources
from lacunet.data.tree import PassedOver
from lacunet.errors import DataError, Problem, UsageError, problem_of
from lacunet.intake.align.rigid import Rigid
from lacunet.intake.build import import_case
from lacunet.intake.found import Scan, Survey, Visit
from lacunet.intake.importer import Importer, needs_import, rows_left_out
from lacunet.intake.read.subject import cautions_beside
from lacunet.intake.record import HowFound
from lacunet.prediction.predictor import Predictor
from lacunet.prediction.team import Team, as_team
from lacunet.scratch import scratch_folder, speaking_of_scratch
from lacunet.segmentation.layout import Places
from lacunet.segmentation.native import Origin, OriginalScan
from lacunet.segmentation.segment import Job, ask_and_write, segment_cases, segment_each
from lacunet.segmentation.write import Segmented, SegmentSettings
from lacunet.task import Subset, Task

DEFAULT_TARGETS = ("t1c", "t2f")
"""Unless the user names scans, the mask goes back to the first of these that the case has, else to its first scan."""


@dataclass(frozen=True)
class Sources:
    """What there is to segment.

    Attributes:
        cases: Found by the names of their files.
        exports: Archives and folders that are imported first.
        problems: Cases that were found and cannot be segmented.
        left_out: Files and folders beside the cases that are not used, each with its reason.
        rows: For `sources.csv`: the files of these problems.
    """

    cases: Sequence[CaseFiles] = ()
    exports: Sequence[Path] = ()
    problems: Sequence[Problem] = ()
    left_out: Sequence[PassedOver] = ()
    rows: Sequence[SourceRow] = ()


def read_sources(paths: Sequence[Path], task: Task, may_import: bool = True, show_names: bool = True) -> Sources:
    """Tell cases from exports.

    Args:
        paths: Case folders, folders of cases, manifests, archives, DICOM folders.
        task: Knows the modalities.
        may_import: Accept exports; otherwise every path must hold cases.
        show_names: Name cases and files as they are; False: no name that may be a person's (`data.pseudonyms`).

    Raises:
        DataError: a folder holds neither, or two cases have one name.
    """
    exports = [path for path in paths if may_import and needs_import(path, task)]
    found = survey_named([path for path in paths if path not in exports], task, show_names)
    return Sources(found.cases, exports, found.problems, found.left_out, found.rows)


def under_name(found: Sources, name: str | None) -> Sources:
    """The same, where the user gives the one case that there is a name; an export is named when it is imported.

    Raises:
        UsageError: there are several cases.
    """
    count = len(found.cases) + len(found.exports)
    if count > 1 and name is not None:
        raise UsageError(f"--name {name}: there are {count} cases; leave it out, or give the files of one")
    if name is None or not found.cases:
        return found
    return replace(found, cases=[replace(found.cases[0], name=name, person=name)])


def segment(
    predictor: Predictor | Team,
    sources: Sources | Sequence[Path],
    folder: Path,
    settings: SegmentSettings | None = None,
    importer: Importer | None = None,
    targets: Sequence[str] = (),
) -> Generator[Survey | Segmented | Problem, None, None]:
    """Segment all that the sources hold; a case that fails is a `Problem` and the others are still done.

    Args:
        predictor: The model; or a team, whose workers share the cases and the visits.
        sources: Case folders, folders of cases, manifests, archives, DICOM folders; or what `read_sources` returned.
        folder: Where results go.
        settings: What is written.
        importer: How scans with skull, or on grids of their own, are made ready.
        targets: Modalities on whose own grid an imported case gets a mask; T1ce, else FLAIR, if none is named.

    Yields:
        The problems of reading the sources, then each case; for an export first what it holds.

    Raises:
        DataError: a folder holds nothing usable, or two cases would have the same result files.
        OutputError: results are there already, and neither `overwrite` nor `resume` is asked for.
        UsageError: one name is given for several sources or visits.
    """
    task = as_team(predictor).task
    settings, importer = settings or SegmentSettings(), importer or Importer(task=task)
    if isinstance(sources, Sources):
        found = sources
    else:
        found = read_sources(sources, task, show_names=importer.wishes.show_names)
    found = under_name(found, importer.name)
    yield from found.problems
    make_ready = partial(made_ready, importer=importer, targets=targets)
    yield from segment_cases(predictor, found.cases, folder, settings, make_ready)
    yield from segment_exports(predictor, importer, found.exports, folder, settings, targets)
    write_sources(settings.table_in(folder), found.rows)


def segment_exports(
    predictor: Predictor | Team,
    importer: Importer,
    exports: Sequence[Path],
    folder: Path,
    settings: SegmentSettings,
    targets: Sequence[str] = (),
) -> Generator[Survey | Segmented | Problem, None, None]:
    """Segment several exports; one that is refused is a `Problem` and the others are still done.

    A part of a cohort does a part of the exports, which keep their numbers; of a single export, a part of the visits.

    Raises:
        UsageError: one name is given for several exports or visits, or a wish names nothing that is there.
    """
    if importer.name is not None and len(exports) > 1:
        raise UsageError(f"--name {importer.name}: there are {len(exports)} sources; leave it out")
    team, several = as_team(predictor), len(exports) > 1
    numbered = list(enumerate(exports, 1))
    if several:  # which cases an export holds is not known before it is read
        numbered = in_part(settings.part, numbered, lambda one: one[1].name)
    if several and not isinstance(team.crew, Here):
        yield from _exports_on(team, importer, numbered, folder, settings, targets)
        return
    visits = None if several else settings.part
    done: set[str] = set()
    for number, export in numbered:
        try:
            with closing(segment_export(predictor, importer, export, folder, settings, targets, visits)) as results:
                for result in results:
                    if isinstance(result, Survey):
                        done |= _new_names(result, importer, done)
                    yield result
        except UsageError:
            raise
        except Exception as error:
            yield _refused(error, number if several else None)


def _refused(error: Exception, number: int | None) -> Problem:
    """The problem of a source; it has a number where there are several."""
    problem = problem_of("the source" if number is None else f"source {number}", error)
    return replace(problem, message=problem.message.removeprefix("the source: "))


def _exports_on(
    team: Team,
    importer: Importer,
    numbered: Sequence[tuple[int, Path]],
    folder: Path,
    settings: SegmentSettings,
    targets: Sequence[str],
) -> Generator[Survey | Segmented | Problem, None, None]:
    """Several exports, each read, imported and segmented by one worker."""
    each = [_Export(number, export, own_table(folder, f"source {number}")) for number, export in numbered]
    done: set[str] = set()
    try:
        all_results = team.run(each, partial(_export_segmented, importer, folder, settings, targets))
        for one, results in zip(each, all_results, strict=True):
            for result in [Problem(f"source {one.number}", results.words)] if isinstance(results, Lost) else results:
                if isinstance(result, Survey):
                    try:
                        done |= _new_names(result, importer, done)
                    except DataError as error:
                        yield _refused(error, one.number)
                        break
                yield result
    finally:
        gather_tables(settings.table_in(folder), [one.table for one in each])


@dataclass(frozen=True)
class _Export:
    """An export, its number, and the folder for its rows of `sources.csv`."""

    number: int
    path: Path
    table: Path


def _export_segmented(
    importer: Importer,
    folder: Path,
    settings: SegmentSettings,
    targets: Sequence[str],
    predictor: Predictor,
    one: _Export,
) -> list[Survey | Segmented | Problem]:
    """All that an export gives."""
    found: list[Survey | Segmented | Problem] = []
    try:
        found += segment_export(predictor, importer, one.path, folder, replace(settings, table=one.table), targets)
    except UsageError:
        raise
    except Exception as error:
        found.append(_refused(error, one.number))
    return found


def _new_names(survey: Survey, importer: Importer, done: set[str]) -> set[str]:
    """The names of a source's cases, none of which another source has."""
    names = {importer.name_of(visit) for visit in survey.visits}
    if twice := sorted(names & done):
        raise DataError(f"{', '.join(twice)}: another source holds the same case; it is left out")
    return names


def segment_export(
    predictor: Predictor | Team,
    importer: Importer,
    export: Path,
    folder: Path,
    settings: SegmentSettings,
    targets: Sequence[str] = (),
    part: Part | None = None,
) -> Generator[Survey | Segmented | Problem, None, None]:
    """Segment every visit of an export, or those of a part; the masks come back on the grids of the scans as they were.

    Yields:
        What the export holds, then each visit.

    Raises:
        DataError: the export holds nothing usable.
        OutputError: results are there already, and neither `overwrite` nor `resume` is asked for.
        UsageError: a wish names nothing that is there, or one name is given for several visits.
    """
    with importer.surveyed(export) as (survey, work):
        yield survey
        each = [
            Job(
                importer.name_of(visit),
                partial(importer.source_rows, replace(survey, visits=()), visit, export),
                partial(_imported, importer, visit, work, settings, targets),
            )
            for visit in in_part(part, survey.visits, importer.name_of)
        ]
        yield from segment_each(predictor, each, folder, settings)
        write_sources(settings.table_in(folder), rows_left_out(survey, export))


def _imported(
    importer: Importer,
    visit: Visit,
    work: Path,
    settings: SegmentSettings,
    targets: Sequence[str],
    predictor: Predictor,
    at: Places,
    rows: Sequence[SourceRow],
) -> Segmented:
    """Import a visit and segment it."""
    wanted = wanted_targets(tuple(visit.scans), targets, importer.task)  # before import, which takes minutes
    with speaking_of_scratch(work):
        record = importer.imported(visit, work)
        scans = {name: original_scan(visit.scans[name], placed.scan_to_case) for name, placed in record.scans.items()}
        origin = Origin(scans, wanted, record)
        return ask_and_write(predictor, importer.files_of(work, record), settings, at, rows, origin)


@contextmanager
def made_ready(files: CaseFiles, importer: Importer, targets: Sequence[str] = ()) -> Iterator[tuple[CaseFiles, Origin]]:
    """Import a case whose scans have skulls or grids of their own; it is there for as long as the context lasts.

    Yields:
        The case without skull and on one grid, and where it came from.

    Raises:
        DataError: a scan is not what it should be, or a step failed.
        UsageError: a target that the case lacks.
    """
    scans = {modality: image.path for modality, image in files.images.items()}
    wanted = wanted_targets(tuple(scans), targets, importer.task)
    cautions = cautions_beside({importer.task.titles[name]: path for name, path in scans.items()})
    said_first = [caution.sentence for caution in cautions]
    found = HowFound(cautions=cautions)
    with scratch_folder() as folder:
        record = import_case(scans, folder, files.name, importer.task, importer.settings, importer.progress, found)
        others = [line for line in record.warnings if line not in said_first]
        record = replace(record, warnings=[*said_first, *all_without_names(others, files)])
        originals = {name: OriginalScan(scans[name], placed.scan_to_case) for name, placed in record.scans.items()}
        yield importer.files_of(folder, record), Origin(originals, wanted, record)


def wanted_targets(there: Sequence[str], asked: Sequence[str], task: Task) -> Subset:
    """The scans that get a mask on their own grid: those asked for, else T1ce, else FLAIR, else the first there is.

    Raises:
        UsageError: a sequence is asked for that the case lacks.
    """
    wanted = [task.modality(word) for word in asked]
    if absent := [modality for modality in wanted if modality not in there]:
        raise UsageError(f"--onto {', '.join(absent)}: the case has only {', '.join(task.subset(there))}")
    default = next((modality for modality in DEFAULT_TARGETS if modality in there), task.subset(there)[0])
    return task.subset(wanted or [default])


def original_scan(scan: Scan, scan_to_case: Rigid) -> OriginalScan:
    """A recognised scan as it was before import; without its DICOM files where its slices were interpolated."""
    if scan.dicom is None:
        return OriginalScan(scan.path, scan_to_case)
    if not scan.dicom.even:
        return OriginalScan(scan.path, scan_to_case, note="its slices were interpolated; use the NIfTI mask")
    return OriginalScan(scan.path, scan_to_case, tuple(instance.path for instance in scan.dicom.instances))
