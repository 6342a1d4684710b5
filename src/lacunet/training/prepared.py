"""Training cases at the training spacing, on disk. Nothing of them stays open or in memory between two crops.

A prepared case is a folder: `images.npy` and `labels.npy`; `voxels-REGION.npy`, where the region's voxels are, for
crops centred on tumour; `facts.json`, what is known without opening these; `content.sha256`, the hash of images and
labels; and `done`, made last.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from lacunet.case import Case, CaseFiles
from lacunet.data.nifti import load_case
from lacunet.data.prepare import Preparation, frame_of, prepare_images, prepare_reference
from lacunet.errors import DataError
from lacunet.files import path_in, whole_file, write_json, write_text
from lacunet.reading import read_json
from lacunet.schema import Strict, fitted
from lacunet.task import Task
from lacunet.training.painting import TissueStatistics
from lacunet.training.parallel import done_in_order
from lacunet.training.ranks import ALONE, Ranks, require_seen

_FORMAT = 3
"""Of the folders: other files in them are another format."""

_ADVICE = "remove its folder, and the case is prepared again"

_TURN = 16
"""Cases that each of several processes prepares, by each of its workers, before they tell each other how it went."""


@dataclass(frozen=True)
class PreparedCase:
    """A training case at the training spacing. Its arrays are opened anew at each use and read from disk in parts.

    Attributes:
        name: The case's name.
        acquired: One truth value per modality of the task.
        folder: Where its files are.
        shape: Of the grid.
        counts: How many voxels each region has, by the name of the region.
        tissues: Of an invented brain, whose `images` are shares of tissues, and which scans are made of at each crop.
    """

    name: str
    acquired: tuple[bool, ...]
    folder: Path
    shape: tuple[int, int, int]
    counts: Mapping[str, int]
    tissues: TissueStatistics | None = None

    @property
    def images(self) -> np.ndarray:
        """Float16, `modality x y z`, normalised; zero where not acquired. Memory-mapped."""
        return opened(self.folder / "images.npy")

    @property
    def labels(self) -> np.ndarray:
        """Labels inside lacunet, `x y z`. Memory-mapped."""
        return opened(self.folder / "labels.npy")

    @property
    def voxels(self) -> tuple[np.ndarray, ...]:
        """The voxels of each region (`region -> n x 3`). Memory-mapped."""
        return tuple(opened(_voxels_file(self.folder, region)) for region in self.counts)

    def voxel(self, region: str, number: int) -> np.ndarray:
        """The indices of one voxel of a region; they are numbered from 0."""
        return np.array(opened(_voxels_file(self.folder, region))[number])

    @property
    def sha256(self) -> str:
        """Of the voxels of images and labels; they are read only if they have changed since it was written down."""
        return _content_hash(self.folder)


def opened(path: Path) -> np.ndarray:
    """An array of a prepared case, memory-mapped until nothing refers to it any more.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return np.asarray(np.load(path, mmap_mode="r"))
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be read as a prepared array; {_ADVICE}") from error


class Facts(Strict):
    """What `facts.json` says of a prepared case, or that there is none.

    Attributes:
        name: Of the case; empty where there is none.
        shape: Of its grid.
        counts: Voxels of each region.
        tissues: Of an invented brain.
    """

    name: str
    shape: tuple[int, int, int] = (0, 0, 0)
    counts: dict[str, int] = Field(default_factory=dict)
    tissues: TissueStatistics | None = None


@dataclass(frozen=True)
class Wanted:
    """A folder of a prepared case that is to be there.

    Attributes:
        folder: Its name changes with everything that its contents depend on.
        write: Writes its files and returns what is known of them; it can be pickled.
    """

    folder: Path
    write: Callable[[Path], Facts]


def prepare_cases(
    cases: Sequence[CaseFiles],
    task: Task,
    preparation: Preparation,
    folder: Path,
    workers: int = 0,
    ranks: Ranks = ALONE,
) -> Iterator[PreparedCase]:
    """Prepare each case once into `folder`; a case whose files or preparation have changed is prepared again.

    Args:
        cases: What is prepared, in this order.
        task: Modalities and regions.
        preparation: Spacing and normalisation.
        folder: Holds one folder per prepared case.
        workers: Processes that prepare cases at the same time; below 2, this one prepares them.
        ranks: Processes of a training, with workers each, that share the cases; all call this, with the same cases.

    Raises:
        LacunetError: a case cannot be read; the first one, in their order.
    """
    wanted = [
        Wanted(
            path_in(folder, files.name, f"-{fingerprint(files, task, preparation)}"),
            partial(_prepare_into, files, task, preparation),
        )
        for files in cases
    ]
    for files, one, facts in zip(cases, wanted, prepare_all(wanted, workers, ranks), strict=True):
        yield prepared_case(facts, task.presence(files.images), one.folder)


def prepared_case(facts: Facts, acquired: tuple[bool, ...], folder: Path) -> PreparedCase:
    """The case in a folder whose facts are known."""
    return PreparedCase(facts.name, acquired, folder, facts.shape, facts.counts, facts.tissues)


def prepare_all(wanted: Sequence[Wanted], workers: int, ranks: Ranks = ALONE) -> Iterator[Facts]:
    """Make the folders that are not there yet; what is known of each, in their order.

    Several processes take turns: in each turn every process makes its share of the next folders, and all learn whether
    that went well. So no process waits longer for the others than a turn takes.

    Raises:
        LacunetError: one cannot be made; the first one, in their order (of several processes, in this turn any).
    """
    if ranks.count == 1:
        yield from _prepared_here(wanted, workers)
        return
    turn = _TURN * max(workers, 1) * ranks.count
    for start in range(0, len(wanted), turn):
        now = wanted[start : start + turn]
        share = now[ranks.rank :: ranks.count]
        ranks.together(partial(_exhausted, share, workers))
        for one in now:
            require_seen(one.folder / "done")
            yield _facts(one.folder)


def _exhausted(wanted: Sequence[Wanted], workers: int) -> None:
    for _ in _prepared_here(wanted, workers):
        pass


def _prepared_here(wanted: Sequence[Wanted], workers: int) -> Iterator[Facts]:
    missing = [one for one in wanted if not (one.folder / "done").is_file()]
    made = done_in_order(_make, missing, workers)
    folders = {one.folder for one in missing}
    for one in wanted:
        if one.folder in folders:
            next(made)
        yield _facts(one.folder)


def write_prepared(case: Case, task: Task, preparation: Preparation, folder: Path) -> Facts:
    """Write the arrays of a case with a reference; what `Wanted.write` returns."""
    frame = frame_of(case, case.acquired(task), preparation)
    labels = prepare_reference(case, task, frame).numpy()
    write_array(folder / "images.npy", prepare_images(case, task, preparation, frame).numpy().astype(np.float16))
    write_array(folder / "labels.npy", labels)
    counts = {}
    for region, members in task.regions.items():
        voxels = np.argwhere(np.isin(labels, members)).astype(np.int16)
        write_array(_voxels_file(folder, region), voxels)
        counts[region] = len(voxels)
    x, y, z = labels.shape
    return Facts(name=case.name, shape=(x, y, z), counts=counts)


def write_array(path: Path, array: np.ndarray) -> None:
    """An array as a file, whole or not at all."""
    with whole_file(path) as temporary:
        np.save(temporary, array)


def fingerprint(files: CaseFiles, task: Task, preparation: Preparation) -> str:
    """Changes with the files (name, size, time of change), the label convention, the task and the preparation."""
    images = dict(files.images) if files.reference is None else {**files.images, "reference": files.reference}
    stamps = {key: [*_stamp(image.path), image.volume] for key, image in images.items()}
    return hashed(task, preparation, {"files": stamps, "convention": files.convention})


def hashed(task: Task, preparation: Preparation, facts: Mapping[str, Any]) -> str:
    """Sixteen letters that change with the task, the preparation, these facts and the format of prepared cases."""
    everything = {
        **facts,
        "modalities": task.modalities,
        "regions": task.regions,
        "preparation": asdict(preparation),
        "format": _FORMAT,
    }
    return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()[:16]


def _prepare_into(files: CaseFiles, task: Task, preparation: Preparation, folder: Path) -> Facts:
    return write_prepared(load_case(files, task), task, preparation, folder)


def _make(wanted: Wanted) -> None:
    facts = wanted.write(wanted.folder)
    write_json(wanted.folder / "facts.json", facts.model_dump(mode="json"))
    if facts.name:
        _content_hash(wanted.folder)  # now, when the voxels need not be read from the disk
    (wanted.folder / "done").touch()


def _content_hash(folder: Path) -> str:
    """The hash that is kept beside the arrays, written anew if it is missing or older than they are."""
    kept, arrays = folder / "content.sha256", [folder / "images.npy", folder / "labels.npy"]
    try:
        if kept.is_file() and kept.stat().st_mtime_ns >= max(path.stat().st_mtime_ns for path in arrays):
            return kept.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise DataError(f"{kept}: cannot be read; {_ADVICE}") from error
    digest = hashlib.sha256()
    for path in arrays:
        digest.update(np.ascontiguousarray(opened(path)).data)
    write_text(kept, digest.hexdigest() + "\n")
    return digest.hexdigest()


def _facts(folder: Path) -> Facts:
    path = folder / "facts.json"
    return fitted(Facts, read_json(path, DataError, _ADVICE), str(path), DataError, _ADVICE)


def _voxels_file(folder: Path, region: str) -> Path:
    return path_in(folder, f"voxels-{region}", ".npy")


def _stamp(path: Path) -> tuple[str, int, int]:
    status = path.stat()
    return str(path), status.st_size, status.st_mtime_ns
