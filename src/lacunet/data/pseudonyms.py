"""Which names of cases and files may be shown: pseudonyms, told by their form, and names that the user gave.

Any other name may be a person's. Its case is called after the contents of its files: `case-3f2a91bc`.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from lacunet.case import CaseFiles
from lacunet.data.formats.pairs import files_of
from lacunet.data.names import bare_name
from lacunet.data.nifti import is_prepared
from lacunet.data.words import SHOWN
from lacunet.errors import DataError
from lacunet.files import why_not_plain
from lacunet.reading import read_json

IMPORT_RECORD = "import.json"
"""Lies in the folder of a case that `lacunet import` made. Such a case has a name by this rule already."""

NAMED_BY_THE_USER = ("manifest", "files")
"""Families of `CaseFiles` whose names the user typed: a column of a manifest, or `--name`."""

_NEUTRAL_WORDS = """
    patient patients pat pt pts case cases subject subjects subj sub sbj participant volunteer control person proband
    id ids nr num number anon anonymous pseudonym code x
    scan scans exam examination study studies series visit visits session sess ses timepoint tp baseline followup
    week month year run acq rep part site center centre hospital clinic group cohort arm batch fold
    train training trn val valid validation test testing tst dev
    data dataset set sets raw mri mr ct pet image images img imgs volume vol brain head skull
    glioma gliomas glioblastoma gbm hgg lgg hg lg tumor tumors tumour tumours meningioma mets met metastasis metastases
    phantom phantoms synthetic simulated example sample demo
    brats ucsf pdgm upenn tcga tcia cbica tmc egd rhuh lumiere isles fastmri cptac acrin upn ixi oas
"""

_NEUTRAL = frozenset(_NEUTRAL_WORDS.split())
"""Words in names of cases that say nothing of a person; of two letters only those that are no family names."""

_WORDS_OF_FILES = """
    mask masks seg segm segmentation dseg label labels lesion roi reference truth ground manual auto native stripped
    reg registered coreg coregistered resampled normalised normalized bias corrected preprocessed processed final
    original orig copy new old space mni t1w t2w anat nii nifti dicom dcm export import input inputs output outputs
    file files folder archive parenchyma parenchymal source sources result results report manifest derivatives derived
    vsd xx ot iso
"""

_FILES = frozenset(_WORDS_OF_FILES.split())
"""More such words, of files and folders."""

_PUBLIC = re.compile(
    r"^(?:brats[-_]?\d*(?:[-_](?:\d+|gli|met|mets|men|ped|peds|ssa|africa|goat|rt|training|train|validation|val|testing"
    r"|test|hgg|lgg|hg|lg|pat\d+|tcia\d*|tmc|cbica[-_][a-z]{3}))*"
    r"|tcga-[a-z\d]{2}-[a-z]?\d[a-z\d]{2,3}|upenn-gbm-\d+_?\d*|ucsf-pdgm-\d+[a-z]?(?:_fu\d+d?)?|phantom-\d+(?:-\d+)?)$",
    re.IGNORECASE | re.ASCII,
)
"""Names of cases of public data sets, and of lacunet's invented patients."""

_BIDS = re.compile(r"^sub-[a-z\d]+(?:_ses-[a-z\d]+)?$", re.IGNORECASE | re.ASCII)
_OWN = re.compile(r"^(?:case|study)-[\da-f]{8}(?:-again-\d+)?$")
_HASH = re.compile(r"^(?:[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}|[\da-f]{32}|[\da-f]{40}|[\da-f]{64})$")

_LONG_NUMBER = re.compile(r"\d{8}")
_MONTH, _DAY, _YEAR = r"(?:0?[1-9]|1[0-2])", r"(?:0?[1-9]|[12]\d|3[01])", r"(?:19|20)\d\d"
_BETWEEN = r"[-_. /]"
_DATES = re.compile(
    rf"(?<!\d)(?:{_YEAR}{_BETWEEN}{_MONTH}{_BETWEEN}{_DAY}"
    rf"|{_DAY}{_BETWEEN}{_MONTH}{_BETWEEN}{_YEAR}|{_MONTH}{_BETWEEN}{_DAY}{_BETWEEN}{_YEAR}"
    rf"|\d\d{_BETWEEN}\d\d{_BETWEEN}\d\d"
    r"|(?!00)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
    r"|(?:0[1-9]|[12]\d|3[01])(?:0[1-9]|1[0-2])\d\d"
    r"|\d{3}-\d\d-\d{4})(?!\d)"
)
"""Dates with separators or in six digits (640812, 120864), and a number such as 123-45-6789."""


def is_pseudonym(name: str) -> bool:
    """Whether a name cannot be a person's, by its form.

    Pseudonyms are names of BIDS subjects and of public data sets, and names made of numbers, of codes of one or two
    letters with numbers, of single letters, and of neutral words such as `patient`. A name with another word, with a
    letter that is not ASCII, with a date or with eight digits in a row is none: `anna`, `Li`, `p_19640812`.
    """
    if any(form.match(name) for form in (_PUBLIC, _BIDS, _OWN, _HASH)):
        return True
    return _says_nothing(name, _NEUTRAL)


def may_show_file(name: str) -> bool:
    """Whether the name of a file or folder cannot be a person's: a pseudonym, with words of sequences and masks."""
    bare = bare_name(name)
    return is_pseudonym(bare) or any(
        _says_nothing(rest, _NEUTRAL | _FILES | SHOWN) for rest in (bare, _without_pseudonym(bare))
    )


def _says_nothing(name: str, words: frozenset[str]) -> bool:
    if not name.isascii() or _LONG_NUMBER.search(name) or _DATES.search(name):
        return False
    tokens = [token for token in re.split(r"[^A-Za-z\d]+", name) if token]
    return bool(tokens) and all(_token_says_nothing(token.lower(), words) for token in tokens)


def _token_says_nothing(token: str, words: frozenset[str]) -> bool:
    if token in words:
        return True
    letters = re.findall(r"[a-z]+", token)
    alone = len(letters) == 1 and letters[0] == token
    longest = 1 if alone else 2
    return all(len(part) <= longest or part in words for part in letters)


def _without_pseudonym(bare: str) -> str:
    """What follows the longest pseudonym at the start of a file's name: `t1c` of `BraTS-GLI-00001-000-t1c`."""
    ends = [match.start() for match in re.finditer(r"[-_. ]", bare)]
    return next((bare[end:] for end in reversed(ends) if is_pseudonym(bare[:end])), bare)


def contents_hash(paths: Iterable[Path]) -> str:
    """Eight hexadecimal digits of SHA-256 of files, independent of their names and order."""
    digests = []
    for path in paths:
        try:
            for part in files_of(path):
                with part.open("rb") as file:
                    digests.append(hashlib.file_digest(file, "sha256").digest())
        except OSError:  # reported when the file is read
            continue
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()[:8]


def hidden_name(paths: Iterable[Path], taken: Iterable[str] = ()) -> str:
    """`case-3f2a91bc`, from a hash of the files; `case-3f2a91bc-again-2` where another case of `taken` is so called."""
    return numbered(f"case-{contents_hash(paths)}", taken)


def numbered(name: str, taken: Iterable[str]) -> str:
    """The name itself; where it is taken already, with the number of times that it is there: `x-again-2`."""
    count = sum(other == name or other.startswith(f"{name}-again-") for other in taken)
    return f"{name}-again-{count + 1}" if count else name


def named_cases(cases: Sequence[CaseFiles], show_names: bool = False) -> list[CaseFiles]:
    """The same cases, each under a name that may be shown.

    Prepared cases keep their names, since research data are named by pseudonyms. Scans as they come from a hospital are
    called after their contents, unless the name is a pseudonym by its form; so is a case whose name no file can have
    (`files.plain_name`).

    Args:
        cases: As their files and folders name them.
        show_names: Keep all names, and let file names be shown too.
    """
    named: list[CaseFiles] = []
    for files in cases:
        nameable = not why_not_plain(files.name)
        if nameable and (show_names or keeps_its_name(files)):
            named.append(replace(files, names_shown=show_names))
        elif nameable and is_prepared(files):
            named.append(replace(files, names_shown=True))
        else:
            name = hidden_name(all_paths(files), [other.name for other in named])
            named.append(replace(files, name=name, person=name, names_shown=show_names))
    return named


def keeps_its_name(files: CaseFiles) -> bool:
    """Whether a case's name may be shown: a pseudonym, or given by the user, now or at import."""
    return files.family in NAMED_BY_THE_USER or is_pseudonym(files.name) or _named_at_import(files)


def _named_at_import(files: CaseFiles) -> bool:
    """Whether the folder of a case has a record of import with the same name."""
    record = next(iter(files.images.values())).path.parent / IMPORT_RECORD
    try:
        return bool(read_json(record, DataError, "import the case again")["case"] == files.name)
    except (DataError, KeyError, TypeError):
        return False


def all_paths(files: CaseFiles) -> list[Path]:
    """The files of a case, each once."""
    images = [*files.images.values(), *([files.reference] if files.reference else [])]
    return list(dict.fromkeys(image.path for image in images))
