#!/usr/bin/env bash
# Names every system package that `make setup` needs and that is missing, in one message.
set -u
python=${PYTHON:-python3.11}
missing=()
command -v "$python" >/dev/null 2>&1 || missing+=(python3.11 python3.11-venv libpython3.11)
if command -v "$python" >/dev/null 2>&1; then
    "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || missing+=("python3.11")
    "$python" -c 'import venv, ensurepip' 2>/dev/null || missing+=("python3.11-venv")
    # Triton's Python backend embeds the interpreter: it needs the shared library.
    "$python" - <<'PY' 2>/dev/null || missing+=("libpython3.11")
import pathlib, sys, sysconfig
name = f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"
sys.exit(not (pathlib.Path(sysconfig.get_config_var("LIBDIR")) / name).exists())
PY
fi
if [ ${#missing[@]} -gt 0 ]; then
    echo "Cutout needs these system packages: ${missing[*]}" >&2
    echo "  Debian 12, Ubuntu 22.04+:  sudo apt-get install ${missing[*]}" >&2
    echo "  (another Python 3.11, built with --enable-shared: make setup PYTHON=/path/to/python3.11)" >&2
    exit 1
fi
if ! command -v ${CC:-cc} >/dev/null 2>&1; then
    echo "No C compiler: Cutout works without its compiled kernels, at about two thirds of the speed." >&2
    echo "  Debian 12, Ubuntu 22.04+:  sudo apt-get install gcc libc6-dev, then: touch requirements.lock; make setup" >&2
fi
if [ "$(uname -sm)" != "Linux x86_64" ]; then
    echo "The embedded Triton is built for Linux x86_64, this is $(uname -sm)." >&2
    exit 1
fi
