"""Words that hospitals use for sequences: which of them are shown, and what they mean.

Series descriptions and file names are typed by people and may contain a patient's name. So only the words of this
list are ever shown or written, as it spells them; the rest becomes "…".
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from lacunet.data.languages import latin

_SEQUENCES = """
    t1 t1w st1w st2w et1w et2w st1 st2 t1n t1ce t1c ct1 t1gd t1wi t2 t2w t2f t2star t2* t2wi flair t2flair t1flair
    fla tirm stir ir tse fse se frfse gre ge ffe tfe tfl spgr fspgr irspgr bravo mprage mp2rage uni den uniden rage
    space spc cube vista vibe flash thrive lava propeller blade multivane mvxd pd pdw dir psir swi swan swip hemo
    haemo heme hem dwi dti diff diffusion adc eadc fa trace tracew asl pcasl pasl perf perfusion dsc dce cbf cbv mtt
    ttp tmax tof mra mrv pca angio bold fmri mrs csi press svs ciss fiesta bffe trufi drive epi ep2d fl2d fl3d haste
    fase ssfse map localizer localiser loc scout survey calibration field fieldmap subtraction subtr mip minip mpr
    mprs reformat reformatted recon rec screenshot inv inversion phase pha mag magnitude real imaginary qsm me medic
    merge mt mtc magic synthetic synth symri dark fluid darkfluid da fl df weighted gewichtet pondere pesata pesado
    image images
"""
_TECHNIQUE = """
    ax axial axi tra trans transv transverse transversal transversale cor coronal kor koronar koronal coro sag
    sagittal sagital sagitale sagittale obl oblique oax osag ocor 3d 2d plane planes 3plane fs fatsat fat sat spair
    spir dixon water isotropic iso ns grappa sense asset arc wip norm nd dis2d dis3d nav moco multi band sms cs
    csense fast quick high res hr hires thin slice slices mm 3t ray single double dose late delayed delay dyn
    dynamic scan series seq se1 raw orig original mr mri rm irm ph e1 e2 tr te bb black blood vessel wall view ultra
    motion corr corrected dl drb air sonic pat ipat cai acc ws we lr rl ap pa comp compressed sel fov vfl mpgr vol
    volume tilt std standard routine aksiyel aksial koronal sajital
"""
_AGENT = """
    gd gad gado gadolinium gadolinio gadovist gadavist gadobutrol gadoterate gadoterat gadopentetate dotarem magnevist
    prohance multihance omniscan clariscan vueway elucirem primovist contrast contraste contrasto kontrast
    kontrastmittel kontrastu kontrastom kontrastem kontrasztanyag ce km mdc civ ktr inj injection injected enhanced enh
    c t1post t1pre post pre precontrast postcontrast pregd postgd pregad postgad unenhanced nonenhanced noncontrast
    nativ native natif nativo nativni plain without with before after ohne mit nach vor sans avec apres avant con sin
    senza dopo prima com sem antes depois met zonder med uden uten utan bez po przed pred wo none and et und
"""
_BODY = "kopf brain head cranial cranium neuro schaedel hirn cerveau encephale cerebro cabeza testa encefalo skull"
_USES = (
    "navi navigation neuronavigation neuronavi stealth brainlab planning planung stereotactic stereotaxie tumor tumour"
)
_OTHERS = (
    "sub report asset mask masks maske seg segs segm segmentation dseg probseg label roi lesion gehirn masked stripped"
)

SEQUENCE_WORDS = frozenset((_SEQUENCES + _TECHNIQUE + _AGENT).split())
"""Words about a sequence: its name, plane, technique, contrast agent."""

KNOWN = SEQUENCE_WORDS | frozenset(" ".join((_BODY, _USES, _OTHERS)).split())
"""All words that have a meaning here."""

INITIALS = frozenset(
    [
        "me",
        "da",
        "et",
        "po",
        "te",
        "tr",
        "rm",
        "nd",
        "ph",
        "na",
        "bb",
        "cs",
        "hr",
        "mt",
        "dl",
        "ap",
        "pa",
        "ws",
        "we",
        "lr",
        "rl",
    ]
)
"""Known words that may also be a person's initials."""

SHOWN = KNOWN - INITIALS
"""All words that may be shown."""

HIDDEN = "…"

MANUFACTURERS = (
    "Siemens",
    "GE",
    "Philips",
    "Canon",
    "Toshiba",
    "Hitachi",
    "Fujifilm",
    "United Imaging",
    "Bruker",
    "Esaote",
)

_CASES = re.compile(r"(?<=[a-z]{2})(?=[A-Z])|(?<=[a-z])(?=[A-Z][a-z]{2})|(?<=[0-9])(?=[A-Z][a-z])")
_DOTTED = re.compile(r"(?<![^\W_])(?:[a-z]\.){2,}(?:[a-z](?![^\W_]))?")
_GLUED = re.compile(r"t1|t2|flair|mprage|spgr|bravo|mask|seg|lesion|contrast|gad|post|nativ")
_PIECES = """
    sagittal coronal axial transversal propeller flair mprage spgr fspgr bravo space cube vibe flash blade tirm stir tse
    fse swi dwi 3d 2d t1w t2w t1 t2 st1w st2w t1ce t1c ct1 ax tra cor sag gado gad gd km ce contrast postcontrast
    precontrast post pre nativ native fs iso star dark fluid tumor tumour lesion brain skull head masked mask seg dseg
    segmentation label roi wm gm csf gre se sub op weighted wi
"""


def spaced(text: str) -> str:
    """Lower case without accents, words of other scripts translated, CamelCase divided, `m.d.c.` as `mdc`; signs stay.

    `T1PostGd` becomes `t1 post gd`.
    """
    text = latin(_CASES.sub(" ", text))
    return _DOTTED.sub(lambda found: found[0].replace(".", "") + " ", text)


_ANOTHER = r"(?:[es]?t[12]\w{0,3}|flair|mprage|mni\w*|atlas|template|native)\b"
_ALIGNED_WITH = re.compile(
    rf"\b(?:space|res|from|to)-[a-z0-9]+\b|(?<=\w)[ .-]+(?:2|to|in|into|onto|on|"
    rf"(?:reg|registered|coreg|aligned)[ .-]+to|reg|coreg|reg2)[ .-]*{_ANOTHER}(?: ?space\b)?|\b{_ANOTHER}[ .-]?space\b"
)
_SEQUENCE_LEFT = re.compile(r"t[12]|flair|mprage|spgr|bravo|tirm|dwi|adc|swi|pd")


def this_scan(text: str) -> str:
    """As `spaced`, without the name of another scan or space that this one lies on: `FLAIR_to_T1` becomes `flair`."""
    words = spaced(text)
    alone = _ALIGNED_WITH.sub(" ", words)
    return alone if _SEQUENCE_LEFT.search(alone) else words


@lru_cache(maxsize=4096)  # each name is asked for its words several times
def plain(text: str) -> str:
    """As `spaced`, with every separator except + and * a space, and words that are written as one divided.

    `t1axpost` becomes `t1 ax post`.
    """
    text = re.sub(r"([a-z0-9])-(?=[a-z0-9])", r"\1 ", spaced(text))
    text = re.sub(r"[^a-z0-9+*\-]+", " ", text)
    return re.sub(r"[a-z0-9]+", lambda found: divided(found[0]), " ".join(text.split()))


@lru_cache(maxsize=4096)
def divided(token: str) -> str:
    """A lower-case token, its words with spaces between them where it is made of known words and no word itself."""
    if not 4 <= len(token) <= 40 or token in KNOWN or not _GLUED.search(token):
        return token
    return " ".join(_division(token) or [token])


def _division(token: str) -> list[str] | None:
    """The fewest known words that make up a token; None where there is no such division."""
    if not token:
        return []
    divisions = (
        [piece, *rest]
        for piece in _PIECES.split()
        if token.startswith(piece) and (rest := _division(token[len(piece) :])) is not None
    )
    return min(divisions, key=len, default=None)


def shown(*texts: str) -> str:
    """The recognised words of the first text that has any, in capitals: `T1 AX POST GAD`; other words become "…".

    At most twelve words. Numbers are never shown.
    """
    for text in texts:
        words: list[str] = []
        for token in re.findall(r"[a-z0-9]+\*?|[+-]c\b|\+", plain(text)):
            word = token.upper() if token in SHOWN or token in ("+", "+c", "-c") else HIDDEN
            if not (word == HIDDEN and words[-1:] == [HIDDEN]):
                words.append(word)
        if any(word not in (HIDDEN, "+") for word in words):
            return " ".join(words[:12])
    return ""


def manufacturer(text: str) -> str | None:
    """The maker, as this module spells it, or None."""
    lower = text.lower()
    known = [name for name in MANUFACTURERS if re.search(rf"\b{name.lower()}\b", lower)]
    return known[0] if known else None


def has(texts: Sequence[str], pattern: str) -> bool:
    """Whether any of the texts, after `plain`, matches a regular expression."""
    return any(re.search(pattern, plain(text)) for text in texts)
