"""A process that reads mutants one after another and writes one line of JSON about each.

    python -m fuzz.worker MODULE BASE BYTES SECONDS FORMAT:FIRST:LAST ...

`MODULE` has the function `all_formats`. The process is watched from inside: the system refuses more than `BYTES` of
memory beside what it has at the start, a mutant that takes longer than `SECONDS` ends it with its stack, and an audit
hook refuses and reports what is opened, made, moved or run outside `BASE`. Who started it sees a signal, an early end
and anything that is printed.
"""

import faulthandler
import json
import os
import resource
import shutil
import sys
import tempfile
import time
import warnings
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

from fuzz.formats import Format, Reading, Result
from lacunet.errors import LacunetError

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
_CHANGES = (
    "os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate",
    "os.utime", "shutil.rmtree",
)  # fmt: skip
_RUNS = (
    "ctypes.dlopen", "os.exec", "os.fork", "os.posix_spawn", "os.system", "pickle.find_class", "socket.connect",
    "subprocess.Popen",
)  # fmt: skip


class Guard:
    """Refuses and remembers what a reader does outside its folders, while it is on."""

    def __init__(self, readable: list[Path]) -> None:
        self.readable = [str(path.resolve()) for path in readable]
        self.writable: list[str] = []
        self.on = False
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "open":
            path, _, flags = arguments
            self._require(event, path, self.writable if flags & _WRITES else (*self.readable, *self.writable))
        elif event in _CHANGES:
            for path in arguments[:2] if event in ("os.rename", "os.link") else arguments[:1]:
                self._require(event, _in_folder(path, arguments[-1]), self.writable)
        elif event in _RUNS:
            self._refuse(f"{event} {arguments!r:.200}")

    def _require(self, event: str, path: object, folders: "list[str] | tuple[str, ...]") -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        whole = os.fsdecode(path)
        parent, name = os.path.split(whole.rstrip("/"))
        place = f"{os.path.realpath(parent or '.')}/{name}"
        if not any(place == folder or place.startswith(folder + "/") for folder in folders):
            self._refuse(f"{event} {whole}")

    def _refuse(self, words: str) -> None:
        self.seen.append(words)
        raise PermissionError(f"outside: {words}")


def _in_folder(path: object, descriptor: object) -> object:
    """A path that is relative to an open folder, as a whole one."""
    if isinstance(path, str) and not path.startswith("/") and isinstance(descriptor, int) and descriptor >= 0:
        return f"/proc/self/fd/{descriptor}/{path}"
    return path


def mutant(one: Format, contents: dict[str, bytes], number: int) -> tuple[str, bytes]:
    """The file that mutant `number` of a format changes, and its bytes; number -1 is the good sample."""
    draw = Random(f"{one.name} {number}")
    name = draw.choice(list(one.ways))
    content = contents[name]
    if number < 0:
        return name, content
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        try:
            content = draw.choice(one.ways[name])(content, draw)
        except Exception:  # what is damaged already may not be taken apart again
            break
    return name, content


def _peak_kibibytes() -> int:
    """The most memory since this was last called; counting begins anew."""
    peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
    Path("/proc/self/clear_refs").write_text("5")
    return peak


def _read(one: Format, folders: tuple[Path, Path], guard: Guard) -> tuple[Result, str]:
    guard.on = True
    try:
        one.read(*folders)
        return "read", ""
    except LacunetError as error:
        return "refused", str(error)
    except BaseException as error:
        return "other", _where(error)
    finally:
        guard.on = False


def _where(error: BaseException) -> str:
    """The error, and the last place in lacunet that it went through."""
    place, step = "", error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        if "/lacunet/" in code.co_filename:
            place = f"{code.co_filename.rpartition('/lacunet/')[2]}:{step.tb_lineno} {code.co_name}"
        step = step.tb_next
    return f"{type(error).__name__}: {error} at {place}"[:600]


def try_all(one: Format, numbers: range, base: Path, guard: Guard, most_seconds: float) -> None:
    """Read mutants and print a line about each."""
    good, inputs, output = (base / one.name / part for part in ("good", "input", "output"))
    good.mkdir(parents=True)
    output.mkdir()
    one.write(good)
    shutil.copytree(good, inputs)
    everything = {path.relative_to(good).as_posix(): path.read_bytes() for path in good.rglob("*") if path.is_file()}
    contents = {name: everything[name] for name in one.ways}
    guard.writable = [str(path.resolve()) for path in (output, Path(tempfile.gettempdir()))]
    for number in numbers:
        name, content = mutant(one, contents, number)
        (inputs / name).write_bytes(content)
        one.after(inputs)
        before = _peak_kibibytes()
        before = _peak_kibibytes()
        faulthandler.dump_traceback_later(most_seconds, exit=True)
        began = time.perf_counter()
        result, words = _read(one, (inputs, output), guard)
        seconds = time.perf_counter() - began
        faulthandler.cancel_dump_traceback_later()
        if guard.seen:
            result, words = "other", "; ".join(guard.seen)
            guard.seen.clear()
        if left := [path.name for path in Path(tempfile.gettempdir()).iterdir()]:
            result, words = "other", f"left in the folder for temporary files: {left}"
            shutil.rmtree(tempfile.gettempdir())
            Path(tempfile.gettempdir()).mkdir()
        reading = Reading(one.name, number, result, words, round(seconds, 4), max(_peak_kibibytes() - before, 0))
        sys.stdout.write(json.dumps(asdict(reading)) + "\n")
        sys.stdout.flush()
        shutil.rmtree(output)
        output.mkdir()
        for name, content in everything.items():
            (inputs / name).write_bytes(content)


def main() -> None:
    """Read the mutants that were asked for."""
    module, base, most, seconds = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    here = Path(__file__).resolve()
    formats = {one.name: one for one in import_module(module).all_formats()}
    temporary = base / "temporary"
    temporary.mkdir(exist_ok=True)
    tempfile.tempdir = str(temporary)
    system = [Path(sys.prefix), Path(sys.base_prefix), here.parents[2], Path("/proc"), Path("/dev/null")]
    guard = Guard([*system, base])
    warnings.simplefilter("error")
    os.chdir(base)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + most
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for wanted in sys.argv[5:]:
        name, first, last = wanted.rsplit(":", 2)
        try_all(formats[name], range(int(first), int(last)), base, guard, seconds)


if __name__ == "__main__":
    main()
