"""Images in two files: `scan.hdr` with the header, `scan.img` with the voxels."""

from pathlib import Path

HEADERS = (".hdr", ".hdr.gz")
VOXELS = (".img", ".img.gz")


def voxels_beside(header: Path) -> Path | None:
    """The `.img` that belongs to a `.hdr`; None where there is none."""
    return _beside(header, HEADERS, VOXELS)


def header_beside(voxels: Path) -> Path | None:
    """The `.hdr` that belongs to a `.img`; None where there is none."""
    return _beside(voxels, VOXELS, HEADERS)


def files_of(path: Path) -> tuple[Path, ...]:
    """All files of an image: the file itself, and the `.img` of a `.hdr`."""
    other = voxels_beside(path)
    return (path,) if other is None else (path, other)


def _beside(path: Path, suffixes: tuple[str, ...], others: tuple[str, ...]) -> Path | None:
    for suffix in suffixes:
        if path.name.lower().endswith(suffix):
            bare = path.name[: -len(suffix)]
            names = [bare + spelling for other in others for spelling in (other, other.upper())]
            return next((path.with_name(name) for name in names if path.with_name(name).is_file()), None)
    return None
