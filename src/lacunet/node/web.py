"""An archive's DICOMweb: stub."""

from pathlib import Path

from lacunet.node.settings import Web


def stow(web: Web, path: Path) -> None:
    """Stub."""
