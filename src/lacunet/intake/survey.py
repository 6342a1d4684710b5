"""From a source as hospitals have it to its scans, recognised and converted.

    with survey_source(Path("export.zip"), work) as survey:
        for visit in survey.visits:
            visit.files      # {"t1c": Path, "t2f": Path}
            visit.left_out   # scans that are not used, and why

No text that leaves this module can name a patient: see `words` for descriptions, `read.study` for persons, and
`Survey` for what may be shown.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from lacunet.data.called import by_label, errors_by_label
from lacunet.data.formats.pairs import VOXELS, header_beside
from lacunet.data.formats.unread import why_unreadable
from lacunet.data.names import SUFFIXES, bare_name
from lacunet.data.pseudonyms import hidden_name, numbered
from lacunet.data.sequences import OTHER
from lacunet.data.words import manufacturer, shown
from lacunet.errors import DataError, UsageError
from lacunet.files import path_in, why_not_plain
from lacunet.intake.found import DicomSource, Facts, Instance, LeftOut, Survey, Visit
from lacunet.intake.identify.cautions import cautions_of, subject_of_all
from lacunet.intake.identify.choose import Candidate, choose
from lacunet.intake.identify.clues import Clues, Guess, guess
from lacunet.intake.read.archive import Contents, unpacked
from lacunet.intake.read.convert import convert
from lacunet.intake.read.nifti import LooseFile, LooseVisit, is_image, loose_files, loose_visits
from lacunet.intake.read.plain_copy import clean_copy
from lacunet.intake.read.series import Series, counted
from lacunet.intake.read.study import (
    Pile,
    Study,
    choose_study,
    clues_of,
    read_pile,
    reason_against,
    require_one_person,
    short_hash,
    studies_of,
)
from lacunet.intake.read.subject import subject_beside
from lacunet.task import GLIOMA, Task


@dataclass(frozen=True)
class Wishes:
    """What the user asked for.

    Attributes:
        overrule: Modality -> a NIfTI file, a file of a series, a series' number as the survey gives it ("4", "4a"), its
            SeriesInstanceUID, or a file's path inside the source.
        study: A study's date (2021-03-04 or 20210304), its name ("study-1a2b3c4d") or its UID; None: the newest that
            has a usable scan.
        show_names: Show the names of loose files, and name cases after them. They may contain a patient's name, so this
            is off by default.
    """

    overrule: Mapping[str, Path | str] = field(default_factory=dict)
    study: str | None = None
    show_names: bool = False


@contextmanager
def survey_source(source: Path, work: Path, wishes: Wishes | None = None, task: Task = GLIOMA) -> Iterator[Survey]:
    """The scans of a folder, an archive (.zip, .tar, .tar.gz ...) or a single file, as NIfTI files below `work`.

    The DICOM files of an archive (`Scan.dicom`) exist within the `with` block only; write a DICOM SEG there. The caller
    owns `work`, so the NIfTI files stay.

    Args:
        source: What the user named.
        work: An existing folder for the converted scans.
        wishes: What the user asked for; None: nothing.
        task: Says which modalities there are.

    Raises:
        DataError: no usable scan; several patients; an unsafe or damaged archive.
        UsageError: a wish names a series, file or study that is not there; there are DICOM files, and the extra
            `dicom` is not installed.
    """
    wishes = wishes or Wishes()
    wishes = replace(wishes, overrule={task.modality(word): value for word, value in wishes.overrule.items()})
    with unpacked(source) as contents:
        yield survey_contents(contents, work, wishes, task)


def survey_contents(contents: Contents, work: Path, wishes: Wishes, task: Task) -> Survey:
    """As `survey_source`, for files that are unpacked already.

    Raises:
        DataError: see `survey_source`.
        UsageError: see `survey_source`.
    """
    pile = read_pile(contents.files)
    images = [path for path in pile.others if is_image(path)]
    passed = _passed_over(contents, pile)
    if pile.headers and (any(header.modality == "MR" for header in pile.headers) or not images):
        survey = _survey_dicom(pile, contents, work, wishes, task)
        survey = replace(survey, left_out=(*survey.left_out, *_beside_dicom(images, wishes, task)))
    elif images:
        survey = _survey_loose(images, contents, work, wishes, task)
        passed["passed over: DICOM, but no MR scans"] = len(pile.headers)
    else:
        said = "; ".join([*_in_words(passed), *([] if contents.files else ["it is empty"])])
        raise DataError(f"the source: holds no scan ({said}); give DICOM or NIfTI files")
    notes = (*survey.notes, *_in_words(passed))
    return replace(survey, notes=notes, passed_over=survey.passed_over + passed.total(), root=contents.root)


def _beside_dicom(images: Sequence[Path], wishes: Wishes, task: Task) -> list[LeftOut]:
    """Images beside DICOM files are not used: they may be conversions of them, or masks."""
    files = [] if not images else loose_files(images, task)
    return [LeftOut(_label(one, wishes), one.reason or "lies beside DICOM, which is used instead") for one in files]


def _passed_over(contents: Contents, pile: Pile) -> Counter[str]:
    """What is passed over without a line of its own -> how many files."""
    passed = Counter({f"could not be read: {reason}": count for reason, count in sorted(pile.damaged.items())})
    for path in pile.others:
        if not is_image(path) and path.suffix.lower() != ".json" and header_beside(path) is None:
            reason = why_unreadable(path)
            passed[f"passed over: {reason}" if reason else "passed over: no images"] += 1
    passed["passed over: lists of contents (DICOMDIR)"] = pile.directories
    for reason, count in sorted(contents.passed_over.items()):
        passed[f"passed over: {reason}"] += count
    return passed


def _in_words(passed: Mapping[str, int]) -> list[str]:
    return [f"{_files(count)} {reason}" for reason, count in passed.items() if count]


def _files(count: int) -> str:
    return counted(count, "file", "files")


# ---------------------------------------------------------------- DICOM


def _survey_dicom(pile: Pile, contents: Contents, work: Path, wishes: Wishes, task: Task) -> Survey:
    require_one_person(pile.headers)
    study, others = choose_study(studies_of(pile.headers), wishes.study, task)
    forced = {_series_wished(wish, modality, study, contents): modality for modality, wish in _inside(wishes).items()}
    if len(forced) < len(_inside(wishes)):
        raise UsageError("one series is given for two sequences; give each its own")
    candidates: list[Candidate] = []
    left_out: list[LeftOut] = []
    name = f"case-{short_hash(study.uid)}"
    folder = path_in(work, name)
    folder.mkdir(parents=True, exist_ok=True)
    for series in study.series:
        modality = forced.get(series.key)
        if modality is None and (reason := reason_against(series, task)):
            left_out.append(LeftOut(series.label, reason))
            continue
        try:
            candidates.append(_candidate(series, folder, modality, task))
        except DataError as error:
            if modality is not None:
                raise
            left_out.append(LeftOut(series.label, str(error).removeprefix(f"{series.label}: ")))
    candidates += _outside(wishes, folder, task)
    visit = _visit(name, candidates, left_out, task)
    if lost := sum(pile.damaged.values()):
        visit = replace(visit, warnings=(f"{_files(lost)} of the source could not be read; a scan may lack slices",))
    return Survey("dicom", (visit,), tuple(others))


def _candidate(series: Series, folder: Path, forced: str | None, task: Task) -> Candidate:
    converted = convert(series, folder / f"series-{series.key.replace('?', 'x')}.nii.gz")
    clues = clues_of(series)
    first = series.first
    facts = Facts(
        words=shown(*first.texts),
        source="dicom",
        manufacturer=manufacturer(first.maker),
        field_tesla=first.field_tesla,
        repetition_ms=clues.repetition,
        echo_ms=clues.echo,
        inversion_ms=clues.inversion,
        contrast_agent=first.agent,
        three_d=first.three_d,
        shape=converted.grid.shape,
        spacing=converted.grid.spacing,
    )
    source = DicomSource(
        study_uid=first.study,
        series_uid=first.series,
        frame_of_reference_uid=first.frame_of_reference,
        instances=tuple(Instance(header.path, header.sop_class, header.sop_instance) for header in series.headers),
        multi_frame=first.multi_frame,
        even=converted.even,
    )
    return Candidate(
        key=series.key,
        label=series.label,
        path=converted.path,
        grid=converted.grid,
        clues=clues,
        guess=guess(clues, task),
        facts=facts,
        derived=series.derived,
        warnings=converted.warnings,
        dicom=source,
        forced=forced,
        inputs=tuple(instance.path for instance in source.instances),
        subject=subject_of_all(header.subject for header in series.headers),
    )


def _inside(wishes: Wishes) -> dict[str, Path | str]:
    """Wishes that name something in the source: all but NIfTI files."""
    return {modality: wish for modality, wish in wishes.overrule.items() if not _is_own_file(wish)}


def _is_own_file(wish: Path | str) -> bool:
    return str(wish).lower().endswith((*SUFFIXES, *VOXELS)) and Path(wish).is_file()


def _series_wished(wish: Path | str, modality: str, study: Study, contents: Contents) -> str:
    """The key of the series that the user means."""
    paths = {Path(wish), contents.root / wish, Path(wish).absolute()} if str(wish) else set()
    resolved = {path.resolve() for path in paths if path.exists()}
    for series in study.series:
        if str(wish) in (series.key, series.first.series):
            return series.key
        if resolved & {header.path.resolve() for header in series.headers}:
            return series.key
    known = ", ".join(series.key for series in study.series)
    raise UsageError(f"--{modality}: {study.name} has no series or file of this name; its series are {known}")


# ---------------------------------------------------------------- NIfTI


def _survey_loose(images: Sequence[Path], contents: Contents, work: Path, wishes: Wishes, task: Task) -> Survey:
    visits, aside = loose_visits(images, task)
    if len(visits) > 1 and wishes.overrule:
        raise UsageError(
            f"the source holds {len(visits)} visits; a file for a sequence can be given for one visit only"
        )
    done: list[Visit] = []
    left_out = [LeftOut(_label(one, wishes), one.reason) for one in aside]
    problems: list[str] = []
    if not visits:
        raise DataError(f"the source: holds no scan ({'; '.join(f'{one.label} {one.reason}' for one in left_out[:8])})")
    for name, loose in zip(_names(visits, wishes.show_names), visits, strict=True):
        try:
            done.append(_loose_visit(name, loose, contents, work, wishes, task))
        except DataError as error:
            problems.append(str(error))
            left_out.append(LeftOut(name, str(error)))
    if not done:
        raise DataError(problems[0])
    kind = "bids" if any(one.source == "bids" for loose in visits for one in loose.files) else "nifti"
    empty = _folders_without_scans(contents.root, [one.path for loose in visits for one in loose.files])
    notes = (f"{counted(empty, 'folder', 'folders')} gave no scan",) if empty else ()
    return Survey(kind, tuple(done), tuple(left_out), notes, empty)


def _folders_without_scans(root: Path, used: Sequence[Path]) -> int:
    """Number of folders directly in the source with no file of a visit."""
    alive = {folder for path in used for folder in path.parents}
    with suppress(OSError):
        return sum(folder.is_dir() and folder.name[:1] != "." and folder not in alive for folder in root.iterdir())
    return 0


def _names(visits: Sequence[LooseVisit], own: bool) -> list[str]:
    """A name for each visit: its own where that may be shown or is wanted, else `case-3f2a91bc`, a hash of its files.

    The same files give the same name in any folder; of several visits of one name the later ones are numbered.
    """
    names: list[str] = []
    for loose in visits:
        own_name = loose.own if own else loose.name
        if own_name and not why_not_plain(own_name):
            names.append(numbered(own_name, names))
        else:
            names.append(hidden_name([one.path for one in loose.files], names))
    return names


def _loose_visit(name: str, loose: LooseVisit, contents: Contents, work: Path, wishes: Wishes, task: Task) -> Visit:
    if loose.question and not wishes.overrule:
        raise DataError(_question(loose, wishes))
    folder = path_in(work, name)
    folder.mkdir(parents=True, exist_ok=True)
    inside = {_file_wished(wish, modality, loose, contents): modality for modality, wish in wishes.overrule.items()}
    candidates: list[Candidate] = []
    left_out: list[LeftOut] = []
    for one in loose.files:
        label = _label(one, wishes)
        found = guess(one.clues, task)
        modality = inside.get(one.path)
        if modality is None and (one.reason or found.modality == OTHER):
            left_out.append(LeftOut(label, one.reason or found.reason))
            continue
        try:
            candidates.append(_loose_candidate(one, label, folder, found, modality))
        except DataError as error:
            if modality is not None:
                raise
            left_out.append(LeftOut(label, str(error).removeprefix(f"{label}: ")))
    outside = {
        modality: wish for path, modality in inside.items() if path is None for wish in [wishes.overrule[modality]]
    }
    candidates += _outside(replace(wishes, overrule=outside), folder, task)
    return _visit(name, candidates, left_out, task)


def _question(loose: LooseVisit, wishes: Wishes) -> str:
    labels = ", ".join(_label(one, wishes) for one in loose.files if not one.reason)
    return (
        f"{labels}: one sequence each, under different names; is this one patient or several? Put the files of each "
        "patient into a folder of their own, or name the scans of one patient (--t1c FILE --t2f FILE)"
    )


def _label(one: LooseFile, wishes: Wishes) -> str:
    """`file 3 (T1 AX POST GAD)`: files are counted in the order of their names."""
    if wishes.show_names:
        return one.path.name
    words = shown(one.text)
    return f"file {one.number} ({words})" if words else f"file {one.number}"


def _loose_candidate(one: LooseFile, label: str, folder: Path, found: Guess, forced: str | None) -> Candidate:
    path = folder / f"file-{one.number}.nii.gz"
    with errors_by_label(one.path, label):
        grid, notes = clean_copy(one.path, path)
    text = str(one.sidecar.get("Manufacturer", ""))
    field_tesla = one.sidecar.get("MagneticFieldStrength")
    kind = {"3D": True, "2D": False}.get(str(one.sidecar.get("MRAcquisitionType", "")).upper())
    facts = Facts(
        words=shown(*one.clues.texts),
        source=one.source,
        manufacturer=manufacturer(text),
        field_tesla=float(field_tesla) if isinstance(field_tesla, int | float) else None,
        repetition_ms=one.clues.repetition,
        echo_ms=one.clues.echo,
        inversion_ms=one.clues.inversion,
        contrast_agent=one.clues.agent,
        three_d=kind,
        shape=grid.shape,
        spacing=grid.spacing,
    )
    remarks = tuple(by_label(note, one.path, label).removeprefix(f"{label}: ") for note in notes)
    return Candidate(
        key=f"{one.number:06d}", label=label, path=path, grid=grid, clues=one.clues, guess=found, facts=facts,
        warnings=remarks, forced=forced, inputs=(one.path,), subject=subject_beside(one.path),
    )  # fmt: skip


def _file_wished(wish: Path | str, modality: str, loose: LooseVisit, contents: Contents) -> Path | None:
    """The file of the visit that the user means; None: a file outside the source."""
    paths = {Path(wish).resolve(), (contents.root / wish).resolve()}
    for one in loose.files:
        if one.path.resolve() in paths or str(wish) == str(one.number):
            return one.path
    if _is_own_file(wish):
        return None
    raise UsageError(f"--{modality}: there is no such file, neither in the source nor outside it")


def _outside(wishes: Wishes, folder: Path, task: Task) -> list[Candidate]:
    """Files outside the source that the user gave."""
    candidates = []
    for modality, wish in wishes.overrule.items():
        if not _is_own_file(wish):
            continue
        label = f"the file given for {task.titles[modality]}"
        name = bare_name(Path(wish).name)
        one = LooseFile(0, Path(wish), Clues((name,)), {}, "nifti", name)
        made = _loose_candidate(one, label, folder / modality, guess(one.clues, task), modality)
        candidates.append(replace(made, key=modality))
    return candidates


# ---------------------------------------------------------------- both


def _visit(name: str, candidates: Sequence[Candidate], left_out: Sequence[LeftOut], task: Task) -> Visit:
    chosen = choose(candidates, task)
    everything = (*left_out, *chosen.left_out)
    if not chosen.scans:
        said = "; ".join(f"{one.label}: {one.reason}" for one in everything[:8])
        raise DataError(f"{name}: none of its scans can be used ({said}); name one yourself, as --t1c FILE")
    used = {scan.path for scan in chosen.scans.values()}
    for one in candidates:
        if one.path not in used:
            one.path.unlink(missing_ok=True)
    subjects = {one.label: one.subject for one in candidates if one.path in used}
    cautions = cautions_of(subjects, any(one.subject.under_age for one in candidates))
    return Visit(name, chosen.scans, everything, cautions=cautions)
