"""`cohort.html`: a row for each case of a cohort, to be sorted and filtered; what needs a look stands on top."""

from pathlib import Path

from lacunet.segmentation.cohort import Cohort

FILE_NAME = "cohort.html"


def write_cohort_page(path: Path, cohort: Cohort) -> None:
    """Write the page whole or not at all.

    Args:
        path: The file. Its links lead from there to the pages of the cases.
        cohort: The cases.

    Raises:
        OutputError: it cannot be written.
    """
    raise NotImplementedError
