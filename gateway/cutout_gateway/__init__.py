"""The gateway: one asyncio process that speaks HTTP and gRPC to callers and KServe v2 to Triton."""

__version__ = "0.1.0"
