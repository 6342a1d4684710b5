"""Where the results of a case lie: a folder per case, or a BIDS derivative."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lacunet.errors import DataError, OutputError
from lacunet.files import path_in
from lacunet.reading import is_file, is_folder

Layout = Literal["plain", "bids"]

RECORD = "case.json"
"""In the folder of a case: what is known of it, for programs. In a BIDS derivative this is the sidecar of the mask."""

RESULTS_TABLE = "results.csv"
COHORT_PAGE = "cohort.html"
"""Beside the results of several cases."""

_SEGMENTED = "_desc-lacunet_dseg"
"""In BIDS the name of a case's mask, behind its subject and session."""
SUBJECT = re.compile(r"sub-[0-9A-Za-z]+(_ses-[0-9A-Za-z]+)?")


@dataclass(frozen=True)
class Places:
    """The files of one case.

    Attributes:
        folder: Where a person finds the results.
        mask: Labels, on the grid of the scans.
        page: For people.
        record: For programs; written last, so that it says that the case is done.
        stem: How the names of the other files in the mask's folder begin.
        layout: `plain` or `bids`.
        table: The folder of the `sources.csv` that says whose case it is: the output folder, or one of a worker.
    """

    folder: Path
    mask: Path
    page: Path
    record: Path
    stem: str
    layout: Layout
    table: Path

    def probability(self, region: str) -> Path:
        """The map of one region."""
        name = f"_label-{region.upper()}_probseg" if self.layout == "bids" else f"-probability-{region}"
        return path_in(self.mask.parent, self.stem, f"{name}.nii.gz")

    def native_mask(self, modality: str) -> Path:
        """Labels on the grid of one scan as it was before import."""
        name = f"_space-{modality}{_SEGMENTED}" if self.layout == "bids" else f"-mask-on-{modality}"
        return path_in(self.mask.parent, self.stem, f"{name}.nii.gz")

    def dicom(self, modality: str) -> Path:
        """The DICOM segmentation of one scan. BIDS has no name for it, and leaves a folder `derivatives` free."""
        if self.layout == "plain":
            return path_in(self.mask.parent, self.stem, f"-mask-on-{modality}.dcm")
        folder = self.page.parent.joinpath("derivatives", "dicom-seg", *self.stem.split("_"))
        return path_in(folder, self.stem, f"_space-{modality}{_SEGMENTED}.dcm")

    @property
    def imported(self) -> Path:
        """What import did to the scans: every motion, every judgement."""
        name = f"{self.stem}_desc-lacunet_xfm.json" if self.layout == "bids" else "import.json"
        return self.mask.parent / name


def sidecar_of(image: Path) -> Path:
    """Where BIDS wants what is said of an image."""
    return image.with_name(image.name.removesuffix(".nii.gz") + ".json")


def places(folder: Path, name: str, layout: Layout = "plain") -> Places:
    """Where the results of a case of this name go.

    Raises:
        DataError: the name is not a plain one (`files.plain_name`), or has nothing that BIDS allows in a name.
    """
    own = path_in(folder, name)
    if layout == "bids":
        return _bids(folder, bids_name(name))
    return Places(own, path_in(own, name, "-mask.nii.gz"), own / "report.html", own / RECORD, name, layout, folder)


def _bids(folder: Path, stem: str) -> Places:
    anatomy = folder.joinpath(*stem.split("_"), "anat")
    segmented = f"{stem}{_SEGMENTED}"
    return Places(
        folder=anatomy,
        mask=anatomy / f"{segmented}.nii.gz",
        page=folder / f"{stem}.html",
        record=anatomy / f"{segmented}.json",
        stem=stem,
        layout="bids",
        table=folder,
    )


def record_in(folder: Path) -> Path | None:
    """The record of a finished case in its folder, in either layout; None where there is none.

    Args:
        folder: Of one case: `OUT/CASE`; in a BIDS derivative `OUT/sub-01/ses-1`, or the `anat` in it.

    Raises:
        DataError: the folder holds several cases.
    """
    found = _records_in(folder)
    if len(found) > 1:
        raise DataError(f"{folder}: holds {len(found)} cases; name the folder of one")
    return found[0] if found else None


def _records_in(folder: Path) -> list[Path]:
    """Sidecars of masks on other grids (`space-`) are no records."""
    if is_file(folder / RECORD):
        return [folder / RECORD]
    if not is_folder(folder):
        return []
    sidecars = [*folder.glob(f"*{_SEGMENTED}.json"), *folder.glob(f"anat/*{_SEGMENTED}.json")]
    return sorted(path for path in sidecars if SUBJECT.fullmatch(path.name.removesuffix(f"{_SEGMENTED}.json")))


def bids_name(name: str) -> str:
    """`sub-01_ses-2` stays; of any other name the letters and digits become the subject: `sub-BraTSGLI00000000`.

    Raises:
        DataError: the name has neither letters nor digits of ASCII.
    """
    if SUBJECT.fullmatch(name):
        return name
    kept = re.sub(r"[^0-9A-Za-z]", "", name.removeprefix("sub-"))
    if not kept:
        raise DataError(f"case name '{name}': BIDS names have letters and digits of ASCII only; rename the case")
    return f"sub-{kept}"


def require_apart(names: Iterable[str], layout: Layout) -> None:
    """Refuse two cases that would have the same result files. A name that `places` refuses has none.

    Raises:
        DataError: BIDS would give both the same name.
    """
    taken: dict[str, str] = {}
    for name in names if layout == "bids" else ():
        try:
            subject = bids_name(name)
        except DataError:
            continue
        other = taken.setdefault(subject, name)
        if other != name:
            raise DataError(f"cases {other} and {name} would both be {subject} in BIDS; rename one")


def refuse_to_replace(result: Path) -> None:
    """A result is replaced only when the user asks.

    Raises:
        OutputError: it is there.
    """
    if result.exists():
        raise OutputError(
            f"{result}: exists already; continue with --resume, replace it with --overwrite, or choose another folder"
        )
