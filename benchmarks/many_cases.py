"""Memory and open files of a training of many cases: ten steps, two workers, few descriptors.

    python benchmarks/many_cases.py [--cases 100,1300] [--steps 10] [--workers 2] [--descriptors 1024] [--spacing 8]

The cases are one invented patient under many names (hard links). The training runs in a process that may open so many
files (`ulimit -n`). Memory is that of the process and its workers, what they share counted once (PSS, Linux only), at
its highest of many looks; the training before its first case costs most of it.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import conditions, print_table, use_cores, write_phantom

RECIPE = """
method = "early_fusion"
arguments = {{ width = 4, levels = 2 }}
prepare.spacing = {spacing}
validate = {{ every = {steps}, subsets = ["t1c"] }}
[train]
steps = {steps}
batch = 2
crop = [16, 16, 16]
precision = "float32"
workers = {workers}
"""

TRAIN = """
import resource, sys
from pathlib import Path
descriptors = int(sys.argv[4])
resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
from lacunet.data.labelled import labelled
from lacunet.task import GLIOMA
from lacunet.training.recipe import read_recipe
from lacunet.training.train import train
cases = labelled(Path(sys.argv[1]), GLIOMA, None)
train(read_recipe(Path(sys.argv[2])), cases[2:], cases[:2], Path(sys.argv[3]), device="cpu")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default="100,1300", help="numbers of cases, with commas")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--descriptors", type=int, default=1024)
    parser.add_argument("--spacing", type=float, default=8.0)
    options = parser.parse_args()
    cores = use_cores()
    rows = []
    for count in map(int, options.cases.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            taken, files, wall = measure(Path(folder), count, options)
        rows.append([str(count), f"{taken / 2**30:.2f}", str(files), f"{wall:.0f}"])
    told = f"{options.steps} steps, {options.workers} workers, at most {options.descriptors} open files a process"
    print(f"{told}; {conditions(cores, 'lacunet', 'torch')}\n")
    print_table(["cases", "peak memory, GiB", "most open files of a process", "seconds, preparation included"], rows)


def measure(folder: Path, count: int, options: argparse.Namespace) -> tuple[int, int, float]:
    """Peak bytes of a training and its workers, the most open files of one of them, and its seconds."""
    recipe = folder / "recipe.toml"
    recipe.write_text(RECIPE.format(spacing=options.spacing, steps=options.steps, workers=options.workers))
    make_cases(folder / "cases", count, options.spacing)
    start = time.perf_counter()
    words = [folder / "cases", recipe, folder / "run", str(options.descriptors)]
    with subprocess.Popen([sys.executable, "-c", TRAIN, *words], stderr=subprocess.PIPE) as training:
        taken, files = watch(training)
        said = training.stderr.read().decode() if training.stderr else ""
    if training.returncode or not (folder / "run" / "model" / "model.json").is_file():
        raise SystemExit(f"the training ended with {training.returncode}:\n{said[-3000:]}")
    return taken, files, time.perf_counter() - start


def make_cases(data: Path, count: int, spacing: float) -> None:
    """Folders `made-00000` with the files of one invented patient, as hard links."""
    first = write_phantom(data, 7, spacing)
    for number in range(count):
        folder = data / f"made-{number:05d}"
        folder.mkdir()
        for file in first.iterdir():
            if file.name.startswith(first.name):
                os.link(file, folder / file.name.replace(first.name, folder.name))
    shutil.rmtree(first)


def watch(training: "subprocess.Popen[bytes]") -> tuple[int, int]:
    """Look at a process and its children until it ends: the most bytes of all, the most open files of one."""
    import psutil

    own, taken, files = psutil.Process(training.pid), 0, 0
    while training.poll() is None:
        try:
            family = [own, *own.children(recursive=True)]
            taken = max(taken, sum(one.memory_full_info().pss for one in family))
            files = max(files, *(one.num_fds() for one in family))
        except psutil.Error:  # one has ended meanwhile
            pass
        time.sleep(0.1)
    return taken, files


if __name__ == "__main__":
    main()
