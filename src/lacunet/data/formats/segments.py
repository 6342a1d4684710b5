"""What the header of a .seg.nrrd of 3D Slicer says of its segments."""

import re
from pathlib import Path

from lacunet.data.formats.content import first_bytes
from lacunet.data.formats.nrrd import MOST_HEADER

_KEY = re.compile(r"Segment(\d{1,5})_(Name|LabelValue):=(.*)")


def segment_names(path: Path) -> dict[int, str]:
    """Name by value (`Segment0_Name:=oedema`, `Segment0_LabelValue:=2`); empty of a file that describes no segments.

    Names are typed by people.

    Args:
        path: A NRRD file whose header was checked.
    """
    head = first_bytes(path, "none", MOST_HEADER).replace(b"\r\n", b"\n").split(b"\n\n")[0]
    said: dict[str, dict[str, str]] = {}
    for line in head.decode("utf-8", "replace").split("\n"):
        if match := _KEY.fullmatch(line):
            said.setdefault(match[1], {})[match[2]] = match[3].strip()
    complete = [one for one in said.values() if "Name" in one and one.get("LabelValue", "").isdecimal()]
    return {int(one["LabelValue"]): one["Name"] for one in complete}
