"""Takes names of files and folders out of messages, where they may be a person's.

Messages are made where something is wrong, with the name of the file. They pass through here where they leave the
reading of a case: a file is then called by its role (`t1c`), or by its number and the words that name a sequence
(`file 3 (T1 … KM)`).
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from lacunet.case import CaseFiles
from lacunet.data.called import replaced
from lacunet.data.find import case_from_files, survey_all
from lacunet.data.names import SUFFIXES, bare_name
from lacunet.data.pseudonyms import hidden_name, is_pseudonym, may_show_file, named_cases
from lacunet.data.source_table import SourceRow, common_folder, relative, sha256_of
from lacunet.data.tree import PassedOver
from lacunet.data.words import HIDDEN, shown
from lacunet.errors import LacunetError, Problem
from lacunet.task import Task


def names_of_files(files: CaseFiles) -> dict[Path, str]:
    """What each file of a case is called in texts: its own name where that may be shown, else its role."""
    roles: dict[Path, list[str]] = {}
    for modality, image in files.images.items():
        roles.setdefault(image.path, []).append(modality)
    if files.reference is not None:
        roles.setdefault(files.reference.path, []).append("the reference")
    return {
        path: path.name if files.names_shown or may_show_file(path.name) else "+".join(parts)
        for path, parts in roles.items()
    }


def without_names(text: str, files: CaseFiles) -> str:
    """A text about a case, in which no file has a name that may be a person's, and no folder is named."""
    return text if files.names_shown else replaced(text, _spellings_of(names_of_files(files)))


@contextmanager
def errors_without_names(files: CaseFiles) -> Iterator[None]:
    """Errors within the block leave it as `without_names` gives them, of the same kind."""
    try:
        yield
    except LacunetError as error:
        raise type(error)(without_names(str(error), files)) from None


@dataclass(frozen=True)
class Surveyed:
    """The cases of some sources, under names that may be shown.

    Attributes:
        cases: See `pseudonyms.named_cases`.
        problems: Cases that cannot be read.
        questions: Cases whose reference the user must name.
        left_out: Files and folders that are not used; their labels and reasons name nobody.
        rows: For `sources.csv`: which files the problems are about, and what is left out.
    """

    cases: Sequence[CaseFiles]
    problems: Sequence[Problem] = ()
    questions: Sequence[Problem] = ()
    left_out: Sequence[PassedOver] = ()
    rows: Sequence[SourceRow] = ()


def survey_named(sources: Sequence[Path], task: Task, show_names: bool = False, labels: str | None = None) -> Surveyed:
    """`find.survey_all` with names that may be shown, of cases and in every message.

    Args:
        sources: Folders and manifests.
        task: Says which modalities there are.
        show_names: Show all names.
        labels: The convention of all references, by name.

    Raises:
        DataError: see `survey_all`.
        UsageError: `labels` is no convention of the task.
    """
    try:
        found = survey_all(sources, task, labels)
    except LacunetError as error:
        if show_names:
            raise
        raise type(error)(_Below.of(sources).cleaned(str(error))) from None
    left_rows = [_row_left_out(one, sources) for one in found.left_out]
    cases = named_cases(found.cases, show_names)
    if not (found.problems or found.questions or found.left_out):
        return Surveyed(cases)
    below = _Below.of(sources)  # once: it looks at every file
    if show_names:
        rows = [below.row(one, one.case) for one in found.problems]
        return Surveyed(cases, found.problems, found.questions, found.left_out, [*rows, *left_rows])
    problems = [below.problem(one) for one in found.problems]
    rows = [below.row(was, one.case) for was, one in zip(found.problems, problems, strict=True)]
    questions = [below.problem(one) for one in found.questions]
    reasons = {reason: below.cleaned(reason) for reason in {one.reason for one in found.left_out}}
    left_out = [replace(below.left_out(one), reason=reasons[one.reason]) for one in found.left_out]
    return Surveyed(cases, problems, questions, left_out, [*rows, *left_rows])


def _row_left_out(one: PassedOver, sources: Sequence[Path]) -> SourceRow:
    source = next((source for source in sources if one.path.is_relative_to(source)), one.path.parent)
    return SourceRow("", str(source.absolute()), files=(relative(one.path, source),), reason=one.reason)


def case_given(files: Mapping[str, Path], name: str, task: Task, show_names: bool = False) -> CaseFiles:
    """`find.case_from_files`, whose messages name no file that may be called after a person.

    Raises:
        DataError: see `case_from_files`.
    """
    try:
        return replace(case_from_files(files, name, task), names_shown=show_names)
    except LacunetError as error:
        if show_names:
            raise
        labels = {
            path: path.name if may_show_file(path.name) else f"the file for {word}" for word, path in files.items()
        }
        raise type(error)(replaced(str(error), _spellings_of(labels))) from None


@dataclass(frozen=True)
class _Below:
    """Everything below some sources.

    Attributes:
        sources: What the user named.
        labels: Image -> `file 3 (T1 … KM)`, counted over all sources; folder or other file -> other words.
        spellings: Every way in which a message may name one of these -> its label.
        names: Parts of names of files and folders that may be a person's.
    """

    sources: Sequence[Path]
    labels: Mapping[Path, str]
    spellings: Mapping[str, str]
    names: Sequence[str]

    @classmethod
    def of(cls, sources: Sequence[Path]) -> "_Below":
        """Look below each source. One that is not there is named as the user typed it."""
        sources = [source for source in sources if source.exists()]
        labels: dict[Path, str] = {}
        names: set[str] = set()
        images = 0
        for path in (path for source in sources for path in _everything(source)):
            if path.name.lower().endswith(SUFFIXES):
                images += 1
                words = shown(bare_name(path.name))
                label = f"file {images} ({words})" if words else f"file {images}"
                labels[path] = path.name if may_show_file(path.name) else label
            else:
                labels[path] = path.name if may_show_file(path.name) else "a file or folder of the source"
            names.update(part for part in _beginnings(bare_name(path.name)) if not may_show_file(part))
        labels |= {source: f"source {number}" for number, source in enumerate(sources, 1)}
        labels |= {source: "the source" for source in sources[:1] if len(sources) == 1}
        return cls(sources, labels, _spellings_of(labels), sorted(names))

    def cleaned(self, text: str, also: Mapping[str, str] = MappingProxyType({})) -> str:
        """A text without the names of what is below the sources; `also` has more that is replaced."""
        text = replaced(text, {**self.spellings, **also})
        for source in self.sources:  # what is not there, as a manifest may name it
            folder = re.escape(str(source if source.is_dir() else source.parent))
            text = re.sub(rf"{folder}[/\\].*?(?=: |; | and |, |$)", "a file of the source", text)
        return replaced(text, dict.fromkeys(self.names, HIDDEN))

    def left_out(self, one: PassedOver) -> PassedOver:
        """The same with a label that names nobody."""
        parts = [part for part in one.label.split("/") if part]
        shown_label = one.label if all(map(may_show_file, parts)) else self.labels.get(one.path, "a file of the source")
        return replace(one, label=shown_label)

    def about(self, problem: Problem) -> list[Path]:
        """The files that a problem names."""
        return [path for path in self.labels if str(path) in problem.message and path.is_file()]

    def row(self, problem: Problem, case: str) -> SourceRow:
        """For `sources.csv`: the files of a problem, as they are called; `case` is the name that is shown."""
        about = self.about(problem)
        source = common_folder(about) if about else next(iter(self.sources), Path())
        files = tuple(relative(path, source) for path in about)
        return SourceRow(case, str(source), files=files, sha256=sha256_of(about), reason=problem.message)

    def problem(self, problem: Problem) -> Problem:
        """A problem without such names; its case is called after the contents of the files that the message names."""
        about = self.about(problem)
        named = any(_has_manifest(source) for source in self.sources) or is_pseudonym(problem.case)
        case = problem.case if named else hidden_name(about) if about else "a case"
        return Problem(case, self.cleaned(problem.message, {problem.case: case}))


def _has_manifest(source: Path) -> bool:
    return source.suffix.lower() == ".csv" or (source / "manifest.csv").is_file()


def _everything(source: Path) -> Iterator[Path]:
    """A source, and the files and folders below it, each folder once."""
    yield source
    seen: set[Path] = set()
    for folder, folders, files in os.walk(source, followlinks=True):
        here = Path(folder)
        if here.resolve() in seen:
            folders.clear()
            continue
        seen.add(here.resolve())
        folders.sort()
        yield from (here / name for name in sorted((*folders, *files)))


def _beginnings(name: str) -> Iterator[str]:
    """The parts of a name from its start to each separator, and the whole."""
    yield name
    yield from (name[: match.start()] for match in re.finditer(r"[-_. ]", name) if match.start())


def _spellings_of(labels: Mapping[Path, str]) -> dict[str, str]:
    """Every way in which a message may name a path -> what is said instead."""
    spellings: dict[str, str] = {}
    for path, label in labels.items():
        for whole in {str(path), str(path.absolute()), str(path.resolve())}:
            if os.sep in whole or not may_show_file(whole):
                spellings.setdefault(whole, label)
        for short in (path.name, bare_name(path.name)):
            if label != path.name and not may_show_file(short):
                spellings.setdefault(short, label)
    return spellings


def all_without_names(texts: Sequence[str], files: CaseFiles) -> tuple[str, ...]:
    """`without_names` of several texts."""
    return tuple(without_names(text, files) for text in texts)
