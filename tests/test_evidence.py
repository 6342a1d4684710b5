"""Which regions the sequences in use can show: enhancement shows in T1ce only."""

import json

import pytest

from lacunet.task import GLIOMA, METS, Task


@pytest.mark.parametrize("task", [GLIOMA, METS], ids=["glioma", "mets"])
@pytest.mark.parametrize("subset", GLIOMA.subsets, ids="+".join)
def test_enhancing_tumour_is_seen_in_t1ce_and_inferred_elsewhere(task: Task, subset) -> None:
    seen = {"wt": "seen", "tc": "seen", "et": "seen"}
    inferred = {"wt": "seen", "tc": "partly inferred", "et": "inferred"}
    assert task.evidence(subset) == (seen if "t1c" in subset else inferred)


def test_a_label_is_inferred_as_the_region_that_paints_it() -> None:
    assert GLIOMA.label_evidence(("t2f",)) == {
        "necrotic_core": "partly inferred",
        "oedema": "seen",
        "enhancing": "inferred",
    }
    assert set(GLIOMA.label_evidence(("t1c",)).values()) == {"seen"}


def test_a_model_folder_that_says_nothing_of_it_says_the_same() -> None:
    old = json.loads(json.dumps({**GLIOMA.to_json(), "name": "ours"}))
    del old["shown_by"]
    assert Task.from_json(old).evidence(("t2f",))["et"] == "inferred"
    assert Task.from_json(json.loads(json.dumps(GLIOMA.to_json()))) == GLIOMA


def test_a_task_without_such_a_region_sees_everything() -> None:
    titles = {"flair": "FLAIR", "dwi": "DWI", "all": "all of it"}
    task = Task("two", ("flair", "dwi"), titles, {}, {"lesion": 1}, {"all": (1,)}, (("all", 1),), {})
    assert task.evidence(("dwi",)) == {"all": "seen"}
    fields = json.loads(json.dumps(task.to_json()))
    del fields["shown_by"]
    assert Task.from_json(fields) == task
