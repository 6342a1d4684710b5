# make demo         a tumour segmented from two of four sequences, in demo/
# make test         the tests
# make check        style, formatting, types, and which room may import which
# make benchmarks   the measurements of docs/benchmarks.md
# make lock         the hashes of requirements.lock, after a change of constraints.txt
#
# Each makes .venv first and installs what it needs there, once. Another Python: make test PYTHON=python3.12
# Without an NVIDIA GPU torch's build for the CPU is installed (0.2 GB, not 6). To choose: make test TORCH=cpu (or cu130)

# The first of these that is new enough, else python3, which the check below then refuses with a word.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && exit; \
	done; echo python3)

TORCH ?= auto

BIN := .venv/bin
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable

.PHONY: demo test check benchmarks lock

demo: .venv/installed
	$(BIN)/lacunet demo -o demo

# As many processes as cores: a test's second thread would wait for them in a busy loop, so threads wait asleep.
test: .venv/installed-test
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest --numprocesses auto --dist loadfile

check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

benchmarks: .venv/installed-test
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/metrics.py
	$(BIN)/python benchmarks/segment.py
	$(BIN)/python benchmarks/throughput.py
	$(BIN)/python benchmarks/report.py
	$(BIN)/python benchmarks/subsets.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/budget.py
	$(BIN)/python benchmarks/norm.py
	$(BIN)/python benchmarks/students.py
	$(BIN)/python benchmarks/cost.py
	$(BIN)/python benchmarks/raw_scans.py
	$(BIN)/python benchmarks/registration.py --tries 12
	$(BIN)/python benchmarks/judging.py
	$(BIN)/python benchmarks/native.py

# Linux, macOS and Windows, Python 3.11 to 3.13: every version with the hashes of all its files.
lock: .venv/installed-dev
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
		--extra dev --extra strip --constraint constraints.txt --custom-compile-command "make lock" \
		--output-file requirements.lock pyproject.toml

.venv/installed: pyproject.toml constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "lacunet needs Python 3.11 or newer, and $(PYTHON) is none: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || "$(PYTHON)" -m venv .venv || { \
		rm -rf .venv; echo "$(PYTHON) cannot make a virtual environment; on Debian: apt install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt uv
	@$(BIN)/uv pip install --python $(BIN)/python --torch-backend $(TORCH) --constraint constraints.txt torch || \
		echo "uv cannot reach the builds of torch by kind of processor: pip installs the build that it finds" >&2
	$(INSTALL) .
	@touch $@

.venv/installed-test: .venv/installed
	$(INSTALL) '.[test]'
	@touch $@

.venv/installed-dev: .venv/installed
	$(INSTALL) '.[dev]'
	@touch $@
