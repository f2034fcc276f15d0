"""Both ways of a pixel path: by the compiled kernels, and by the functions in Python that they stand for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cutout_core.imaging import native
from tests.compiler import needs_compiler


@pytest.fixture(scope="module", params=[pytest.param("compiled", marks=needs_compiler), "python"])
def each_path(request: pytest.FixtureRequest) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "python":
            patch.setattr(native, "KERNELS", None)
        else:
            assert native.KERNELS is not None, "`make setup` compiles them"
        yield request.param
