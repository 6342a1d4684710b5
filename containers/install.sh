#!/bin/sh
# Installs lacunet with its models into a folder of its own: sh containers/install.sh cpu|cuda FOLDER
# Both images are made by this. It runs in the top folder of a checkout.
set -eu
variant=$1
folder=$2

python -m venv "$folder"
if [ "$variant" = cpu ]; then # uv knows where torch's builds for the CPU are; pip would take the one for GPUs
  python containers/needed.py uv >"$folder/uv.txt"
  "$folder/bin/python" -m pip install --no-cache-dir --no-deps --require-hashes --only-binary :all: --requirement "$folder/uv.txt"
  "$folder/bin/uv" pip install --python "$folder/bin/python" --no-cache --no-deps --require-hashes --only-binary :all: \
    --torch-backend cpu --requirement containers/torch-cpu.txt
  "$folder/bin/python" -m pip uninstall --yes uv
fi
python containers/needed.py "$variant" >"$folder/needed.txt"
"$folder/bin/python" -m pip install --no-cache-dir --no-deps --require-hashes --only-binary :all: --requirement "$folder/needed.txt"
"$folder/bin/python" -m pip install --no-cache-dir --no-deps --no-index --no-build-isolation .
"$folder/bin/python" -m pip check
"$folder/bin/lacunet-bids" --version
