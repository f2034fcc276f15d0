"""Quantization-aware distillation: an engine's own ONNX graph, trained in PyTorch to reproduce itself in INT8."""
