"""Recipes, lists, tables and records that are text."""

import json
from pathlib import Path

from fuzz import samples
from fuzz.formats import Format, every_step
from fuzz.mutate import JSON_WAYS, TEXT_WAYS
from lacunet.data.find import find_cases
from lacunet.data.missing import read_missing
from lacunet.data.source_table import SourceRow, write_sources
from lacunet.data.split import read_list, read_split
from lacunet.evaluation.results import read_evaluation
from lacunet.intake.identify.clues import guess
from lacunet.intake.read.nifti import loose_visits
from lacunet.intake.read.subject import subject_beside
from lacunet.intake.record import import_facts, read_record
from lacunet.task import GLIOMA, get_task
from lacunet.training.recipe import read_recipe


def _write_missing(folder: Path) -> None:
    (folder / "missing.csv").write_text("case,acquired\nalpha-1,t1c+t2f\nbeta-1,t1n\n")


def _write_task(folder: Path) -> None:
    (folder / "task.json").write_text(json.dumps(GLIOMA.to_json()))


def _read_task(folder: Path, output: Path) -> None:
    task = get_task(str(folder / "task.json"))
    for subset in task.subsets[:20]:
        task.evidence(subset)
        task.label_evidence(subset)


def _write_sidecar(folder: Path) -> None:
    case = folder / "sub-01" / "anat"
    case.mkdir(parents=True)
    (case / "sub-01_T1w.nii.gz").write_bytes(b"")
    fields = {
        "SeriesDescription": "T1 AX", "RepetitionTime": 0.5, "EchoTime": 0.01, "ScanningSequence": "SE",
        "ImageType": ["ORIGINAL", "PRIMARY"], "AcquisitionTime": "10:11:12.5", "PatientAge": "045Y",
        "MagneticFieldStrength": 3, "ContrastBolusIngredient": "GADOLINIUM", "BodyPartExamined": "HEAD",
    }  # fmt: skip
    (case / "sub-01_T1w.json").write_text(json.dumps(fields))
    (folder / "participants.tsv").write_text("participant_id\tage\tsex\nsub-01\t45\tF\n")
    (folder / "participants.json").write_text(json.dumps({"age": {"Units": "years"}}))


def _read_sidecar(folder: Path, output: Path) -> None:
    """As `import` reads what lies beside an image; what cannot be read says nothing."""
    image = folder / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    visits, _ = loose_visits([image], GLIOMA)
    for visit in visits:
        for one in visit.files:
            guess(one.clues, GLIOMA)
    subject_beside(image)


def _write_sources(folder: Path) -> None:
    write_sources(folder, [SourceRow("case-1", "/scans/a", "t1c", "series 1", ("a.dcm", "b.dcm"), "ab" * 32)])


def _add_sources(folder: Path, output: Path) -> None:
    """As a second command adds its rows."""
    (output / "sources.csv").write_bytes((folder / "sources.csv").read_bytes())
    write_sources(output, [SourceRow("case-2", "/scans/b", "t1c", "series 1", ("a.dcm",), "ab" * 32)])


def _read_splits(folder: Path, output: Path) -> None:
    every_step(
        lambda: read_split(folder / "split.json"),
        lambda: read_split(folder / "lists"),
        lambda: read_list(folder / "lists" / "val.txt"),
    )


def text_formats() -> list[Format]:
    """In the order of the table."""

    def recipe(folder: Path) -> None:
        samples.write_recipe_file(folder / "recipe.toml")

    return [
        Format(
            "recipe", recipe, lambda folder, output: read_recipe(folder / "recipe.toml").steps_of(["train"]) and None,
            {"recipe.toml": TEXT_WAYS},
        ),
        Format(
            "manifest.csv", samples.write_manifest, lambda folder, output: find_cases(folder / "manifest.csv") and None,
            {"manifest.csv": TEXT_WAYS},
        ),
        Format(
            "dataset.json", samples.write_msd, lambda folder, output: find_cases(folder) and None,
            {"dataset.json": JSON_WAYS},
        ),
        Format(
            "split", samples.write_splits, _read_splits,
            {"split.json": JSON_WAYS, "lists/train.txt": TEXT_WAYS, "lists/val.txt": TEXT_WAYS},
        ),
        Format(
            "evaluation folder: summary.json", samples.write_scores,
            lambda folder, output: read_evaluation(folder) and None, {"summary.json": JSON_WAYS},
        ),
        Format(
            "evaluation folder: cases.csv", samples.write_scores,
            lambda folder, output: read_evaluation(folder) and None, {"cases.csv": TEXT_WAYS},
        ),
        Format(
            "import.json", samples.write_import_record,
            lambda folder, output: import_facts(read_record(folder), GLIOMA) and None, {"import.json": JSON_WAYS},
        ),
        Format(
            "missing.csv", _write_missing, lambda folder, output: read_missing(folder / "missing.csv", GLIOMA) and None,
            {"missing.csv": TEXT_WAYS},
        ),
        Format("task", _write_task, _read_task, {"task.json": JSON_WAYS}),
        Format(
            "sidecar and participants", _write_sidecar, _read_sidecar,
            {"sub-01/anat/sub-01_T1w.json": JSON_WAYS, "participants.tsv": TEXT_WAYS, "participants.json": JSON_WAYS},
        ),
        Format("sources.csv", _write_sources, _add_sources, {"sources.csv": TEXT_WAYS}),
    ]  # fmt: skip
