"""The section `[transplant]` of a recipe."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

Chance = Annotated[float, Field(ge=0, le=1)]


class Transplant(BaseModel):
    """How often lesions of other cases are put into crops, and how they are changed.

    Attributes:
        chance: That a crop without a tumour is given a lesion.
        beside: That a crop with a tumour is given another lesion, which does not touch it.
        training: Whether lesions come from the training cases too, where a folder of lesions is given.
        smallest: Smallest factor of a lesion's size.
        largest: Largest factor of a lesion's size.
        edge: Width of the rim in which a lesion's surroundings are mixed with the crop's tissue, mm.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    chance: Chance = 0.0
    beside: Chance = 0.0
    training: bool = True
    smallest: float = Field(0.5, ge=0.2, le=2)
    largest: float = Field(1.25, ge=0.2, le=2)
    edge: float = Field(4.0, ge=0, le=20)

    @model_validator(mode="after")
    def _in_order(self) -> "Transplant":
        if self.smallest > self.largest:
            raise ValueError("smallest is above largest")
        return self

    @property
    def wanted(self) -> bool:
        """Whether any crop is given a lesion."""
        return self.chance > 0 or self.beside > 0
