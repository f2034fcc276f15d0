"""Load generation for Cutout: open and closed loops, scenarios, the benchmark beside rembg, the cost of an image."""

from cutout_loadtest.closed_loop import LoadReport, run_closed_loop

__all__ = ["LoadReport", "run_closed_loop"]
