"""Prometheus and promtool: those in PATH, or Debian's package unpacked into the build folder (scripts/prepare.sh). None: not there."""
import shutil

import places


def tool(name):
    unpacked = places.BUILD / "tools" / "prometheus" / "usr" / "bin" / name
    return shutil.which(name) or (str(unpacked) if unpacked.exists() else None)
