"""DICOM series with one damaged file, read as `import` reads headers and as a DICOM SEG refers to them."""

import zlib
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

from fuzz import samples
from fuzz.elements import any_element
from fuzz.formats import Format, every_step
from fuzz.mutate import any_bytes, inside
from lacunet.errors import DataError
from lacunet.intake.identify.clues import guess
from lacunet.intake.read.convert import expected_grid
from lacunet.intake.read.header import Header
from lacunet.intake.read.quiet import silently
from lacunet.intake.read.study import choose_study, clues_of, read_pile, reason_against, require_one_person, studies_of
from lacunet.segmentation.dicom_source import read_source
from lacunet.task import GLIOMA


def _read_dicom(folder: Path, output: Path, name: str) -> None:
    """As `import` reads the headers of a series of which one is damaged, and as a DICOM SEG refers to that one."""
    pile = read_pile([folder / name])
    headers = (*_good_headers(tuple(path for path in sorted(folder.iterdir()) if path.name != name)), *pile.headers)
    every_step(lambda: _survey(headers), lambda: _refer_to(folder / name))
    if pile.damaged or not pile.headers:
        raise DataError("; ".join(pile.damaged) or "no DICOM")


def _survey(headers: Sequence[Header]) -> None:
    require_one_person(headers)
    study, _ = choose_study(studies_of(headers), None, GLIOMA)
    for series in study.series:
        if reason_against(series, GLIOMA) is None:
            guess(clues_of(series), GLIOMA)
            expected_grid(series)


@cache
def _good_headers(paths: tuple[Path, ...]) -> tuple[Header, ...]:
    return read_pile(paths).headers


def _refer_to(path: Path) -> None:
    try:
        with silently():
            read_source([path])
    except (AttributeError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise DataError("as write_dicom_seg says of headers that lack something") from error


_META_END = 128 + 4


def _inflate(content: bytes) -> bytes:
    """A deflated DICOM file with its data set inflated."""
    end = _end_of_meta(content)
    return content[:end] + zlib.decompress(content[end:], -15)


def _deflate(content: bytes) -> bytes:
    end = _end_of_meta(content)
    machine = zlib.compressobj(1, zlib.DEFLATED, -15)
    return content[:end] + machine.compress(content[end:]) + machine.flush()


def _end_of_meta(content: bytes) -> int:
    """Where the data set begins: the meta information states its own length in its first element."""
    return min(_META_END + 12 + int.from_bytes(content[_META_END + 8 : _META_END + 12], "little"), len(content))


def dicom_formats() -> list[Format]:
    """In the order of the table."""
    plain = (any_element(False), any_element(False), any_bytes)
    implicit = (any_element(True), any_element(True), any_bytes)
    ways = {
        "classic": plain,
        "implicit": implicit,
        "enhanced": plain,
        "deflated": (*(inside(_inflate, _deflate, way) for way in plain), any_bytes),
    }
    return [
        Format(
            f"DICOM, {how}", partial(samples.write_dicom, how=how), partial(_read_dicom, name=name), {name: way}
        )
        for how, way in ways.items()
        for name in [f"004-{'enhanced' if how == 'enhanced' else '003'}.dcm"]
    ]  # fmt: skip
