"""The account of a source: every file and folder that is not used, with its reason."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from lacunet.data.names import SUFFIXES, bare_name
from lacunet.data.tree import PassedOver, Tree

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".7z", ".rar")


def account_of(tree: Tree, used: Collection[Path], reasons: Mapping[Path, str]) -> tuple[PassedOver, ...]:
    """Every file below a folder that is not used, and the topmost folders in which nothing is used.

    Args:
        tree: What lies below the folder.
        used: The files that are scans or references of a case.
        reasons: Why an image is not used, where its name tells.

    Returns:
        In the order of paths; sidecars of used images are not listed.
    """
    sidecars = {path.with_name(bare_name(path.name) + ".json") for path in used}
    left = [
        PassedOver(path, reasons.get(path) or reason_of(path))
        for path in tree.files
        if path not in used and path not in sidecars
    ]
    everything = [*tree.passed, *left, *_empty_folders(tree, used, left)]
    return tuple(sorted(everything, key=lambda one: one.path))


def reason_of(path: Path) -> str:
    """Why a file is not used, by what it is."""
    name = path.name.lower()
    if name.endswith(SUFFIXES):
        return "is not taken for any case"
    if _is_dicom(path):
        return "is DICOM; lacunet import reads it"
    if name.endswith(ARCHIVES):
        return "is an archive; lacunet import reads it, or unpack it"
    return "is no image"


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _empty_folders(tree: Tree, used: Collection[Path], left: Sequence[PassedOver]) -> list[PassedOver]:
    """The topmost folders without a used file, and what they hold instead."""
    alive = {folder for path in used for folder in path.parents}
    dead = [folder for folder in tree.folders if folder not in alive]
    topmost = [folder for folder in dead if folder.parent == tree.root or folder.parent in alive]
    return [PassedOver(folder, f"gave no case: {_held_by(folder, left)}") for folder in topmost]


def _held_by(folder: Path, left: Sequence[PassedOver]) -> str:
    reasons = Counter(one.reason for one in left if folder in one.path.parents)
    if not reasons:
        return "it holds no file"
    said = [f"{count} {'file' if count == 1 else 'files'}: {reason}" for reason, count in reasons.most_common(3)]
    return "; ".join(said)


def in_short(left_out: Sequence[PassedOver], root: Path) -> list[str]:
    """Lines for a person: each image and folder by itself, files of other kinds counted by reason."""
    lines = []
    counted: Counter[str] = Counter()
    for one in left_out:
        if one.reason in ("is no image", "is hidden"):
            counted[one.reason] += 1
        else:
            lines.append(f"{_relative(one.path, root)}: {one.reason}")
    for reason, count in counted.items():
        lines.append(f"{count} {'file' if count == 1 else 'files'}: {reason}")
    return lines


def _relative(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else path.name
