#!/bin/sh
# Installs lacunet with its models into a folder of its own: sh containers/install.sh cpu|cuda FOLDER
# Both images are made by this. It runs in the top folder of a checkout.
set -eu
variant=$1
folder=$2

python -m venv "$folder"
python containers/needed.py "$variant" >"$folder/needed.txt"
"$folder/bin/python" -m pip install --no-cache-dir --no-deps --require-hashes --only-binary :all: --requirement "$folder/needed.txt"
"$folder/bin/python" -m pip install --no-cache-dir --no-deps --no-index --no-build-isolation .
"$folder/bin/python" -m pip check
"$folder/bin/lacunet-bids" --version
