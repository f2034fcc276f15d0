"""TensorRT: the gate that needs no GPU, the plans, and their measurement on one."""
