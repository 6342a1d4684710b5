"""Every format that is damaged."""

from fuzz.archive_formats import archive_formats
from fuzz.dicom_formats import dicom_formats
from fuzz.formats import Format
from fuzz.image_formats import image_formats
from fuzz.model_formats import model_formats
from fuzz.text_formats import text_formats


def all_formats() -> list[Format]:
    """In the order of the table."""
    return [*image_formats(), *dicom_formats(), *archive_formats(), *model_formats(), *text_formats()]
