"""The account of a source: every file and folder that is not used, with its reason."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from lacunet.data.formats.pairs import files_of
from lacunet.data.formats.unread import why_unreadable
from lacunet.data.names import SUFFIXES, bare_name
from lacunet.data.tree import PassedOver, Tree, label_of

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".7z", ".rar")


COUNTED = ("is no image", "is hidden")
"""Reasons whose files are counted, not listed one by one, where a person reads the account."""


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
    sidecars |= {part for path in used for part in files_of(path)}
    left = [
        PassedOver(path, reasons.get(path) or reason_of(path), label_of(path, tree.root))
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
    if reason := why_unreadable(path):
        return reason
    if _is_dicom(path):
        return "is DICOM; give its folder to lacunet import"
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
    homes = {path.parent for path in used}
    alive = homes | {folder for home in homes for folder in home.parents}
    dead = [folder for folder in tree.folders if folder not in alive]
    topmost = [folder for folder in dead if folder.parent == tree.root or folder.parent in alive]
    return [
        PassedOver(folder, f"gave no case: {_held_by(folder, left)}", label_of(folder, tree.root)) for folder in topmost
    ]


def _held_by(folder: Path, left: Sequence[PassedOver]) -> str:
    reasons = Counter(one.reason for one in left if folder in one.path.parents)
    if not reasons:
        return "it holds no file"
    said = [f"{counted_files(count)}: {reason}" for reason, count in reasons.most_common(3)]
    return "; ".join(said)


def in_short(left_out: Sequence[PassedOver], most: int | None = None) -> list[str]:
    """Lines for a person: each file and folder with its reason; hidden files and files of other kinds are counted.

    Args:
        left_out: What is not used.
        most: At most so many lines of one reason, then how many more there are; None: all.
    """
    lines = []
    by_reason: dict[str, list[PassedOver]] = defaultdict(list)
    for one in left_out:
        by_reason[one.reason].append(one)
    for reason, members in by_reason.items():
        shown = [] if reason in COUNTED else members[:most]
        lines += [f"{one.label}: {reason}" for one in shown]
        if rest := len(members) - len(shown):
            more = f"{rest} more" if shown else counted_files(rest)
            lines.append(f"{more}: {reason}")
    return lines


def counted_files(count: int) -> str:
    """`1 file`, `2 files`."""
    return f"{count} {'file' if count == 1 else 'files'}"
