"""`python -m cutout_build.matting train|export`."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

from cutout_build.matting.export import export
from cutout_build.matting.train import TrainSettings, load_average, train
from cutout_core.contract.paths import cache_root


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m cutout_build.matting", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train", help="train, or go on with the run in the folder")
    training.add_argument("--workers", type=int, default=1, help="processes that draw samples")
    for field in fields(TrainSettings):
        name = "--" + field.name.replace("_", "-")
        training.add_argument(name, type=type(field.default), default=field.default, metavar="N")
    exporting = commands.add_parser("export", help="write the run's averaged weights as ONNX")
    exporting.add_argument("--out", type=Path, default=Path("build/weights/matting.onnx"))
    for command in (training, exporting):
        command.add_argument("--folder", type=Path, default=cache_root() / "matting" / "run", help="of the run")
    arguments = parser.parse_args(argv)
    if arguments.command == "train":
        chosen = {field.name: getattr(arguments, field.name) for field in fields(TrainSettings)}
        train(arguments.folder, TrainSettings(**chosen), arguments.workers)
        print(f"trained: {arguments.folder}")
    else:
        network, saved = load_average(arguments.folder)
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        description = f"Cutout matting network, {saved['step']} steps, settings {saved['settings']}"
        difference = export(network, arguments.out, description)
        size = arguments.out.stat().st_size / 1e6
        print(f"{arguments.out}: {size:.1f} MB, within {difference:.1e} of PyTorch")


if __name__ == "__main__":
    main()
