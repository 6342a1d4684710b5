"""The front door: a source as hospitals have it -> cases in a folder, or masks on the scans as they came.

door = FrontDoor()
for result in door.import_into(Path("export.zip"), Path("cases")): ...
for result in door.segment(predictor, Path("export.zip"), Path("results"), SegmentSettings()): ...
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from lacunet.case import CaseFiles
from lacunet.data.find import case_from_files
from lacunet.data.find import survey as cases_by_name
from lacunet.errors import DataError, LacunetError, Problem, UsageError
from lacunet.intake.assemble import ImportSettings, import_case
from lacunet.intake.origin import Origin, OriginalScan
from lacunet.intake.record import FILE_NAME, Found, ImportRecord, read_record
from lacunet.intake.rigid import Rigid
from lacunet.intake.scan import Scan, Survey, Visit
from lacunet.intake.survey import Wishes, survey_source
from lacunet.intake.unpack import is_archive
from lacunet.prediction.predictor import Predictor
from lacunet.segment import Segmented, SegmentSettings, begin, done_before, segment_case
from lacunet.task import GLIOMA, Subset, Task

DEFAULT_TARGETS = ("t1c", "t2f")
"""Whose own grid a mask is brought back to when nobody says: the first of these, else the first that there is."""


@dataclass(frozen=True)
class Imported:
    """One visit that became a case.

    Attributes:
        folder: The case.
        visit: What was found, and what was left out.
        record: What was done.
        skipped: It was there already (`resume`).
    """

    folder: Path
    visit: Visit
    record: ImportRecord
    skipped: bool = False


def _silent(words: str) -> None:
    """A progress that nobody watches."""


@dataclass(frozen=True)
class FrontDoor:
    """How sources are read and made ready.

    Attributes:
        wishes: Which study and which series, where the user said so.
        settings: How scans become a case.
        targets: Modalities on whose own grid a mask is wanted; T1ce, else FLAIR, else the first there is, where empty.
        name: Of the case, where a source holds one visit; its own where None.
        progress: Is told in a few words what is being done.
        task: Knows the modalities.
    """

    wishes: Wishes = field(default_factory=Wishes)
    settings: ImportSettings = field(default_factory=ImportSettings)
    targets: Sequence[str] = ()
    name: str | None = None
    progress: Callable[[str], None] = _silent
    task: Task = GLIOMA

    def import_into(self, source: Path, folder: Path, resume: bool = False) -> Iterator[Survey | Imported | Problem]:
        """Import every visit of a source; one that fails is a `Problem` and the others are still done.

        Args:
            source: A folder, an archive or a file.
            folder: Where cases go.
            resume: Leave cases that are done already.

        Yields:
            What the source holds, then each visit.

        Raises:
            DataError: the source holds nothing usable.
            UsageError: a wish names nothing that is there, or one name is given for several visits.
        """
        with self._surveyed(source) as (survey, _):
            yield survey
            for visit in survey.visits:
                place = folder / self._name(visit)
                try:
                    if resume and (place / FILE_NAME).is_file():
                        yield Imported(place, visit, read_record(place), skipped=True)
                    else:
                        yield Imported(place, visit, self._imported(visit, folder))
                except LacunetError as error:
                    yield Problem(self._name(visit), str(error))

    def segment(
        self, predictor: Predictor, source: Path, folder: Path, settings: SegmentSettings
    ) -> Generator[Survey | Segmented | Problem, None, None]:
        """Segment every visit of a source; the masks come back on the grids of the scans as they were.

        Args:
            predictor: The model.
            source: A folder, an archive or a file.
            folder: Where results go.
            settings: What is written.

        Yields:
            What the source holds, then each visit.

        Raises:
            DataError: the source holds nothing usable.
            OutputError: results are there already, and neither `overwrite` nor `resume` is asked for.
            UsageError: see `import_into`.
        """
        with self._surveyed(source) as (survey, work):
            yield survey
            begin([self._name(visit) for visit in survey.visits], folder, settings, predictor.model.task)
            for visit in survey.visits:
                try:
                    yield (
                        done_before(self._name(visit), folder, settings)
                        or self._segmented(predictor, visit, work, folder, settings)
                    )
                except LacunetError as error:
                    yield Problem(self._name(visit), str(error))

    def segment_each(
        self, predictor: Predictor, sources: Sequence[Path], folder: Path, settings: SegmentSettings
    ) -> Iterator[Survey | Segmented | Problem]:
        """Segment several sources; one that is refused is a `Problem` and the others are still done.

        Raises:
            UsageError: see `import_into`; or one name is given for several sources.
        """
        if self.name is not None and len(sources) > 1:
            raise UsageError(f"--name {self.name}: there are {len(sources)} sources; leave it out")
        done: set[str] = set()
        for number, source in enumerate(sources, 1):
            where = f"source {number}" if len(sources) > 1 else "the source"
            results = self.segment(predictor, source, folder, settings)
            try:
                for result in results:
                    if isinstance(result, Survey):
                        names = {self._name(visit) for visit in result.visits}
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

    @contextmanager
    def made_ready(self, files: CaseFiles) -> Iterator[tuple[CaseFiles, Origin]]:
        """A case whose scans have skulls, or lie on grids of their own, ready for `segment_case`, and its way back.

        Raises:
            DataError: a scan is not what it should be, or a step failed.
            UsageError: a target that the case lacks.
        """
        scans = {modality: image.path for modality, image in files.images.items()}
        targets = wanted_targets(tuple(scans), self.targets, self.task)
        with TemporaryDirectory(prefix="lacunet-") as folder:
            record = import_case(scans, Path(folder), files.name, self.settings, self.progress, self.task)
            originals = {name: OriginalScan(scans[name], placed.scan_to_case) for name, placed in record.scans.items()}
            yield self._files(Path(folder), record), Origin(originals, targets, record)

    @contextmanager
    def _surveyed(self, source: Path) -> Iterator[tuple[Survey, Path]]:
        """What a source holds, and an empty folder; both for as long as the context lasts."""
        with TemporaryDirectory(prefix="lacunet-") as folder:
            work, empty = Path(folder) / "scans", Path(folder) / "cases"
            work.mkdir()
            empty.mkdir()
            with survey_source(source, work, self.wishes, self.task) as survey:
                if self.name is not None and len(survey.visits) > 1:
                    raise UsageError(f"--name {self.name}: the source holds {len(survey.visits)} visits; leave it out")
                yield survey, empty

    def _segmented(
        self, predictor: Predictor, visit: Visit, work: Path, folder: Path, settings: SegmentSettings
    ) -> Segmented:
        targets = wanted_targets(tuple(visit.scans), self.targets, self.task)  # before minutes are spent
        record = self._imported(visit, work)
        scans = {
            modality: original_scan(visit.scans[modality], placed.scan_to_case)
            for modality, placed in record.scans.items()
        }
        return segment_case(predictor, self._files(work, record), folder, settings, Origin(scans, targets, record))

    def _name(self, visit: Visit) -> str:
        return self.name or visit.name

    def _imported(self, visit: Visit, folder: Path) -> ImportRecord:
        found = found_in(visit)
        return import_case(visit.files, folder, self._name(visit), self.settings, self.progress, self.task, found)

    def _files(self, folder: Path, record: ImportRecord) -> CaseFiles:
        names = {modality: f"{record.case}-{modality}.nii.gz" for modality in self.task.subset(record.scans)}
        images = {modality: folder / record.case / name for modality, name in names.items()}
        return case_from_files(images, record.case, self.task)


def needs_import(source: Path, task: Task = GLIOMA) -> bool:
    """Whether a source is an archive, or a file or folder in which no scans are found by their names."""
    if source.is_file():
        return is_archive(source.name) or source.suffix.lower() not in (".csv", ".gz", ".nii", ".mha")
    try:
        cases_by_name(source, task)
    except DataError:
        return source.is_dir()
    return False


def found_in(visit: Visit) -> Found:
    """What import.json and the page say of how the scans were found."""
    return Found(
        scans={modality: f"{scan.label}: {scan.reason}" for modality, scan in visit.scans.items()},
        left_out=tuple(f"{one.label}: {one.reason}" for one in visit.left_out),
        warnings=visit.all_warnings,
    )


def wanted_targets(there: Sequence[str], asked: Sequence[str], task: Task = GLIOMA) -> Subset:
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
