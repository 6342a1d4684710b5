"""case.json: its published schema, and that what is written keeps to it."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from calibrations_made import calibration_made, tiny_model
from lacunet.models.model import load_model
from lacunet.prediction.predictor import Predictor
from lacunet.segmentation.record import CaseRecord
from lacunet.segmentation.segment import segment_case
from lacunet.segmentation.write import SegmentSettings
from small import ROOT

SCHEMA: dict[str, Any] = json.loads((ROOT / "docs/case.schema.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    model = load_model(str(tiny_model(tmp_path_factory.mktemp("model") / "tiny")))
    return Predictor(model, "cpu", "float32")


def written(predictor: Predictor, files, folder: Path, **settings: Any) -> dict[str, Any]:
    done = segment_case(predictor, files, folder, SegmentSettings(viewer=False, **settings))
    record: dict[str, Any] = json.loads(done.places.record.read_text("utf-8"))
    return record


def test_the_published_schemas_are_those_of_the_code(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts/release"))
    import make_schemas

    for path, text in make_schemas.schemas().items():
        assert text == path.read_text("utf-8"), "run scripts/release/make_schemas.py"
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("subset", [None, ("t1c",), ("t1c", "t2f")])
def test_what_is_written_keeps_to_the_schema(predictor, phantoms, tmp_path, subset):
    record = written(predictor, phantoms[0], tmp_path, subset=subset)
    jsonschema.validate(record, SCHEMA, format_checker=jsonschema.FormatChecker())
    assert {one["number"] for one in record["vasari"]} >= ({"F1", "F5", "F29"} if record["measures"] else set())
    assert set(record) == set(SCHEMA["required"]) == set(SCHEMA["properties"])
    assert CaseRecord.model_validate_json(json.dumps(record)).model_dump(mode="json") == record
    moment = datetime.fromisoformat(record["written"])
    assert timedelta(0) <= datetime.now(UTC) - moment < timedelta(minutes=10)
    assert moment.utcoffset() == timedelta(0)


def test_a_calibration_s_ranges_keep_to_it_too(predictor, phantoms, tmp_path):
    model = predictor.model
    calibrated = Predictor(replace(model, calibration=calibration_made()), "cpu", "float32")
    record = written(calibrated, phantoms[0], tmp_path, subset=("t1c", "t2f"))
    jsonschema.validate(record, SCHEMA)
    assert record["calibration"]["coverage"] == calibration_made().coverage
    assert set(record["calibration"]["volume_ranges_ml"]) == {"wt", "tc", "et"}
    plain = written(calibrated, phantoms[0], tmp_path / "n4", subset=("t1c", "t2f"), n4="on")
    assert plain["calibration"]["volume_ranges_ml"] is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"volumes_ml": {"wt": -1.0}}, "-1.0 is less than the minimum of 0"),
        ({"written": "yesterday"}, "'yesterday' is not a 'date-time'"),
        ({"more": 1}, "'more' was unexpected"),
        ({"evidence": {"wt": "guessed"}}, "'guessed' is not one of"),
        ({"inputs_sha256": {"t1c": "12"}}, "does not match"),
    ],
)
def test_the_schema_refuses_what_is_not_so(predictor, phantoms, tmp_path, change, said):
    record = written(predictor, phantoms[0], tmp_path, subset=("t1c",)) | change
    checker = jsonschema.FormatChecker()
    checker.checks("date-time", ValueError)(lambda text: bool(datetime.fromisoformat(text)))
    with pytest.raises(jsonschema.ValidationError, match=said):
        jsonschema.validate(record, SCHEMA, format_checker=checker)
