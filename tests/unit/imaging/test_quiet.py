from __future__ import annotations

import threading
import warnings

from cutout_core.imaging.quiet import quiet_pillow


def warn_as(module: str) -> None:
    warnings.warn_explicit("message", UserWarning, "file.py", 1, module=module)


def test_only_pillows_warnings_are_quiet() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with quiet_pillow():
            warn_as("PIL.TiffImagePlugin")
            warn_as("elsewhere")
        warn_as("PIL.TiffImagePlugin")
    assert [str(warning.filename) for warning in seen] == ["file.py", "file.py"]


def test_overlapping_threads_leave_the_filters_as_they_were() -> None:
    before = list(warnings.filters)
    first_inside, second_inside = threading.Event(), threading.Event()

    def first() -> None:
        with quiet_pillow():
            first_inside.set()
            second_inside.wait(10)

    def second() -> None:
        first_inside.wait(10)
        with quiet_pillow():
            second_inside.set()
            threads[0].join(10)

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert warnings.filters == before
