"""Which words of a name say that a file is a mask, and whether it is the tumour's or another structure's."""

import re
from functools import lru_cache

from lacunet.data.words import plain

_MASK = (
    r"(?:\w*mask|masks|maskfile|maske|masken|masque|mascara|maschera|masker|maska|maski)"
    r"|segs?|[dpa]?seg|probseg|pveseg|segm|segment(?:s|ed|e)?|segmenta\w*|segmentierung"
    r"|labels?|lbl|labelmap|rois?|voi|lesions?|lasion\w*|lesione|lesioni|lesao|lesiones|laesie|leesioon"
    r"|aparc\w*|parc|parcellat\w*|pve|prob ?map|wmh|probabilit\w*|[gcp]tv\d*|annot\w*|contours?|kontur\w*|delineation"
    r"|outlines?|ground ?truth|truth|predictions?|rtss|rtstruct\w*|pseg|synthseg|wmparc"
)
_TISSUE_OF_SPM = r"^[mrwy]{0,3}c[1-6][es]?(?:t1|t2|flair|mprage)"
_NOT_A_MASK = r"\b(?:readout|epi|rs|multi|k space) (?:segmented|seg)\b"
_STRUCTURE_AT_THE_END = (
    r"gt|wt|tc|et|tumou?r|whole ?tumou?r|tumou?r core|core|enhancing(?: tumou?r)?|o?edema|necrosis|ncr|wm|gm|csf|"
    r"ventricles?|hippocamp\w*|cortex|vessels"
)
"""What a file without the name of a sequence shows, if its name ends so: `anna_tumor`."""
_SEQUENCE = r"\b[es]?t[12]\w{0,4}\b|flair|mprage|spgr|bravo|dwi|adc|pd\b|tirm|\bct\b|\bpet\b"
_TUMOUR = (
    r"tumou?rs?|tumeur\w*|tumore|tumor\w{0,3}|lesions?|lasion\w*|lesione|lesioni|lesao|gt|truth|ground ?truth|wt|"
    r"tc|et|gtv\d*|ctv\d*|whole ?tumou?r|ncr|o?edema|odem\w*|necro\w*|enhancing|core|mets?|metastas\w*|glioma|gbm"
)
_WEAK_TUMOUR = r"glioma|gbm|mets?|metastas\w*"
_OTHER_STRUCTURE = (
    r"brain|gehirn|hirn|cerveau|cerebro|cerebrum|parenchym\w*|head|kopf|skull\w*|schadel|bet|hdbet|face|deface|"
    r"defaced|ventric\w*|ventrik\w*|csf|liquor|lcr|wm|gm|white|grey|gray|matter|vessels?|vein\w*|arter\w*|aseg|"
    r"aparc\w*|wmparc|parc|parcellat\w*|tissues?|pve|pveseg|cortex|cortical|hippocamp\w*|thalam\w*|cerebell\w*|"
    r"brainstem|orbits?|eyes?|synthseg|freesurfer|fastsurfer|lobes?|hemisphere\w*|subcortical|air|background|"
    r"valid|wmh|stroke|infarct\w*|c[1-6]"
)
_ORGAN = r"brain|head|cerebral"


@lru_cache(maxsize=4096)  # each name is asked several times
def names_mask(text: str) -> bool:
    """Whether a name says that a file is a mask, a label map or a map of probabilities rather than a scan.

    `T1_masked` and `T1_brain` are scans without skull, not masks.
    """
    words = plain(text)
    if re.search(_TISSUE_OF_SPM, words):
        return True
    if re.search(rf"\b(?:{_STRUCTURE_AT_THE_END})$", words) and not re.search(_SEQUENCE, words):
        return True
    words = re.sub(_NOT_A_MASK, " ", words)
    return bool(re.search(rf"\b(?:{_MASK})\b", words))


def is_tumour_mask(text: str) -> bool | None:
    """Whether a mask is the tumour's by its name (True) or another structure's (False); None: the name does not say."""
    words = plain(text)
    if re.search(_TISSUE_OF_SPM, words):
        return False
    other = bool(re.search(rf"\b(?:{_OTHER_STRUCTURE})\b", words))
    organ_of_tumour = re.sub(rf"\b(?:{_ORGAN}) (?={_TUMOUR}\b)", " ", words)
    still_other = bool(re.search(rf"\b(?:{_OTHER_STRUCTURE})\b", organ_of_tumour))
    if other and still_other:
        strong = re.sub(rf"\b(?:{_WEAK_TUMOUR})\b", " ", organ_of_tumour)
        return None if re.search(rf"\b(?:{_TUMOUR})\b", strong) else False
    return True if re.search(rf"\b(?:{_TUMOUR})\b", organ_of_tumour) else None
