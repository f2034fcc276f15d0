"""Both ways of a pixel path: by the compiled kernels, and by the functions in Python that they stand for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cutout_core.imaging import native


@pytest.fixture(scope="module", params=["compiled", "python"])
def each_path(request: pytest.FixtureRequest) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "python":
            patch.setattr(native, "KERNELS", None)
        else:
            assert native.KERNELS is not None, "`make setup` compiles them; is there a C compiler?"
        yield request.param
