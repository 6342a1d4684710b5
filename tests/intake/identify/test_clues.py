"""Which sequence words and numbers tell, and what of the words is shown."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lacunet.case import Grid
from lacunet.data.agent import says_agent
from lacunet.data.words import SHOWN, manufacturer, shown
from lacunet.intake.found import Facts
from lacunet.intake.identify.choose import FIRST_OF_ALIKE, FIRST_OF_UNLIKE, Candidate, best_of, decided, weigh
from lacunet.intake.identify.classify import Opinion
from lacunet.intake.identify.clues import Clues, Guess, guess, with_agent_by_order
from lacunet.task import GLIOMA


@pytest.mark.parametrize(("text", "modality"), [
    ("AX T1 POST GAD", "t1c"), ("T1_AX", "t1"), ("FLAIR_AX", "t2f"), ("T2_AX", "t2w"), ("t1_mprage_sag_p2_iso", "t1"),
    ("t1_mprage_sag_p2_iso KM", "t1c"), ("T1 mpr ns sag", "t1"), ("t2_tirm_tra_dark-fluid", "t2f"),
    ("t2_spc_da-fl_sag_p2_iso", "t2f"), ("Ax T1 FLAIR", "t1"), ("3D T1 TFE +C", "t1c"), ("sT1W_3D_TFE", "t1"),
    ("T1W_SE nativ", "t1n"), ("T1 SE ohne KM", "t1n"), ("T1 tra nach KM", "t1c"), ("Ax T1 w/o", "t1n"),
    ("AX T1 WITHOUT", "t1n"), ("AX T1 WITH", "t1c"), ("T1 sans inj", "t1n"), ("T1 avec injection", "t1c"),
    ("T1 sin contraste", "t1n"), ("T1 con contraste", "t1c"), ("T1 senza mdc", "t1n"), ("T1 con mdc", "t1c"),
    ("T1 bez kontrastu", "t1n"), ("T1 po kontraście", "t1c"), ("T1 zonder contrast", "t1n"),
    ("T1 ПОСЛЕ КОНТРАСТА", "t1c"),
    ("造影後 T1 ax", "t1c"), ("T1 単純", "t1n"), ("T1 增强 横断", "t1c"), ("T1 平扫", "t1n"), ("T1 조영", "t1c"),
    ("AX T2*", "other"), ("t2_fl2d_tra_hemo", "other"), ("SWI_Images", "other"), ("TOF_3D_multi-slab", "other"),
    ("ep2d_diff_3scan_trace_p2_ADC", "other"), ("perfusion DSC", "other"), ("AX PD", "other"), ("STIR cor", "other"),
    ("MPRAGE_POST_REFORMAT", "other"), ("T1 SUB", "other"), ("ax post fossa T2", "t2w"), ("T1 post fossa", "t1"),
    ("T1+C", "t1c"), ("T1C", "t1c"), ("T1ce", "t1c"), ("T1 C+", "t1c"), ("T1 -C", "t1n"), ("AX BRAVO +C", "t1c"),
    ("FSPGR 3D GD", "t1c"), ("MPRAGE", "t1"), ("SAG CUBE FLAIR", "t2f"), ("3D FLAIR post Gd", "t2f"),
    ("CUBE T2", "t2w"),
    ("VISTA", "unknown"), ("Mustermann", "unknown"), ("", "unknown"),
])  # fmt: skip
def test_words(text: str, modality: str) -> None:
    assert guess(Clues((text,)), GLIOMA).modality == modality


@pytest.mark.parametrize(("tr", "te", "ti", "sequence", "modality"), [
    (9000, 120, 2500, ("SE", "IR"), "t2f"), (5000, 395, 1800, ("SE", "IR"), "t2f"), (6000, 140, 2200, (), "t2f"),
    (550, 10, None, ("SE",), "t1"), (2000, 2.5, 900, ("GR", "IR"), "t1"), (8, 3, 450, ("GR",), "t1"),
    (2300, 24, 860, ("SE", "IR"), "t1"), (25, 5, None, ("GR",), "t1"), (4500, 95, None, ("SE",), "t2w"),
    (3200, 410, None, ("SE",), "t2w"), (3000, 15, None, ("SE",), "other"), (700, 25, None, ("GR",), "other"),
    (5000, 40, 160, ("SE", "IR"), "other"), (5000, 80, None, ("EP",), "other"), (1500, 50, None, ("SE",), "unknown"),
    (None, 50, None, (), "unknown"), (0, 0, None, (), "unknown"),
])  # fmt: skip
def test_numbers(tr, te, ti, sequence, modality) -> None:
    tr, te, ti = (None if value is None else float(value) for value in (tr, te, ti))
    assert guess(Clues((), repetition=tr, echo=te, inversion=ti, sequence=sequence), GLIOMA).modality == modality


def test_words_and_numbers_that_agree_are_surer_than_either() -> None:
    both = guess(Clues(("T2",), repetition=4500.0, echo=95.0), GLIOMA)
    assert both.confidence > guess(Clues(("T2",)), GLIOMA).confidence
    assert both.reason == "its description says T2, and TR 4500 ms, TE 95 ms weight T2"


def test_words_and_numbers_that_disagree_are_told_and_the_numbers_count() -> None:
    found = guess(Clues(("AX T2",), repetition=9000.0, echo=120.0, inversion=2500.0), GLIOMA)
    assert found.modality == "t2f"
    assert found.confidence < 0.7
    assert found.warnings == (
        "its description says T2, but TR 9000 ms, TE 120 ms, TI 2500 ms null fluid, as for FLAIR",
    )


def test_contrast_agent_in_the_header_and_in_words() -> None:
    assert guess(Clues(("T1",), agent=True), GLIOMA).modality == "t1c"
    assert guess(Clues(("T1",), agent=False), GLIOMA).modality == "t1n"
    torn = guess(Clues(("T1 pre",), agent=True), GLIOMA)
    assert torn.modality == "t1n"
    assert torn.warnings == ("described as before contrast agent, but its header names one",)
    assert guess(Clues(("T1 KM",), agent=False), GLIOMA).warnings
    assert guess(Clues(("FLAIR",), agent=True), GLIOMA).modality == "t2f"


@pytest.mark.parametrize(("texts", "modality"), [
    (("AX T1", "BRAIN WITH CONTRAST"), "t1"), (("AX T1", "BRAIN W/O CONTRAST"), "t1n"),
    (("AX T1 +C", "BRAIN W/O"), "t1c"),
    (("AX T1", "t1_se_tra KM"), "t1c"), (("AX T1", "BRAIN W/WO CONTRAST"), "t1"), (("AX T1", "BRAIN GAD"), "t1"),
])  # fmt: skip
def test_the_protocol_of_a_whole_examination_does_not_say_that_a_scan_is_after_contrast_agent(texts, modality) -> None:
    assert guess(Clues(texts), GLIOMA).modality == modality


def test_the_order_in_time_decides_where_nothing_else_does() -> None:
    clues = [Clues(("T1",), time=time) for time in (1.0, 3.0, 5.0, None)]
    after = Guess("t1c", "said", 0.9)
    guesses = [Guess("t1", "t1", 0.9), after, Guess("t1", "t1", 0.9), Guess("t1", "t1", 0.9)]
    assert [one.modality for one in with_agent_by_order(guesses, clues)] == ["t1n", "t1c", "t1c", "t1"]
    none = [Guess("t1", "t1", 0.9)] * 4
    assert [one.modality for one in with_agent_by_order(none, clues)] == ["t1"] * 4


@pytest.mark.parametrize("text", [
    "Mustermann^Erika 4711 1964-08-12", "<script>alert(1)</script>",
    "T1\x00\x1b[31m MUSTERMANN", "T2 " * 400, "T1‮KM", "2.25.4711",
])  # fmt: skip
def test_only_words_of_the_list_are_shown(text: str) -> None:
    words = shown(text).split()
    assert len(words) <= 12
    assert all(word == "…" or word.lower() in SHOWN for word in words)
    assert "4711" not in shown(text)


def test_shown_words_keep_what_matters() -> None:
    assert shown("t1_tse_tra_+C Mustermann") == "T1 TSE TRA +C …"
    assert shown("Mustermann", "T2 ax") == "T2 AX"
    assert shown("Mustermann") == ""
    assert says_agent(["T1 with and without KM"]) is None
    assert manufacturer("SIEMENS Healthineers Mustermann") == "Siemens"
    assert manufacturer("Mustermann") is None


# ---------------------------------------------------------------- header and image


def opinion(**probabilities: float) -> Opinion:
    full = dict.fromkeys(("t1n", "t1c", "t2w", "t2f", "other"), 0.0) | probabilities
    best = max(full, key=lambda name: full[name])
    t1 = full["t1n"] + full["t1c"] >= 0.6
    modality = best if full[best] >= 0.6 else "unknown"
    return Opinion(modality, full[best], full, "t1" if t1 else modality)


@pytest.mark.parametrize(("header", "image", "modality", "words"), [
    (Guess("t2w", "x", 0.9), opinion(t2w=1.0), "t2w", "x; the image agrees"),
    (Guess("t2w", "x", 0.9), opinion(t2w=0.5, t2f=0.5), "t2w", "x; the image does not tell"),
    (Guess("t1c", "x", 0.9), opinion(t1n=0.5, t1c=0.5), "t1c", "x; the image shows T1"),
    (Guess("t2w", "x", 0.9), opinion(t2f=1.0), "t2w", "x"),
    (Guess("t2w", "x", 0.6), opinion(t2f=1.0), "t2f", "the image looks like FLAIR, while x"),
    (Guess("t1", "x", 0.9), opinion(t1c=0.9, t1n=0.1), "t1c", "the image shows contrast agent (90% sure)"),
    (Guess("t1", "x", 0.9), opinion(t1c=0.89, t1n=0.11), "t1", "the image is not sure (89% for after it)"),
    (Guess("t1", "x", 0.9), opinion(t1c=0.71, t1n=0.29), "t1", "nothing says whether contrast agent was given"),
    (Guess("t1", "x", 0.9), opinion(t1n=0.71, t1c=0.29), "t1n", "nothing speaks of contrast agent"),
    (Guess("unknown", "x", 0.0), opinion(t1c=0.89, t1n=0.11), "t1", "the image is not sure"),
    (Guess("unknown", "x", 0.0), opinion(t1n=0.89, t1c=0.11), "t1n", "nothing speaks of contrast agent"),
    (Guess("unknown", "x", 0.0), opinion(t1c=0.95, t1n=0.05), "t1c", "the image looks like T1ce (95% sure)"),
    (Guess("t1n", "x", 0.6), opinion(t1c=0.95, t1n=0.05), "t1n", "the image does not tell"),
    (Guess("t1", "x", 0.9), opinion(t1c=0.5, t1n=0.5), "t1n", "nothing speaks of contrast agent"),
    (Guess("unknown", "x", 0.0), opinion(t2f=0.95), "t2f", "the image looks like FLAIR (95% sure)"),
    (Guess("unknown", "x", 0.0), opinion(t2f=0.8, t2w=0.2), "unknown", "the image is not clear enough"),
    (Guess("unknown", "x", 0.0), opinion(other=1.0), "unknown", "the image is not clear enough"),
    (Guess("other", "x", 0.9), opinion(t2f=1.0), "other", "x"),
])  # fmt: skip
def test_header_and_image_weighed(header: Guess, image: Opinion, modality: str, words: str) -> None:
    found = weigh(header, image, GLIOMA)
    assert found.modality == modality
    assert words in found.reason


@pytest.mark.parametrize("header", [Guess("t1", "x", 0.9), Guess("unknown", "x", 0.0)])
def test_contrast_agent_by_the_image_alone_is_a_warning(header: Guess) -> None:
    warning = "nothing says that contrast agent was given; taken as T1ce by the image alone (95% sure)"
    assert weigh(header, opinion(t1c=0.95, t1n=0.05), GLIOMA).warnings == (warning,)
    assert weigh(header, opinion(t1n=0.95, t1c=0.05), GLIOMA).warnings == ()


def test_a_contradiction_of_a_sure_header_is_a_warning() -> None:
    assert weigh(Guess("t2w", "x", 0.9), opinion(t2f=1.0), GLIOMA).warnings == ("labelled T2, looks like FLAIR",)
    assert weigh(Guess("t2w", "x", 0.9), opinion(t1n=0.5, t1c=0.5), GLIOMA).warnings == (
        "labelled T2, looks like T1 (with or without contrast agent)",
    )
    assert weigh(Guess("t1", "x", 0.9), opinion(t2f=1.0), GLIOMA).warnings[0] == "labelled T1, looks like FLAIR"


def test_an_image_does_not_overrule_words_and_numbers_that_agree() -> None:
    for header in (Guess("t1c", "x", 0.98), Guess("t1", "x", 0.98)):
        found = weigh(header, opinion(t2f=1.0), GLIOMA)
        assert not [line for line in found.warnings if "looks like" in line]
        assert "x; the image looks like FLAIR, which TR and TE exclude" in found.reason
    told = weigh(Guess("t1c", "x", 0.98), opinion(t1n=1.0), GLIOMA).warnings
    assert told == ("labelled T1ce, looks like T1",)  # they say nothing of contrast agent


# ---------------------------------------------------------------- the best of several


def test_an_undecided_t1_is_taken_as_before_contrast_agent_only_where_there_is_no_other_t1() -> None:
    undecided = replace(candidate("1", (1, 1, 1)), guess=Guess("t1", "x", 0.6))
    flair, before, after = (
        replace(candidate("2", (1, 1, 5)), guess=Guess(modality, "x", 0.9)) for modality in ("t2f", "t1n", "t1c")
    )
    alone, _ = decided([undecided, flair])
    assert alone.guess.modality == "t1n"
    assert "if it is after it, say so with --t1c" in alone.guess.warnings[0]
    for other in (before, after):
        left, kept = decided([undecided, other])
        assert (left.guess.modality, kept) == ("unknown", other)
        assert left.guess.reason == "x; --t1c or --t1n says which it is"


def candidate(key: str, spacing: tuple[float, float, float], size: int = 200, **changes) -> Candidate:
    spacing = (float(spacing[0]), float(spacing[1]), float(spacing[2]))
    shape = tuple(round(size / step) for step in spacing)
    grid = Grid((shape[0], shape[1], shape[2]), np.diag([*spacing, 1.0]))
    facts = Facts(
        changes.pop("words", ""),
        "dicom",
        None,
        None,
        None,
        None,
        None,
        None,
        changes.pop("three_d", None),
        grid.shape,
        spacing,
    )
    clues = Clues((), time=changes.pop("time", None), echo=changes.pop("echo", None))
    guessed = Guess("t1c", "x", changes.pop("confidence", 0.9), calculated=changes.pop("calculated", False))
    return Candidate(key, f"series {key}", Path(key), grid, clues, guessed, facts, **changes)


@pytest.mark.parametrize(("better", "worse", "why"), [
    (candidate("1", (1, 1, 1)), candidate("2", (0.5, 0.5, 5)), "acquired in 3-D rather than in slices"),
    (candidate("1", (1, 1, 3)), candidate("2", (0.5, 0.5, 5)), "finer (3 mm voxels against 5 mm)"),
    (candidate("1", (0.5, 0.5, 5)), candidate("2", (0.9, 0.9, 5)), "finer in its plane"),
    (candidate("1", (1, 1, 5)), candidate("2", (1, 1, 1), derived=True), "it is original, the other was calculated"),
    (candidate("1", (1, 1, 5)), candidate("2", (1, 1, 1), size=70), "it covers the whole head"),
    (candidate("1", (1, 1, 5), time=200.0), candidate("2", (1, 1, 5), time=100.0), "acquired later"),
    (candidate("1", (1, 1, 5), three_d=True), candidate("2", (1, 1, 4)), "acquired in 3-D rather than in slices"),
    (candidate("2", (1, 1, 5)), candidate("10", (1, 1, 5)), FIRST_OF_ALIKE),
    (candidate("4a", (1, 1, 5)), candidate("4b", (1, 1, 5)), FIRST_OF_ALIKE),
    (candidate("2", (1, 1, 5), echo=90.0), candidate("3", (1, 1, 5), echo=95.0), FIRST_OF_ALIKE),
    (candidate("2", (1, 1, 5)), candidate("1", (1, 1, 1), calculated=True), "it is original, the other was calculated"),
    (candidate("2", (1, 1, 5)), candidate("1", (1, 1, 1), confidence=0.8), "its sequence is surer"),
    (candidate("2", (1, 1, 5), forced="t1c"), candidate("1", (1, 1, 1)), "the user gave it"),
])  # fmt: skip
def test_the_better_candidate_wins_whatever_the_order(better: Candidate, worse: Candidate, why: str) -> None:
    for rivals in ([better, worse], [worse, better]):
        best = best_of(rivals, "t1c")
        assert best.candidate == better
        assert best.reason == f"chosen over {worse.label}: {why}"
        (other,) = best.others
        assert other.reason == f"{better.label} is taken for this sequence instead: {why}"
        assert best.candidate.warnings == ()


@pytest.mark.parametrize("rival", [
    candidate("10", (1, 1, 5), words="T2 FS"), candidate("10", (1, 1, 5), echo=20.0), candidate("10", (1, 5, 1)),
])  # fmt: skip
def test_that_nothing_decides_between_unlike_candidates_is_a_warning(rival: Candidate) -> None:
    first = candidate("9", (1, 1, 5), echo=90.0)
    for rivals in ([first, rival], [rival, first]):
        best = best_of(rivals, "t2w")
        assert best.candidate.key == "9"
        assert best.reason == f"chosen over series 10: {FIRST_OF_UNLIKE}"
        assert best.candidate.warnings == (
            "series 9 and series 10 differ, and nothing decides which is better; the first is taken, "
            "--t2w chooses the other",
        )
