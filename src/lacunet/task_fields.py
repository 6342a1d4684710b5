"""What a file may say of a task: every field with its limits, and that the fields agree. No torch here."""

from collections.abc import Iterable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

_Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$")]
"""A modality, region, label or convention. File names and subsets (`t1c+t2f`) are made of these words."""

_Text = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
_Label = Annotated[int, Field(ge=1, le=255)]
_OnDisk = Annotated[int, Field(ge=-(2**31), lt=2**31)]


class TaskFields(BaseModel):
    """The fields of `lacunet.task.Task`, as JSON has them.

    Attributes:
        shown_by: None where an older file says nothing.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    name: _Text
    modalities: Annotated[tuple[_Word, ...], Field(min_length=1, max_length=8)]
    titles: Annotated[dict[_Word, _Text], Field(max_length=100)]
    aliases: Annotated[dict[_Text, _Word], Field(max_length=1000)]
    labels: Annotated[dict[_Word, _Label], Field(min_length=1, max_length=100)]
    regions: Annotated[
        dict[_Word, Annotated[tuple[_Label, ...], Field(min_length=1)]], Field(min_length=1, max_length=16)
    ]
    painting: Annotated[tuple[tuple[_Word, _Label], ...], Field(min_length=1, max_length=16)]
    conventions: Annotated[dict[_Word, dict[_OnDisk, Annotated[int, Field(ge=0, le=255)]]], Field(max_length=100)]
    shown_by: dict[_Word, tuple[_Word, ...]] | None = None

    @model_validator(mode="after")
    def _agree(self) -> "TaskFields":
        labels, modalities = set(self.labels.values()), set(self.modalities)
        if len(modalities) < len(self.modalities):
            raise ValueError("a modality is named twice in 'modalities'")
        _require_known("titles: no title for", (modalities | self.regions.keys()) - self.titles.keys())
        _require_known("aliases: no such modality:", set(self.aliases.values()) - modalities)
        _require_known("regions: no such label:", {one for each in self.regions.values() for one in each} - labels)
        _require_known("painting: no such region:", {region for region, _ in self.painting} - self.regions.keys())
        _require_known("painting: no such label:", {label for _, label in self.painting} - labels)
        inside = {label for each in self.conventions.values() for label in each.values()}
        _require_known("conventions: no such label:", inside - labels - {0})
        shown_by = {one for region, each in (self.shown_by or {}).items() if region in self.regions for one in each}
        _require_known("shown_by: no such modality:", shown_by - modalities)
        return self


def _require_known(words: str, unknown: Iterable[object]) -> None:
    if names := sorted(map(str, unknown)):
        raise ValueError(f"{words} {', '.join(names[:3])}")
