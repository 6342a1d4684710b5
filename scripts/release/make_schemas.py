"""Write docs/case.schema.json and docs/change.schema.json, the JSON Schemas of `case.json` and `change.json`.

    python scripts/release/make_schemas.py

Run it after a change of `lacunet.segmentation.record` or `lacunet.visits.record`; tests say when it is due.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from lacunet.segmentation.record import FORMAT, CaseRecord
from lacunet.visits.record import FORMAT as CHANGE_FORMAT
from lacunet.visits.record import ChangeRecord

DOCS = Path(__file__).parents[2] / "docs"
PATH = DOCS / "case.schema.json"
CHANGE_PATH = DOCS / "change.schema.json"


def schema() -> str:
    """The JSON Schema of `case.json`, as text."""
    return _schema_of(CaseRecord, "case", FORMAT)


def change_schema() -> str:
    """The JSON Schema of `change.json`, as text."""
    return _schema_of(ChangeRecord, "change", CHANGE_FORMAT)


def _schema_of(record: type[BaseModel], name: str, version: int) -> str:
    made = without_titles(record.model_json_schema(mode="serialization"))
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:lacunet:{name}:{version}",
        "title": f"{name}.json",
    }
    return json.dumps(head | made, indent=2) + "\n"


def without_titles(part: Any) -> Any:
    """Without the titles that pydantic makes of the keys, which say nothing more."""
    if isinstance(part, list):
        return [without_titles(one) for one in part]
    if not isinstance(part, dict):
        return part
    return {key: without_titles(value) for key, value in part.items() if key != "title" or not isinstance(value, str)}


def main() -> None:
    """Write the files."""
    for path, text in ((PATH, schema()), (CHANGE_PATH, change_schema())):
        path.write_text(text, encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
