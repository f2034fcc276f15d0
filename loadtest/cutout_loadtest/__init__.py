"""Load generation for Cutout."""

from cutout_loadtest.closed_loop import LoadReport, run_closed_loop

__all__ = ["LoadReport", "run_closed_loop"]
