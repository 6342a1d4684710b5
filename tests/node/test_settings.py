"""The configuration of a node: the example is right, and what is wrong is named by its key."""

import tomllib
from pathlib import Path

import pytest
import tomli_w

from lacunet.errors import UsageError
from lacunet.node.settings import EXAMPLE, NodeSettings, read_settings

LEAST = {
    "folder": "node",
    "receive": {"senders": [{"title": "PACS", "addresses": ["10.0.0.0/24"]}]},
    "send": {"store": {"title": "PACS", "address": "10.0.0.5", "port": 104}},
}


def written(folder: Path, **sections: object) -> Path:
    fields = {**LEAST, **{name: value for name, value in sections.items() if value is not None}}
    path = folder / "node.toml"
    path.write_text(tomli_w.dumps(fields))
    return path


def test_the_example_is_right(tmp_path: Path, lacunet) -> None:
    status, out, _ = lacunet("node", "example")
    assert (status, out) == (0, EXAMPLE)
    (tmp_path / "node.toml").write_text(EXAMPLE)
    settings = read_settings(tmp_path / "node.toml")
    assert settings.receive.knows("PACS", "10.0.0.5")
    again = "\n".join(
        line.removeprefix("# ") if "fetch" in line or "=" in line else line for line in EXAMPLE.split("\n")
    )
    assert NodeSettings.model_validate(tomllib.loads(again)).fetch is not None


def test_relative_folders_start_at_the_file(tmp_path: Path) -> None:
    assert read_settings(written(tmp_path)).folder == tmp_path / "node"


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"keep_day": 3}, r"unknown key 'keep_day'; did you mean 'keep_days'\?; it has: folder, keep_days"),
        ({"segment": {"modle": "x"}}, r"unknown key 'segment.modle'; did you mean 'model'\?; it has: model, device"),
        ({"receive": {"senders": [{"title": "A", "adresses": []}]}}, "'receive.senders.0.addresses' is missing"),
        ({"receive": {"senders": [{"title": "A", "addresses": ["pacs"]}]}}, "expected an IP address or a network"),
        ({"receive": {"senders": [{"title": "A" * 17, "addresses": ["::1"]}]}}, "an AE title has 1 to 16 letters"),
        ({"receive": {"senders": []}}, r"nobody may send: name who may, under \[\[receive.senders\]\]"),
        ({"receive": {"complete": "soon"}}, "'receive.complete' = 'soon'"),
        ({"send": {}}, r"'send': needs either \[send.store\] or \[send.stow\]"),
        ({"send": {"stow": {"url": "ftp://archive"}}}, "'send.stow.url' = 'ftp://archive': expected an address"),
        ({"send": {"stow": {"url": "http://[::1"}}}, r"'send.stow.url' = 'http://\[::1': expected an address"),
        ({"send": {"stow": {"url": "http://archive:99999/"}}}, "such as https://archive:8443/dicom-web"),
        ({"send": {"stow": {"url": "https:///dicom-web"}}}, "expected an address"),
        ({"send": {"store": {"title": "A", "address": "x", "port": 0}}}, "'send.store.port' = 0"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, sections, words) -> None:
    with pytest.raises(UsageError, match=words):
        read_settings(written(tmp_path, **sections))


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lacunet node example prints one"):
        read_settings(tmp_path / "nowhere.toml")
    (tmp_path / "bad.toml").write_text("folder = ")
    with pytest.raises(UsageError, match="not TOML"):
        read_settings(tmp_path / "bad.toml")
