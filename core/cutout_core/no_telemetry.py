"""Import this before OpenVINO or ONNX Runtime: nothing about its user leaves the machine.

Both send usage statistics by default and write an identifier into the home folder. OpenVINO works with a stub where its
telemetry package cannot be imported; ONNX Runtime reads a variable when it is loaded.
"""

import os
import sys

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
