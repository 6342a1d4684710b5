"""The layout of the Medical Segmentation Decathlon (Task01_BrainTumour): one 4-D file per case, and dataset.json.

nnU-Net's layout, which splits the 4-D file into `<case>_0000.nii.gz` and so on, is read too.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from lacunet.case import CaseFiles, ImageFile
from lacunet.data.groups import is_scan
from lacunet.data.names import SUFFIXES, bare_name, in_task_order, modality_or_none, person_of, read_name
from lacunet.data.tree import read_tree
from lacunet.errors import DataError
from lacunet.reading import read_json, shown
from lacunet.schema import fitted
from lacunet.task import Task

_Channel = Annotated[int, Field(ge=0, lt=1000)]
_CORRECT_IT = "correct it, or give the folder of the cases without it"


def _require_numbers(labels: dict[str, Any]) -> dict[str, Any]:
    for key, value in labels.items():
        numbers = value if isinstance(value, list) else [value]
        if not _is_number(key) and not all(map(_is_number, numbers)):
            raise ValueError(f"{shown(key)}: {shown(value)} is no label; a number and its name are expected")
    return labels


def _is_number(value: object) -> bool:
    return isinstance(value, str | int) and re.fullmatch(r"\d{1,9}", str(value), re.ASCII) is not None


class _DataSet(BaseModel):
    """What is read of dataset.json.

    Attributes:
        modality: Number of a channel -> what it shows, as the Decathlon writes it.
        channel_names: The same, as nnU-Net writes it.
        labels: Number -> name, or name -> number or numbers.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)
    modality: dict[_Channel, str] = {}
    channel_names: dict[_Channel, str] = {}
    labels: Annotated[dict[str, Any], AfterValidator(_require_numbers)] = {}


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
    fields = fitted(_DataSet, read_json(description, DataError, _CORRECT_IT), str(description), DataError, _CORRECT_IT)
    channels = _channels(fields.modality or fields.channel_names, task, description)
    convention = labels or _convention(fields.labels)
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


def _channels(names: Mapping[int, str], task: Task, description: Path) -> dict[str, int]:
    if not names:
        raise DataError(
            f"{description}: has neither 'modality' nor 'channel_names'; the order of the channels is unknown"
        )
    channels: dict[str, int] = {}
    for number, word in names.items():
        modality = modality_or_none(word, task)
        if modality is None:
            raise DataError(f"{description}: channel {number} is {shown(word)}, which is no modality of {task.name}")
        if modality in channels:
            raise DataError(f"{description}: channels {channels[modality]} and {number} are both {modality}")
        channels[modality] = number
    return channels


def _convention(labels: Mapping[str, Any]) -> str | None:
    """From the label names of dataset.json (number: name or name: number); None when they do not decide it.

    nnU-Net's regions have several numbers; they are passed over.
    """
    values: dict[str, int] = {}
    for key, value in labels.items():
        number, words = (key, value) if _is_number(key) else (value, key)
        if isinstance(words, str) and _is_number(number):
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
