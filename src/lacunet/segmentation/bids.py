"""What a BIDS derivative says of itself: the files at its top, and where each mask lies and what it was made from.

Names of files are in `layout.py`. The official validator is run over such a folder in tests/segmentation/test_bids.py.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lacunet.data.pseudonyms import may_show_file
from lacunet.data.source_table import FILE_NAME as SOURCES
from lacunet.data.source_table import SourceRow
from lacunet.errors import DataError, OutputError
from lacunet.files import write_json, write_text
from lacunet.reading import is_file, read_json
from lacunet.segmentation.layout import RESULTS_TABLE, Places, sidecar_of
from lacunet.task import Subset, Task

BIDS_VERSION = "1.10.0"
DESCRIPTION = "dataset_description.json"

_SOURCE = "source"
"""What the data set of the scans is called in BIDS URIs: `bids:source:sub-01/anat/sub-01_T1w.nii.gz`."""

_SCAN = re.compile(
    r"(?:^|/)((sub-[0-9A-Za-z]+)/(?:ses-[0-9A-Za-z]+/)?[a-z]+/"
    r"\2_(?:[a-z]+-[0-9A-Za-z+]+_)*[0-9A-Za-z]+\.nii(?:\.gz)?)$"
)
"""The path of a scan as BIDS has it, from its subject on; no other path is written."""

_IGNORED = (SOURCES, RESULTS_TABLE, "*.html", "*_xfm.json")
"""`sources.csv` is private; BIDS has no names for tables of results, pages and motions."""

_README = """# Masks of brain tumours made by lacunet

Each case has a mask (`*_desc-lacunet_dseg.nii.gz`), a record beside it (`.json`: volumes in ml, ranges, warnings,
provenance) and a page with pictures (`sub-*.html`). `desc-lacunet_dseg.tsv` says what the integers of the masks mean.

A mask without `space-` lies on the grid of the scans where these had no skull and one grid already. Else it lies on the
grid that import made (`*_desc-lacunet_xfm.json` has the motions), and `space-t1c` and the like are masks on the grid of
that scan as it was given.

lacunet is research software, not a medical device. `sources.csv` names files as they are: do not send it on. DICOM
objects in `derivatives/dicom-seg`, if there are any, hold the name and number of the patient.
"""


@dataclass(frozen=True)
class SourceDataset:
    """The BIDS data set that the scans come from.

    Attributes:
        link: A URI by which it is found: relative to the derivative, or a DOI; "" where none may be shown.
        doi: As its description gives it; "" without one.
    """

    link: str
    doi: str = ""


def source_dataset(dataset: Path, derivative: Path, show_names: bool = False) -> SourceDataset | None:
    """What a derivative may say of the data set that it was made from; None where the folder is no BIDS data set.

    The folder is named by its way from the derivative, where no part of this may be a person's name.

    Args:
        dataset: The folder of the data set.
        derivative: The folder of the results.
        show_names: Show all names of folders.
    """
    if not is_file(dataset / DESCRIPTION):
        return None
    try:
        said = read_json(dataset / DESCRIPTION, DataError, "")
    except DataError:
        said = {}
    doi = said.get("DatasetDOI") if isinstance(said, dict) else None
    doi = doi.strip() if isinstance(doi, str) and re.fullmatch(r"\s*[!-~]{3,200}\s*", doi) else ""
    return SourceDataset(_way(dataset, derivative, show_names) or _uri_of(doi), doi)


def _way(dataset: Path, derivative: Path, show_names: bool) -> str:
    """From the derivative to the data set, as `../..`; "" where a part of it may be a person's name."""
    try:
        way = Path(os.path.relpath(dataset.resolve(), derivative.resolve()))
    except ValueError:  # on several drives
        return ""
    return way.as_posix() if show_names or all(part == ".." or may_show_file(part) for part in way.parts) else ""


def _uri_of(doi: str) -> str:
    return doi if not doi or re.match(r"[a-z]+:", doi) else f"doi:{doi}"


def begin_bids(folder: Path, task: Task, disk: Mapping[str, int], source: SourceDataset | None = None) -> None:
    """Write the top of a BIDS derivative: its description, and what the integers of its masks mean.

    Args:
        folder: The derivative.
        task: Names the labels.
        disk: Name of a label -> its integer on disk.
        source: What the scans come from.

    Raises:
        OutputError: another program's data set is in the folder.
    """
    _refuse_another(folder)
    made_by = {"Name": "lacunet", "Version": version("lacunet"), "Description": "Masks from whichever MRI sequences"}
    description: dict[str, Any] = {
        "Name": f"lacunet: masks of {task.name}",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [made_by],
        "HowToAcknowledge": "Cite lacunet, and the paper of the method (`lacunet methods` names it).",
    }
    if source and source.link:
        described = {"URL": source.link} | ({"DOI": source.doi} if source.doi else {})
        description |= {"SourceDatasets": [described], "DatasetLinks": {_SOURCE: source.link}}
    write_json(folder / DESCRIPTION, description)
    rows = ["index\tname", "0\tbackground", *(f"{value}\t{label}" for label, value in disk.items())]
    write_text(folder / "desc-lacunet_dseg.tsv", "\n".join(rows) + "\n")
    write_json(folder / "desc-lacunet_dseg.json", {"Description": f"Mask of {task.name}, by a neural network"})
    write_text(folder / ".bidsignore", "".join(f"{name}\n" for name in _IGNORED))
    if not (folder / "README.md").exists():
        write_text(folder / "README.md", _README)


def _refuse_another(folder: Path) -> None:
    """Results go into no data set of another program: its description would be lost."""
    path = folder / DESCRIPTION
    if not path.exists():
        return
    said = read_json(path, OutputError, "choose another folder for the results")
    makers = said.get("GeneratedBy") if isinstance(said, dict) else None
    names = [maker.get("Name") for maker in makers if isinstance(maker, dict)] if isinstance(makers, list) else []
    if "lacunet" not in names:
        raise OutputError(
            f"{folder}: holds a BIDS data set that lacunet did not make, whose {DESCRIPTION} would be replaced; "
            "choose another folder for the results, such as derivatives/lacunet inside it"
        )


def about_mask(
    at: Places, rows: Sequence[SourceRow], used: Subset, imported: bool, source: SourceDataset | None
) -> dict[str, Any]:
    """Of the mask on the case's own grid: which image shows this grid, and which scans it was made from. Its sidecar is
    the case's record, with these keys (`record.SidecarRecord`) added.

    Args:
        at: The files of the case.
        rows: Whose it is.
        used: The modalities that the model saw.
        imported: Whether import made the grid; then no scan shows it, and the mask itself is named.
        source: What the scans come from.
    """
    own = f"bids::{at.mask.relative_to(at.page.parent).as_posix()}"
    paths = _uris(rows, used, source)
    return _about(own if imported else paths.get(used[0], "orig"), paths)


def about_native(
    rows: Sequence[SourceRow], modality: str, used: Subset, source: SourceDataset | None
) -> dict[str, Any]:
    """Of the mask on the grid of one scan as it was given; see `about_mask`."""
    return _about(_uris(rows, (modality,), source).get(modality, "orig"), _uris(rows, used, source))


def write_sidecar(image: Path, said: Mapping[str, Any]) -> None:
    """Write what is said of an image beside it.

    Raises:
        OutputError: it cannot be written.
    """
    write_json(sidecar_of(image), dict(said))


def _about(reference: str, paths: Mapping[str, str]) -> dict[str, Any]:
    return {"SpatialReference": reference} | ({"Sources": list(paths.values())} if paths else {})


def _uris(rows: Sequence[SourceRow], wanted: Sequence[str], source: SourceDataset | None) -> dict[str, str]:
    """By modality, the BIDS URI of its scan; without those that do not lie in a linked BIDS data set."""
    if source is None or not source.link:
        return {}
    found = {}
    for row in rows:
        path = _SCAN.search(f"{Path(row.source).as_posix()}/{row.files[0]}") if row.files else None
        if path and row.role in wanted:
            found[row.role] = f"bids:{_SOURCE}:{path[1]}"
    return {modality: found[modality] for modality in wanted if modality in found}
