"""Shared core of Cutout: `contract` (stdlib and protobuf only) and `imaging` (numpy and OpenCV)."""

__version__ = "0.1.0"
