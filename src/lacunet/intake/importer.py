"""From hospital scans to cases: finds the scans of a source, recognises them and makes them ready.

importer = Importer()
for result in importer.import_into(Path("export.zip"), Path("cases")): ...
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from lacunet.case import CaseFiles
from lacunet.crew.crew import Crew, Here, Lost, Place
from lacunet.data.find import case_from_files
from lacunet.data.find import survey as cases_by_name
from lacunet.data.names import SUFFIXES
from lacunet.data.parts import Part, in_part, table_of
from lacunet.data.pseudonyms import IMPORT_RECORD
from lacunet.data.source_table import (
    SourceRow,
    failed_rows,
    gather_tables,
    own_table,
    relative,
    sha256_of,
    write_sources,
)
from lacunet.errors import DataError, Problem, UsageError, problem_of
from lacunet.files import path_in, why_not_plain
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

    def import_into(
        self, source: Path, folder: Path, resume: bool = False, part: Part | None = None, crew: Crew = Here()
    ) -> Generator[Survey | Imported | Problem, None, None]:
        """Import every visit of a source; one that fails is a `Problem`, and the others are still imported.

        Args:
            source: A folder, an archive or a file.
            folder: The folder of cases.
            resume: Skip cases that exist already.
            part: Only the visits of this part; None: all.
            crew: Whose workers share the visits. They see the temporary folder (TMPDIR) of this process.

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
            visits, table = in_part(part, survey.visits, self.name_of), table_of(folder, part)
            alone = isinstance(crew, Here)
            one = self if alone else replace(self, progress=Silent())  # a worker elsewhere has no terminal
            work = partial(
                one._import_visit, replace(survey, visits=()), source, folder, resume, table if alone else None
            )
            try:
                for visit, done in zip(visits, crew.run(visits, partial(_worker, work)), strict=True):
                    yield self._lost(survey, visit, source, folder, done) if isinstance(done, Lost) else done
            finally:
                if not alone:
                    names = filter(lambda name: not why_not_plain(name), map(self.name_of, visits))
                    gather_tables(table, [own_table(folder, name) for name in names])
            write_sources(table, rows_left_out(survey, source))

    def _lost(self, survey: Survey, visit: Visit, source: Path, folder: Path, lost: Lost) -> Problem:
        """The problem of a visit whose worker died; its rows wait for those of the others."""
        name = self.name_of(visit)
        if not (path_in(folder, name) / IMPORT_RECORD).exists():
            write_sources(own_table(folder, name), failed_rows(self.source_rows(survey, visit, source), lost.words))
        return Problem(name, lost.words)

    def _import_visit(
        self, survey: Survey, source: Path, folder: Path, resume: bool, table: Path | None, visit: Visit
    ) -> Imported | Problem:
        """Import one visit, or say why that failed; its rows are written into the folder `table`, or one of its own."""
        name = self.name_of(visit)
        rows: list[SourceRow] = []
        try:
            path = path_in(folder, name)
            table = table or own_table(folder, name)
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
            write_sources(table, rows)
            return done
        if not (path / IMPORT_RECORD).exists():  # else the rows are those of the case that is there
            write_sources(table, failed_rows(rows, problem.message))
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


def _worker(work: Callable[[Visit], Imported | Problem], place: Place) -> Callable[[Visit], Imported | Problem]:
    """A worker of a crew; import computes on the device of its settings, whichever the worker's is."""
    return work


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
