"""Put a version of NiiVue into the package: `python scripts/release/renew_niivue.py VERSION`, with npm at hand.

The file is `dist/niivue.umd.js` of the npm package `@niivue/niivue`, as published. Afterwards write the version and the
sha256 that this prints into `src/lacunet/report/viewer.py`, compare the licences of the package and of what it holds
with `src/lacunet/report/vendor/LICENSES.txt`, and run `tests/report/test_viewer.py` where there is a browser.
Without VERSION it fetches the one in use and says whether the file here is that one.
"""

import argparse
import hashlib
import subprocess
import tarfile
import tempfile
from pathlib import Path

from lacunet.report.viewer import NIIVUE_SHA256, NIIVUE_VERSION

OUTPUT = Path(__file__).parents[2] / "src/lacunet/report/vendor/niivue.umd.js"
FORBIDDEN = (b"</script", b"<!--", b"\r")
"""What would end or change a script inside a page."""


def published(version: str) -> bytes:
    """The file of that version."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", f"@niivue/niivue@{version}", "--silent", "--pack-destination", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(folder).iterdir()
        with tarfile.open(archive) as files:
            member = files.extractfile("package/dist/niivue.umd.js")
            assert member is not None
            return member.read()


def main() -> None:
    """Fetch, check, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version", nargs="?", default=NIIVUE_VERSION)
    version = parser.parse_args().version
    script = published(version)
    for words in FORBIDDEN:
        if words in script:
            raise SystemExit(f"NiiVue {version} holds {words!r}, which a script inside a page must not")
    found = hashlib.sha256(script).hexdigest()
    if version == NIIVUE_VERSION and found != NIIVUE_SHA256:
        raise SystemExit(f"NiiVue {version} has sha256 {found}, not {NIIVUE_SHA256}; nothing is written")
    OUTPUT.write_bytes(script)
    print(f"NiiVue {version}, {len(script) / 1e6:.1f} MB, sha256 {found}")


if __name__ == "__main__":
    main()
