"""Model folders, read as every command reads them."""

import hashlib
import json
import struct
from contextlib import suppress
from pathlib import Path
from random import Random

from fuzz import samples
from fuzz.formats import Format, every_step
from fuzz.mutate import JSON_WAYS, Number, any_bytes, any_json, any_text, numbers_at
from lacunet.models.calibration import calibration_words, read_calibration_file
from lacunet.models.model import load_model


def _read_model(folder: Path, output: Path) -> None:
    """As every command loads a model and asks what to expect of it."""
    model = load_model(str(folder))
    for subset in model.task.subsets:
        model.expected_dice(subset)
        if model.calibration is not None:
            name = model.task.subset_name(subset)
            model.calibration.temperature(subset, "none")
            model.calibration.volume_spans(name, dict.fromkeys(model.task.regions, 10.0))
    calibration_words(model.calibration)


def _right_hashes(folder: Path) -> None:
    """The hash of damaged weights in the description and in the calibration, so that the weights are read."""
    digest = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    for name, field in (("model.json", "sha256"), ("calibration.json", "weights")):
        with suppress(ValueError, TypeError, RecursionError):
            fields = json.loads((folder / name).read_bytes())
            if isinstance(fields.get(field), str):
                (folder / name).write_text(json.dumps({**fields, field: digest}))


def _header_of_weights(content: bytes, draw: Random) -> bytes:
    """A damaged header of tensors, whose length is right."""
    size = struct.unpack("<Q", content[:8])[0]
    header, rest = content[8 : 8 + size], content[8 + size :]
    changed = draw.choice((any_json, any_text))(header, draw)
    return struct.pack("<Q", len(changed)) + changed + rest


_WEIGHTS = (_header_of_weights, numbers_at(Number(0, "q")), any_bytes)


def model_formats() -> list[Format]:
    """In the order of the table."""
    return [
        Format("model folder: model.json", samples.write_model, _read_model, {"model.json": JSON_WAYS}),
        Format(
            "model folder: weights", samples.write_model, _read_model, {"weights.safetensors": _WEIGHTS}, _right_hashes
        ),
        Format(
            "model folder: calibration.json", samples.write_model,
            lambda folder, output: every_step(
                lambda: read_calibration_file(folder / "calibration.json"), lambda: _read_model(folder, output)
            ),
            {"calibration.json": JSON_WAYS},
        ),
    ]  # fmt: skip
