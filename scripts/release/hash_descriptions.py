"""Put the description's own hash into each shipped model.json that has none; the weights stay as they are.

    python scripts/release/hash_descriptions.py

A description that was changed since it was hashed is refused: look at the change, remove its `description_sha256`, and
run this again.
"""

from pathlib import Path

from lacunet.errors import ModelError
from lacunet.files import write_json
from lacunet.models.description import HASH, description_hash, description_of
from lacunet.reading import read_json

MODELS = Path(__file__).resolve().parents[2] / "src" / "lacunet" / "models"


def main() -> None:
    """Every model of the package."""
    for path in sorted(MODELS.glob("*/model.json")):
        content = read_json(path, ModelError, "restore it")
        if description_of(content, path).description_sha256 is None:
            write_json(path, {**content, HASH: description_hash(content)})
            print(f"{path.parent.name}: hashed")


if __name__ == "__main__":
    main()
