"""The files of the extension for 3D Slicer: manifest, CMake, panel and Python agree with each other and with Slicer."""

import ast
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
from PIL import Image

from small import ROOT

EXTENSION = ROOT / "slicer"
MODULE = EXTENSION / "Lacunet"
SOURCE = (MODULE / "Lacunet.py").read_text("utf-8")
PANEL = ElementTree.parse(MODULE / "Resources/UI/Lacunet.ui").getroot()
CATALOG_ENTRY: dict[str, Any] = {
    "required": ["$schema", "category", "scm_url"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"pattern": r"slicer-extension-catalog-entry-schema-v1\.0\.1\.json#$"},
        "category": {"type": "string", "minLength": 1},
        "scm_url": {"type": "string", "pattern": "^https://"},
        "scm_revision": {"type": "string"},
        "scm_type": {"enum": ["git", "local"]},
        "build_dependencies": {"type": "array", "items": {"type": "string"}},
        "build_subdirectory": {"type": "string"},
        "enabled": {"type": "boolean"},
        "tier": {"enum": [1, 3, 5]},
    },
}
"""What Slicer's schema of catalog entries, version 1.0.1, asks of the file in its ExtensionsIndex."""


def python_files() -> list[Path]:
    return sorted(EXTENSION.rglob("*.py"))


def test_the_manifest_keeps_to_the_format():
    jsonschema.validate(json.loads((EXTENSION / "Lacunet.json").read_text("utf-8")), CATALOG_ENTRY)


@pytest.mark.parametrize("version", [(3, 9), (3, 12)])
@pytest.mark.parametrize("path", python_files(), ids=lambda path: path.name)
def test_python_of_slicer_can_read_every_file(path, version):
    tree = ast.parse(path.read_text("utf-8"), feature_version=version)
    later = any(isinstance(one, ast.ImportFrom) and one.module == "__future__" for one in tree.body)
    assert later or not any(isinstance(node, ast.FunctionDef) for node in ast.walk(tree))


@pytest.mark.parametrize("path", sorted((MODULE / "LacunetLib").glob("*.py")), ids=lambda path: path.name)
def test_the_library_needs_neither_slicer_nor_lacunet(path):
    tree = ast.parse(path.read_text("utf-8"))
    plain = {name.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    froms = {
        (node.module or "").split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        if not node.level
    }
    allowed = {
        "__future__",
        "collections",
        "dataclasses",
        "json",
        "numpy",
        "os",
        "pathlib",
        "re",
        "shlex",
        "shutil",
        "typing",
    }
    assert plain | froms <= allowed


def test_cmake_lists_every_file_of_the_module():
    said = (MODULE / "CMakeLists.txt").read_text("utf-8").replace("${MODULE_NAME}", "Lacunet")
    files = {path.relative_to(MODULE).as_posix() for path in MODULE.rglob("*") if path.suffix in (".py", ".png", ".ui")}
    listed = set(re.findall(r"^  ([\w/]+\.\w+)$", said, re.MULTILINE))
    assert listed == files
    top = (EXTENSION / "CMakeLists.txt").read_text("utf-8")
    for word in ("HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS"):
        assert f"set(EXTENSION_{word} " in top
    assert "add_subdirectory(Lacunet)" in top
    assert top.index("find_package(Slicer REQUIRED)") < top.index("include(${Slicer_USE_FILE})")
    assert top.rstrip().endswith("include(${Slicer_EXTENSION_CPACK})")


def test_the_code_uses_every_widget_that_the_panel_names_and_no_other():
    widgets = {one.get("name"): one.get("class") for one in PANEL.iter("widget")}
    used = set(re.findall(r"self\.ui\.(\w+)", SOURCE))
    assert used <= set(widgets)
    passive = {name for name, kind in widgets.items() if kind in ("QLabel", "ctkCollapsibleButton", "qMRMLWidget")}
    assert set(widgets) - passive == used
    assert len([one.get("name") for one in PANEL.iter("widget")]) == len(widgets)


def test_the_panel_s_classes_signals_and_selectors_are_those_of_slicer():
    custom = {one.findtext("class") for one in PANEL.iter("customwidget")}
    others = {one.get("class") for one in PANEL.iter("widget") if not (one.get("class") or "").startswith("Q")}
    assert others == custom
    selectors = [one for one in PANEL.iter("widget") if one.get("class") == "qMRMLNodeComboBox"]
    connected = {one.findtext("receiver") for one in PANEL.iter("connection")}
    assert {one.get("name") for one in selectors} == connected
    assert len(selectors) == 4
    for one in selectors:
        assert one.findtext("property[@name='noneEnabled']/bool") == "true"
    root = PANEL.find("widget")
    assert root is not None
    assert {one.findtext("sender") for one in PANEL.iter("connection")} == {root.get("name")}


def test_every_slot_that_is_connected_is_there():
    classes = [one for one in ast.parse(SOURCE).body if isinstance(one, ast.ClassDef)]
    methods = {one.name: {part.name for part in one.body if isinstance(part, ast.FunctionDef)} for one in classes}
    assert set(methods) == {"Lacunet", "LacunetWidget", "LacunetLogic"}
    slots = re.findall(r"\.connect\(\"[^\"]+\", self\.(\w+)\)", SOURCE)
    assert set(slots) <= methods["LacunetWidget"]
    assert len(slots) == 6
    assert {"onRead", "onFinished", "onError"} <= methods["LacunetLogic"]


def test_the_icon_is_a_picture_of_128_pixels():
    with Image.open(MODULE / "Resources/Icons/Lacunet.png") as icon:
        assert (icon.size, icon.format) == ((128, 128), "PNG")
