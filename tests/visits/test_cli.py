"""`lacunet segment` offers the change between two visits, and `lacunet change` says it."""

import json
from pathlib import Path

import numpy as np

from calibrations_made import tiny_model
from lacunet.data.find import find_cases
from lacunet.data.nifti import load_case, write_mask
from lacunet.data.phantom.phantom import PhantomVisit, write_phantom
from lacunet.task import GLIOMA


def test_two_visits_from_segment_to_change(lacunet, few_starts, tmp_path):
    cases, masks = tmp_path / "cases", tmp_path / "masks"
    model = str(tiny_model(tmp_path / "tiny", spacing=8.0))
    for visit in (PhantomVisit(), PhantomVisit(1, growth=1.5)):
        folder = write_phantom(cases, 7, GLIOMA, 6.0, visit=visit)
        (folder / f"{folder.name}-seg.nii.gz").unlink()
    status, said, complaints = lacunet("segment", cases, "-o", masks, "--model", model, "--no-viewer")
    assert (status, complaints.strip()) == (0, "")
    offered = next(line for line in said.splitlines() if "lacunet change" in line)
    assert f"{masks / 'phantom-00007-000'} {masks / 'phantom-00007-001'}" in offered
    for files in find_cases(cases):
        case, record = load_case(files), masks / files.name / "case.json"
        labels = np.zeros(case.grid.shape, np.uint8)
        labels[12:16, 20:24, 12:16] = 2
        mask = masks / files.name / f"{files.name}-mask.nii.gz"
        write_mask(mask, labels, case, "brats2023", GLIOMA, files.images["t1c"].path)
        record.write_text(json.dumps(json.loads(record.read_text("utf-8")) | {"doubts": []}), "utf-8")
    words = offered.partition("lacunet change ")[2].split()
    status, said, complaints = lacunet("change", *words)
    assert (status, complaints.strip()) == (0, "")
    assert said.startswith("Whether the whole tumour, tumour core and enhancing tumour changed is not known")
    assert (Path(words[words.index("-o") + 1]) / "change.html").is_file()
    status, _, complaints = lacunet("change", *words)
    assert status == 1
    assert "exists already" in complaints
