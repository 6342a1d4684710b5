"""The layout of the Medical Segmentation Decathlon (Task01_BrainTumour): one 4-D file per case, and dataset.json.

nnU-Net's layout, which splits the 4-D file into `<case>_0000.nii.gz` and so on, is read too.
"""

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lacunet.case import CaseFiles, ImageFile
from lacunet.data.groups import is_scan
from lacunet.data.names import SUFFIXES, bare_name, in_task_order, modality_or_none, person_of, read_name
from lacunet.data.tree import read_tree
from lacunet.errors import DataError
from lacunet.task import Task


def read_msd(source: Path, task: Task, labels: str | None) -> list[CaseFiles]:
    """The cases of such a folder. dataset.json says which channel is which modality; it is never assumed.

    Raises:
        DataError: a part of the layout is missing, or dataset.json does not name the channels.
    """
    description = source / "dataset.json"
    if not description.is_file() or not (source / "imagesTr").is_dir():
        raise DataError(
            f"{source}: looks like a Medical Segmentation Decathlon folder, but is incomplete; it needs both "
            "dataset.json, which gives the order of the channels, and imagesTr; for other layouts move these away"
        )
    if others := [path for path in source.iterdir() if path.is_dir() and _understood_below(path, task)]:
        raise DataError(
            f"{source}: has dataset.json and imagesTr, and {others[0].name} with scans named as in BraTS; "
            "which one is meant is unclear: give that folder itself"
        )
    try:
        fields = json.loads(description.read_text(encoding="utf-8"))
        channels = _channels(fields, task, description)
    except (ValueError, AttributeError) as error:
        raise DataError(f"{description}: cannot be read as a description of a data set ({error})") from error
    convention = labels or _convention(fields)
    images = _images(source / "imagesTr", channels)
    return [_case(name, images[name], source / "labelsTr", convention, task) for name in images]


def _images(folder: Path, channels: Mapping[str, int]) -> dict[str, dict[str, ImageFile]]:
    """Case -> modality -> one volume of a 4-D file, or a file of its own."""
    by_channel = {number: modality for modality, number in channels.items()}
    images: dict[str, dict[str, ImageFile]] = defaultdict(dict)
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.name.lower().endswith(SUFFIXES):
            continue
        name = bare_name(path.name)
        split = re.fullmatch(r"(.+)_(\d{4})", name)
        if split and int(split[2]) in by_channel:
            images[split[1]][by_channel[int(split[2])]] = ImageFile(path)
        else:
            images[name] = {modality: ImageFile(path, volume) for modality, volume in channels.items()}
    return images


def _understood_below(folder: Path, task: Task) -> bool:
    if folder.name.startswith(".") or folder.name.lower() in ("imagestr", "imagests", "labelstr"):
        return False
    images = [path for path in read_tree(folder).files if path.name.lower().endswith(SUFFIXES)]
    return any(is_scan(found) and found.exact for found in (read_name(path, task) for path in images))


def _channels(fields: Any, task: Task, description: Path) -> dict[str, int]:
    names = fields.get("modality") or fields.get("channel_names")
    if not names:
        raise DataError(
            f"{description}: has neither 'modality' nor 'channel_names'; the order of the channels is unknown"
        )
    channels: dict[str, int] = {}
    for number, word in names.items():
        modality = modality_or_none(str(word), task)
        if modality is None:
            raise DataError(f"{description}: channel {number} is '{word}', which is no modality of {task.name}")
        if modality in channels:
            raise DataError(f"{description}: channels {channels[modality]} and {number} are both {modality}")
        channels[modality] = int(number)
    return channels


def _convention(fields: Any) -> str | None:
    """From the label names of dataset.json (number: name or name: number); None when they do not decide it."""
    values: dict[str, int] = {}
    for key, value in (fields.get("labels") or {}).items():
        number, words = (key, value) if str(key).isdigit() else (value, key)
        if isinstance(number, str | int) and isinstance(words, str):
            values[words.lower()] = int(number)
    oedema = [value for words, value in values.items() if "edema" in words]
    enhancing = [value for words, value in values.items() if "enhancing" in words and "non" not in words]
    by_values = {(1, 3): "nnunet", (2, 3): "brats2023", (2, 4): "brats2018"}
    return by_values.get((oedema[0], enhancing[0])) if oedema and enhancing else None


def _case(
    name: str, images: Mapping[str, ImageFile], labels_folder: Path, convention: str | None, task: Task
) -> CaseFiles:
    masks = [labels_folder / f"{name}{suffix}" for suffix in SUFFIXES]
    reference = next((ImageFile(mask) for mask in masks if mask.is_file()), None)
    return CaseFiles(
        name, person_of(name), in_task_order(images, task), reference, "msd", convention if reference else None
    )
