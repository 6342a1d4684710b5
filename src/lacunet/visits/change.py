"""The change between two visits of one person: measure both, compare, lay one on the other, and write it down.

change(Path("masks/sub-01_ses-1"), Path("masks/sub-01_ses-2"), Path("change"), lambda: Predictor(load_model("default")))
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from lacunet.data.nifti import write_mask
from lacunet.data.source_table import sha256_of
from lacunet.files import whole_files, write_json
from lacunet.intake.found import Caution, pictures_allowed
from lacunet.prediction.predictor import Predictor
from lacunet.progress import Progress, Silent
from lacunet.segmentation.layout import refuse_to_replace
from lacunet.segmentation.provenance import MODEL, WEIGHTS
from lacunet.task import GLIOMA, Subset, Task
from lacunet.visits.earlier_run import masks_of_earlier_run
from lacunet.visits.findings import Findings
from lacunet.visits.measure import answer_measured, asked_again, mask_measured
from lacunet.visits.numbers import Comparison, Measured, compare
from lacunet.visits.page import ChangeView, sequences_shown, write_change_page
from lacunet.visits.pair import Pair, read_pair
from lacunet.visits.placed import Laid, Tissue, lay, on_earlier, tissue_of
from lacunet.visits.record import record_of_change
from lacunet.visits.visit import Visit, common_subset
from lacunet.visits.words import verdict_words, warnings_of

RECORD = "change.json"
PAGE = "change.html"
LAID_MASK = "later-on-earlier-mask.nii.gz"

Labels = UInt8[np.ndarray, "x y z"]


@dataclass(frozen=True)
class Changed:
    """A change, done.

    Attributes:
        record: `change.json`.
        page: For people.
        verdict: In a sentence, without its full stop.
        everything: From the sequences of each visit.
        common: From the sequences that both masks come from; None where there is none.
        tissue: By region: what is new, gone and kept.
        days: Between the visits; None where it is not known.
        warnings: Sentences that a reader must not miss.
    """

    record: Path
    page: Path
    verdict: str
    everything: Comparison
    common: Comparison | None
    tissue: Mapping[str, Tissue]
    days: int | None
    warnings: tuple[str, ...]


def change(
    earlier: Path,
    later: Path,
    folder: Path,
    load: Callable[[], Predictor],
    task: Task = GLIOMA,
    days: int | None = None,
    overwrite: bool = False,
    progress: Progress = Silent(),
) -> Changed:
    """Compare two results of `lacunet segment` and write `change.json`, `change.html` and the masks behind them.

    The verdict rests on masks from the sequences that both visits have. A visit whose mask comes from more of them is
    segmented again; where neither does, no model is loaded.

    Args:
        earlier: The folder of the first visit.
        later: The folder of the second.
        folder: Where the files go.
        load: Loads the model that made the masks.
        task: Of this model.
        days: Between the visits, where the user knows it.
        overwrite: Replace what an earlier run wrote there, when all is written. Other files stay.
        progress: Is told what is being done.

    Raises:
        DataError: a case is not finished, its scans are gone, or they are not two visits of one person that were
            segmented in the same way and can be laid on each other.
        OutputError: the results cannot be written, or are there already.
        UsageError: it is one folder twice, or the model did not make the masks.
    """
    if not overwrite:
        refuse_to_replace(folder / RECORD)
    progress.doing("reading both visits")
    pair = read_pair(earlier, later, task, days)
    progress.doing("laying the later visit on the earlier one")
    laid = lay(pair.earlier, pair.later, task)
    visits = pair.earlier, pair.later
    whole = [mask_measured(visit, task) for visit in visits]
    everything = compare(whole[0], whole[1], task)
    common = common_subset(visits, task)
    same = _at_common(visits, common, whole, load, progress) if common else None
    labels = [one.labels for one in same] if same else [visit.labels for visit in visits]
    both = compare(same[0].measured, same[1].measured, task) if same else None
    moved = on_earlier(laid, labels[1], pair.earlier, pair.later, task)
    tissue = tissue_of(labels[0], moved, pair.earlier.case.grid.voxel_ml, task)
    verdict, warnings = verdict_words(both, task), warnings_of(pair, laid, everything, both, task)
    found = Findings(pair, task, laid, everything, both, tissue, verdict, warnings, _facts(pair, laid, task))
    with whole_files(folder, RECORD, masks_of_earlier_run(folder / RECORD)) as new:
        masks = _write_masks(new, pair, common, same or (), moved, task)
        write_change_page(new / PAGE, _view(found, (labels[0], moved)))
        write_json(new / RECORD, record_of_change(found, masks).model_dump(mode="json"))
    return Changed(folder / RECORD, folder / PAGE, verdict, everything, both, tissue, pair.days, tuple(warnings))


@dataclass(frozen=True)
class _Same:
    """A visit from the sequences that both have.

    Attributes:
        labels: Its mask.
        measured: What it measures.
        again: Whether the model was asked for it.
    """

    labels: Labels
    measured: Measured
    again: bool


def _at_common(
    visits: tuple[Visit, Visit],
    common: Subset,
    whole: list[Measured],
    load: Callable[[], Predictor],
    progress: Progress,
) -> tuple[_Same, _Same]:
    """Both visits from the same sequences; the model is loaded where a mask comes from more than these."""
    predictor = load() if any(visit.subset != common for visit in visits) else None
    found = []
    for word, visit, measured in zip(("earlier", "later"), visits, whole, strict=True):
        if predictor is None or visit.subset == common:
            found.append(_Same(visit.labels, measured, again=False))
            continue
        progress.doing(f"segmenting the {word} visit from the sequences of both")
        answer = asked_again(visit, common, predictor)
        found.append(_Same(answer.labels, answer_measured(answer), again=True))
    return found[0], found[1]


def _write_masks(
    folder: Path, pair: Pair, common: Subset, same: tuple[_Same, ...], moved: Labels, task: Task
) -> dict[str, str]:
    """The masks that were made here (name -> SHA-256): from fewer sequences, and the later one on the earlier grid."""
    convention = pair.earlier.record.label_convention
    names: list[str] = []
    for word, visit, one in zip(("earlier", "later"), (pair.earlier, pair.later), same, strict=False):
        if one.again:
            names.append(f"{word}-{task.subset_name(common)}-mask.nii.gz")
            write_mask(folder / names[-1], one.labels, visit.case, convention, task, _like(visit))
    names.append(LAID_MASK)
    write_mask(folder / LAID_MASK, moved, pair.earlier.case, convention, task, _like(pair.earlier))
    return {name: sha256_of([folder / name]) for name in names}


def _like(visit: Visit) -> Path:
    """The scan whose header a mask on its grid gets."""
    return visit.files.images[visit.subset[0]].path


def _facts(pair: Pair, laid: Laid, task: Task) -> dict[str, str]:
    """The provenance that page and record print."""
    made_by = pair.earlier.record.provenance
    titles = [task.titles[name] for name in laid.by]
    by = titles[0] if titles[0] == titles[1] else f"{titles[0]} (earlier) and {titles[1]} (later)"
    return {
        "lacunet": version("lacunet"),
        MODEL: made_by.get(MODEL, "not stated"),
        WEIGHTS: pair.earlier.record.weights,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "earlier visit": pair.earlier.record.case,
        "later visit": pair.later.record.case,
        "days between": "not known" if pair.days is None else str(pair.days),
        "registered by": by,
        "registration": f"moves the brain by {laid.moved_mm:.1f} mm and turns it by {laid.to_earlier.degrees:.1f} "
        f"degrees; likeness of edges {laid.judgement.value:.2f}",
    }


def _view(found: Findings, labels: tuple[Labels, Labels]) -> ChangeView:
    """What the page shows; the labels are those of the earlier visit, and of the later one as it lies on it."""
    pair, images = found.pair, (found.pair.earlier.case.images, found.laid.images)
    said = [Caution(one.kind, one.sentence) for visit in (pair.earlier, pair.later) for one in visit.record.cautions]
    return ChangeView(
        names=(pair.earlier.record.case, pair.later.record.case),
        task=found.task,
        days=pair.days,
        verdict=found.verdict,
        everything=found.everything,
        common=found.common,
        tissue=found.tissue,
        grid=pair.earlier.case.grid,
        images=images,
        labels=labels,
        shown=sequences_shown(found.task, images, found.laid.by),
        pictured=pictures_allowed(said),
        warnings=found.warnings,
        provenance=found.provenance,
    )
