"""Write the JSON Schemas of `case.json`, `change.json` and `measures.json` into docs/.

    python scripts/release/make_schemas.py

Run it after a change of the records that they describe; a test says when it is due.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from lacunet.corrections import record as corrections_record
from lacunet.segmentation import record
from lacunet.visits import record as visits_record

DOCS = Path(__file__).parents[2] / "docs"


def schemas() -> Mapping[Path, str]:
    """The text of each file."""
    return {
        DOCS / "case.schema.json": _schema(record.CaseRecord, "case", record.FORMAT),
        DOCS / "change.schema.json": _schema(visits_record.ChangeRecord, "change", visits_record.FORMAT),
        DOCS / "measures.schema.json": _schema(
            corrections_record.MeasuresRecord, "measures", corrections_record.FORMAT
        ),
    }


def _schema(model: type[BaseModel], name: str, version: int) -> str:
    made = without_titles(model.model_json_schema(mode="serialization"))
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
    for path, text in schemas().items():
        path.write_text(text, encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
