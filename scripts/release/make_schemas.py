"""Write docs/case.schema.json, the JSON Schema of `case.json`.

    python scripts/release/make_schemas.py

Run it after a change of `lacunet.segmentation.record`; a test says when it is due.
"""

import json
from pathlib import Path
from typing import Any

from lacunet.segmentation.record import FORMAT, CaseRecord

PATH = Path(__file__).parents[2] / "docs/case.schema.json"


def schema() -> str:
    """The JSON Schema, as text."""
    made = without_titles(CaseRecord.model_json_schema(mode="serialization"))
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:lacunet:case:{FORMAT}",
        "title": "case.json",
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
    """Write the file."""
    PATH.write_text(schema(), encoding="utf-8")
    print(PATH)


if __name__ == "__main__":
    main()
