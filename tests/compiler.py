"""Whether this machine has the C compiler that the kernels of cutout_core are compiled with."""

from __future__ import annotations

import os
import shlex
import shutil

import pytest

_COMMAND = shlex.split(os.environ.get("CC", "cc"))

#: For what looks at the compiled kernels: a machine without a compiler has none, any other must have them.
needs_compiler = pytest.mark.skipif(not _COMMAND or shutil.which(_COMMAND[0]) is None, reason="no C compiler")
