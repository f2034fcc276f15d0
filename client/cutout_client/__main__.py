"""`python -m cutout_client` is the command `cutout`."""

from __future__ import annotations

import sys

from cutout_client.cli import main

if __name__ == "__main__":
    sys.exit(main())
