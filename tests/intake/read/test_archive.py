"""Sources as they arrive: folders, archives, files; and what a hostile one gets."""

import io
import os
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from lacunet.errors import DataError
from lacunet.intake.read import archive, members
from lacunet.intake.read.archive import Contents, unpacked

SECRET = "Mustermann_Erika"


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def names(contents: Contents) -> list[str]:
    return [path.relative_to(contents.root).as_posix() for path in contents.files]


def make_zip(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def make_tar(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def refused(source: Path, words: str, work: Path) -> None:
    """The source is refused with these words, no name in it is repeated, and nothing stays."""
    with pytest.raises(DataError, match=words) as caught, unpacked(source):
        pass
    assert SECRET not in str(caught.value)
    assert str(source) not in str(caught.value)
    assert list(work.iterdir()) == []


def test_a_folder_gives_its_files_and_not_the_hidden_ones(tmp_path: Path) -> None:
    for name in ("b/2.dcm", "a.dcm", ".DS_Store", "__MACOSX/._a.dcm", ".git/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    with unpacked(tmp_path) as contents:
        assert names(contents) == ["a.dcm", "b/2.dcm"]
        assert contents.passed_over == {"hidden files": 3}


def test_a_single_file_is_a_source(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(b"x")
    (tmp_path / "b.nii").write_bytes(b"x")
    with unpacked(tmp_path / "a.nii") as contents:
        assert names(contents) == ["a.nii"]


def test_a_zip_and_a_tar_are_unpacked_and_removed_again(tmp_path: Path, work: Path) -> None:
    sources = [
        make_zip(tmp_path / "a.ZIP", **{"x/1": b"one", "2.dcm": b"two"}),
        make_tar(tmp_path / "a.tar.gz", (member("x/1"), b"one"), (member("2.dcm"), b"two")),
    ]
    for source in sources:
        with unpacked(source) as contents:
            assert names(contents) == ["2.dcm", "x/1"]
            assert contents.files[1].read_bytes() == b"one"
            assert stat.S_IMODE(contents.root.stat().st_mode) == 0o700
        assert list(work.iterdir()) == []


def test_the_temporary_folder_goes_also_when_the_block_fails(tmp_path: Path, work: Path) -> None:
    source = make_zip(tmp_path / "a.zip", one=b"1")
    with pytest.raises(ZeroDivisionError), unpacked(source):
        raise ZeroDivisionError
    assert list(work.iterdir()) == []


def test_a_link_is_followed_within_the_folder_and_not_out_of_it(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / ".git" / "annex").mkdir(parents=True)
    (source / ".git" / "annex" / "object").write_bytes(b"x")
    (tmp_path / "outside.dcm").write_bytes(b"x")
    (source / "in.nii.gz").symlink_to(".git/annex/object")
    (source / "out.dcm").symlink_to(tmp_path / "outside.dcm")
    (source / "up").symlink_to(tmp_path)
    (source / "round").symlink_to(".")
    (source / "nowhere").symlink_to("gone")
    with unpacked(source) as contents:
        assert names(contents) == ["in.nii.gz"]
        assert contents.passed_over["links that lead out of the folder"] == 2
        assert contents.passed_over["links to folders"] == 1
        gone = "links to files that are not there (with git-annex or DataLad: get them first)"
        assert contents.passed_over[gone] == 1


def test_a_folder_of_a_datalad_repository_is_read_through_its_links(tmp_path: Path) -> None:
    """The files lie in the store of the repository, above the folder; elsewhere above it nothing is read."""
    store = tmp_path / "repository" / ".git" / "annex" / "objects" / "a1"
    store.mkdir(parents=True)
    (store / "SHA256E-s1--abc.dcm").write_bytes(b"x")
    (tmp_path / "repository" / "secret.dcm").write_bytes(b"x")
    source = tmp_path / "repository" / "sub-01" / "scans"
    source.mkdir(parents=True)
    (source / "one.dcm").symlink_to("../../.git/annex/objects/a1/SHA256E-s1--abc.dcm")
    (source / "two.dcm").symlink_to("../../.git/annex/objects/a1/SHA256E-s1--not-fetched.dcm")
    (source / "three.dcm").symlink_to("../../secret.dcm")
    with unpacked(source) as contents:
        assert names(contents) == ["one.dcm"]
        gone = "links to files that are not there (with git-annex or DataLad: get them first)"
        assert contents.passed_over == {gone: 1, "links that lead out of the folder": 1}


def test_a_pipe_in_a_folder_is_passed_over_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "a.dcm").write_bytes(b"x")
    with unpacked(tmp_path) as contents:
        assert names(contents) == ["a.dcm"]
        assert contents.passed_over == {"devices, pipes or sockets": 1}


def test_an_archive_inside_is_counted_and_not_opened(tmp_path: Path) -> None:
    inner = make_zip(tmp_path / "inner.zip", a=b"1").read_bytes()
    with unpacked(make_zip(tmp_path / "outer.zip", **{"inner.zip": inner, "b": b"2"})) as contents:
        assert names(contents) == ["b"]
        assert contents.passed_over == {"archives inside": 1}


@pytest.mark.parametrize(
    "name", [f"../{SECRET}", f"a/../../{SECRET}", f"..\\{SECRET}", f"/etc/{SECRET}", f"C:\\{SECRET}"]
)
def test_a_path_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    words = "absolute path" if name[0] in "/C" else r"a path with '\.\.'"
    refused(make_zip(tmp_path / "a.zip", **{"good": b"1", name: b"2"}), words, tmp_path / "work")
    refused(make_tar(tmp_path / "a.tar.gz", (member("good"), b"1"), (member(name), b"2")), words, tmp_path / "work")
    assert not (tmp_path / SECRET).exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize("target", ["../../etc/passwd", "/etc/passwd", "a/../../b"])
def test_a_link_in_a_tar_that_leads_out_is_refused(tmp_path: Path, kind: bytes, target: str) -> None:
    refused(
        make_tar(tmp_path / "a.tar.gz", (member(SECRET, kind, target), b"")), "a link that leads out", tmp_path / "work"
    )


def test_a_link_in_a_zip_that_leads_out_is_refused_and_one_inside_passed_over(tmp_path: Path) -> None:
    def linked(path: Path, target: str) -> Path:
        info = zipfile.ZipInfo("folder/link")
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(info, target)
            archive.writestr("folder/file", b"1")
        return path

    refused(linked(tmp_path / "a.zip", "../../x"), "a link that leads out", tmp_path / "work")
    with unpacked(linked(tmp_path / "b.zip", "../folder/file")) as contents:
        assert names(contents) == ["folder/file"]
        assert contents.passed_over == {"links inside the archive": 1}


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_a_device_in_an_archive_is_refused(tmp_path: Path, kind: bytes) -> None:
    refused(make_tar(tmp_path / "a.tar.gz", (member("x", kind), b"")), "a device or a pipe", tmp_path / "work")


@pytest.mark.parametrize("make", [
    lambda path, size: make_zip(path / "a.zip", zeros=bytes(size)),
    lambda path, size: make_tar(path / "a.tar.gz", (member("zeros"), bytes(size))),
])  # fmt: skip
def test_a_bomb_is_stopped_while_it_unpacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path, int], Path]
) -> None:
    monkeypatch.setattr(members, "ALWAYS_ALLOWED", 2**20)
    refused(make(tmp_path, 4 * 2**20), "looks like a zip bomb", tmp_path / "work")
    monkeypatch.setattr(members, "ALWAYS_ALLOWED", 2**30)
    monkeypatch.setattr(members, "MOST_BYTES", 2**21)
    refused(make(tmp_path, 4 * 2**20), "unpacks to more than", tmp_path / "work")


def test_a_zip_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    """The size in the directory is made small; what is counted is what comes out."""
    path = make_zip(tmp_path / "a.zip", zeros=bytes(2**22))
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = (100).to_bytes(4, "little")
    path.write_bytes(content)
    refused(path, "truncated, damaged or no archive", tmp_path / "work")


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (archive, members):
        monkeypatch.setattr(module, "MOST_FILES", 3)
    refused(make_zip(tmp_path / "a.zip", a=b"", b=b"", c=b"", d=b""), "more than 3 files", tmp_path / "work")
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in "abcd":
        (folder / name).touch()
    refused(folder, "more than 3 files", tmp_path / "work")


def test_too_little_space_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "SPARE_BYTES", 2**60)
    refused(make_zip(tmp_path / "a.zip", a=b"1"), "too little free space", tmp_path / "work")


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", one=b"1")
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    content[content.index(b"PK\x03\x04") + 6] |= 1
    path.write_bytes(content)
    refused(path, "is encrypted", tmp_path / "work")


@pytest.mark.parametrize("end", [".zip", ".tar.gz", ".tar"])
def test_a_truncated_archive_and_one_that_is_none_are_refused(tmp_path: Path, end: str) -> None:
    whole = make_zip(tmp_path / "w.zip", a=os.urandom(5000)) if end == ".zip" else None
    whole = whole or make_tar(tmp_path / "w.tar.gz", (member("a"), os.urandom(5000)))
    path = tmp_path / f"{SECRET}{end}"
    path.write_bytes(whole.read_bytes()[:3000])
    refused(path, "truncated, damaged or no archive", tmp_path / "work")
    path.write_bytes(b"no archive at all" * 100)
    refused(path, "truncated, damaged or no archive", tmp_path / "work")


def test_a_damaged_member_is_refused_by_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a", b"0123456789" * 10)
    path.write_bytes(path.read_bytes().replace(b"0123456789", b"0123456780", 1))
    refused(path, "damaged zip", tmp_path / "work")


def test_odd_names_are_made_plain_and_twins_numbered(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    odd = ["a\nb.dcm", "a\tb.dcm", "x" * 250 + ".dcm", "\udcff.dcm", "CON:.dcm"]
    make_tar(path, *((member(name), b"1") for name in odd))
    with unpacked(path) as contents:
        assert len(contents.files) == 5
        assert {"2-a_b.dcm", "a_b.dcm", "CON_.dcm"} <= set(names(contents))
        assert all(len(name.encode()) <= 202 and name.endswith(".dcm") for name in names(contents))


def test_a_source_that_is_not_there_or_unknown_is_said_without_its_name(tmp_path: Path) -> None:
    refused(tmp_path / SECRET, "no such file or folder", tmp_path / "work")
    path = tmp_path / f"{SECRET}.7z"
    path.write_bytes(b"7z")
    refused(path, "an archive of a kind that is not read here", tmp_path / "work")


def test_folders_deeper_than_any_export_are_refused_or_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (archive, members):
        monkeypatch.setattr(module, "DEEPEST", 3)
    refused(make_zip(tmp_path / "a.zip", **{"a/b/c/d/e": b"1"}), "more than 3 deep", tmp_path / "work")
    (tmp_path / "f/a/b/c/d").mkdir(parents=True)
    (tmp_path / "f/a/b/c/d/e").touch()
    with unpacked(tmp_path / "f") as contents:
        assert contents.files == ()
        assert contents.passed_over == {"folders too deep inside": 1}
