"""What GPUs can do at best, by the name that the driver gives, and how near to it a network comes.

Dense peaks (no sparsity) and memory bandwidth as NVIDIA publishes them: the data sheets of T4, A10, A100, L4, L40S,
H100 and H200, and the Ada whitepaper for RTX 4090. fp32 is TF32 on the tensor cores, TensorRT's default, and
plain FP32 on T4, which has none.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Peak:
    """fp32, fp16: 10^12 floating point operations a second. int8: 10^12 integer ones. bandwidth: 10^9 bytes/s."""

    fp32: float
    fp16: float
    int8: float
    bandwidth: float


PEAKS = {
    "Tesla T4": Peak(8.1, 65.0, 130.0, 320.0),
    "NVIDIA A10": Peak(62.5, 125.0, 250.0, 600.0),
    "NVIDIA A100-SXM4-40GB": Peak(156.0, 312.0, 624.0, 1555.0),
    "NVIDIA A100-SXM4-80GB": Peak(156.0, 312.0, 624.0, 2039.0),
    "NVIDIA A100 80GB PCIe": Peak(156.0, 312.0, 624.0, 1935.0),
    "NVIDIA L4": Peak(60.0, 121.0, 242.5, 300.0),
    "NVIDIA L40S": Peak(183.0, 362.0, 733.0, 864.0),
    "NVIDIA GeForce RTX 4090": Peak(82.6, 165.2, 660.6, 1008.0),
    "NVIDIA H100 PCIe": Peak(378.0, 756.0, 1513.0, 2000.0),
    "NVIDIA H100 80GB HBM3": Peak(494.5, 989.5, 1979.0, 3350.0),
    "NVIDIA H200": Peak(494.5, 989.5, 1979.0, 4800.0),
}


@dataclass(frozen=True, slots=True)
class Work:
    """What one run must do at least. gmac: 10^9 multiply-adds a row. weights, row_bytes: bytes read once, and of a
    row's inputs and outputs."""

    gmac: float
    weights: int
    row_bytes: int


def roofline_share(gpu: str, precision: str, work: Work, batch: int, seconds: float) -> float | None:
    """Shortest possible time of a run over the measured one, 0..1; None for a GPU that the table does not have.

    The shortest time is the longer of arithmetic at the peak of `precision` and of reading weights, inputs and outputs
    once: activations between layers count nothing, so the share is an underestimate of how busy the GPU is.
    """
    peak = PEAKS.get(gpu)
    if peak is None:
        return None
    arithmetic = 2e9 * work.gmac * batch / (1e12 * float(getattr(peak, precision)))
    memory = (work.weights + work.row_bytes * batch) / (1e9 * peak.bandwidth)
    return max(arithmetic, memory) / seconds
