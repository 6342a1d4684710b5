"""From hospital scans to cases: finds the scans of a source, recognises them and makes them ready.

importer = Importer()
for result in importer.import_into(Path("export.zip"), Path("cases")): ...
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lacunet.case import CaseFiles
from lacunet.data.find import case_from_files
from lacunet.data.find import survey as cases_by_name
from lacunet.data.names import SUFFIXES
from lacunet.data.pseudonyms import IMPORT_RECORD
from lacunet.data.source_table import SourceRow, failed_rows, relative, sha256_of, write_sources
from lacunet.errors import DataError, Problem, UsageError, problem_of
from lacunet.files import path_in
from lacunet.intake.build import ImportSettings, import_case
from lacunet.intake.found import Survey, Visit
from lacunet.intake.read.archive import is_archive
from lacunet.intake.record import HowFound, ImportRecord, read_record
from lacunet.intake.survey import Wishes, survey_source
from lacunet.progress import Progress, Silent
from lacunet.scratch import scratch_folder
from lacunet.task import GLIOMA, Task


@dataclass(frozen=True)
class Imported:
    """One visit that became a case.

    Attributes:
        folder: The folder of the case.
        visit: What was found, and what was left out.
        record: What was done.
        skipped: The case existed already (`resume`).
    """

    folder: Path
    visit: Visit
    record: ImportRecord
    skipped: bool = False


@dataclass(frozen=True)
class Importer:
    """Makes cases from scans as hospitals export them.

    Attributes:
        wishes: Which study and which series, where the user said so.
        settings: How scans become a case.
        name: Of the case, where a source holds one visit; None: the visit's own name.
        progress: Called with a few words at each step.
        task: Knows the modalities.
    """

    wishes: Wishes = field(default_factory=Wishes)
    settings: ImportSettings = field(default_factory=ImportSettings)
    name: str | None = None
    progress: Progress = Silent()
    task: Task = GLIOMA

    def import_into(self, source: Path, folder: Path, resume: bool = False) -> Iterator[Survey | Imported | Problem]:
        """Import every visit of a source; one that fails is a `Problem`, and the others are still imported.

        Args:
            source: A folder, an archive or a file.
            folder: The folder of cases.
            resume: Skip cases that exist already.

        `sources.csv` in `folder` says which case is whose.

        Yields:
            First what the source holds, then the result of each visit.

        Raises:
            DataError: the source holds nothing usable.
            OutputError: `sources.csv` cannot be written.
            UsageError: a wish names a series, file or study that is not there, or one name is given for several visits.
        """
        with self.surveyed(source) as (survey, _):
            yield survey
            for visit in survey.visits:
                yield self._import_visit(survey, visit, source, folder, resume)
            write_sources(folder, rows_left_out(survey, source))

    def _import_visit(
        self, survey: Survey, visit: Visit, source: Path, folder: Path, resume: bool
    ) -> Imported | Problem:
        """Import one visit, or say why that failed; its rows in `sources.csv` are written."""
        name = self.name_of(visit)
        rows: list[SourceRow] = []
        try:
            path = path_in(folder, name)
        except DataError as error:
            return Problem(name, str(error))
        try:
            if resume and (path / IMPORT_RECORD).is_file():
                return Imported(path, visit, read_record(path), skipped=True)
            rows = self.source_rows(survey, visit, source)
            done = Imported(path, visit, self.imported(visit, folder))
        except Exception as error:
            problem = problem_of(name, error)
        else:
            write_sources(folder, rows)
            return done
        if not (path / IMPORT_RECORD).exists():  # else the rows are those of the case that is there
            write_sources(folder, failed_rows(rows, problem.message))
        return problem

    @contextmanager
    def surveyed(self, source: Path) -> Iterator[tuple[Survey, Path]]:
        """What a source holds, and an empty folder; both exist within the `with` block only."""
        with scratch_folder() as folder:
            work, empty = folder / "scans", folder / "cases"
            work.mkdir()
            empty.mkdir()
            with survey_source(source, work, self.wishes, self.task) as survey:
                if self.name is not None and len(survey.visits) > 1:
                    raise UsageError(f"--name {self.name}: the source holds {len(survey.visits)} visits; leave it out")
                yield survey, empty

    def name_of(self, visit: Visit) -> str:
        """The name of the case of a visit."""
        return self.name or visit.name

    def source_rows(self, survey: Survey, visit: Visit, source: Path) -> list[SourceRow]:
        """For `sources.csv`: the scans of a visit, and what was left out of it."""
        name, where = self.name_of(visit), str(source.absolute())
        root = survey.root or source.absolute()
        used = [
            SourceRow(
                name,
                where,
                modality,
                scan.label,
                tuple(relative(path, root) for path in scan.inputs),
                sha256_of(scan.inputs),
            )
            for modality, scan in visit.scans.items()
        ]
        return [*used, *(SourceRow(name, where, series=one.label, reason=one.reason) for one in visit.left_out)]

    def imported(self, visit: Visit, folder: Path) -> ImportRecord:
        """Import one visit into `folder`; see `import_case` for the errors."""
        found = found_in(visit)
        return import_case(visit.files, folder, self.name_of(visit), self.task, self.settings, self.progress, found)

    def files_of(self, folder: Path, record: ImportRecord) -> CaseFiles:
        """The case that import wrote into `folder`."""
        names = {modality: f"{record.case}-{modality}.nii.gz" for modality in self.task.subset(record.scans)}
        images = {modality: path_in(folder, record.case) / name for modality, name in names.items()}
        return case_from_files(images, record.case, self.task)


def needs_import(source: Path, task: Task) -> bool:
    """Whether a source is an archive, or a file or folder in which no scans are found by known names, or in which a
    scan is recognised only by words put together, so that its image should be looked at."""
    if source.is_file():
        return is_archive(source.name) or not source.name.lower().endswith((".csv", ".gz", *SUFFIXES))
    try:
        return cases_by_name(source, task).by_words
    except DataError:
        return source.is_dir()


def rows_left_out(survey: Survey, source: Path) -> list[SourceRow]:
    """For `sources.csv`: what was left out of a source as a whole."""
    return [SourceRow("", str(source.absolute()), series=one.label, reason=one.reason) for one in survey.left_out]


def found_in(visit: Visit) -> HowFound:
    """What import.json and the page say of how the scans were found."""
    return HowFound(
        scans={modality: f"{scan.label}: {scan.reason}" for modality, scan in visit.scans.items()},
        left_out=tuple(f"{one.label}: {one.reason}" for one in visit.left_out),
        warnings=visit.all_warnings,
        cautions=visit.cautions,
        labels={modality: scan.label for modality, scan in visit.scans.items()},
    )
