"""`python -m cutout_build.bench NAME`: one system of the benchmark, in this process.

stages and rembg-library speak the protocol of `worker.py` on their standard streams; rembg-server serves HTTP.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from cutout_build.bench.stages import main as stages
from cutout_build.catalogue import Catalogue
from cutout_build.errors import BuildError
from cutout_build.fetch import fetch
from cutout_build.quality.peers import SERVER_REQUIREMENTS, peers_python
from cutout_core.contract.paths import cache_root

_LIBRARY = Path(__file__).with_name("rembg_library.py")
_START_SERVER = "from rembg.cli import main; main()"


def main() -> int:
    """Returns 0, or 1 where an environment or a weight cannot be had; the peers take this process over."""
    parser = argparse.ArgumentParser(prog="python -m cutout_build.bench", description=__doc__)
    commands = parser.add_subparsers(dest="system", required=True)
    commands.add_parser("prepare", help="make the peers' environment and fetch the weights, nothing else")
    commands.add_parser("stages", help="our own stages, without a server")
    commands.add_parser("rembg-library", help="rembg's library")
    server = commands.add_parser("rembg-server", help="rembg's server with its defaults, without its page")
    server.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    if options.system == "stages":
        stages()
        return 0
    try:
        python = str(peers_python(SERVER_REQUIREMENTS))
        environment = {**os.environ, "U2NET_HOME": str(_weights()), "MODEL_CHECKSUM_DISABLED": "1"}
    except BuildError as error:
        print(f"cutout_build.bench: {error}", file=sys.stderr)
        return 1
    if options.system == "rembg-library":
        os.execve(python, [python, str(_LIBRARY)], environment)
    if options.system == "rembg-server":
        flags = ["s", "--host", "127.0.0.1", "--port", str(options.port), "--log_level", "error", "--no-ui"]
        os.execve(python, [python, "-c", _START_SERVER, *flags], environment)
    return 0


def _weights() -> Path:
    """The folder in which rembg finds U²-Net-p: the file that ours is built from. Raises BuildError."""
    entry = Catalogue.load().default("segmentation")
    folder = cache_root() / "peers-weights"
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "u2netp.onnx"
    weights = fetch(entry.networks[0].weights)
    if not link.exists():
        link.unlink(missing_ok=True)
        link.symlink_to(weights)
    return folder


if __name__ == "__main__":
    sys.exit(main())
