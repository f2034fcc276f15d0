"""`python -m cutout_build engines`: builds and certifies every precision."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cutout_build.bring_certificate import REPORT_NAME, bring_certificate
from cutout_build.build_engine import build_engine
from cutout_build.catalogue import Engine

#: Composites with ground truth that a certificate is measured on.
COUNT = 24


def add(parser: argparse.ArgumentParser) -> None:
    """The command's own flags."""
    parser.add_argument("--reports", type=Path, metavar="DIR", default=Path("reports"), help="default: reports")
    parser.add_argument("--sheets", type=Path, metavar="DIR", default=Path("out/engines"), help="default: out/engines")
    parser.add_argument("--count", type=int, default=COUNT, metavar="N", help=f"composites (default: {COUNT})")


def run(engines: Sequence[Engine], order: Sequence[str], options: argparse.Namespace) -> None:
    """Certifies `engines`, and puts each one's rows into the reports and beside its graphs. Raises BuildError.

    order: the names of the catalogue's engines.
    """
    # Imported here because it takes longer than the other commands may.
    from cutout_build.certificate.certify import certify
    from cutout_build.certificate.report import write_report

    for engine in engines:
        built = build_engine(engine)
        rows = certify(engine, built, options.count, options.sheets, lambda line: print(line, file=sys.stderr))
        page = write_report(options.reports, rows, order)
        bring_certificate(built.manifest, built.folder, built.report, page.with_name(REPORT_NAME))
        for row in rows:
            served = " Served here." if row["served"] else ""
            print(f"{engine.name} {row['precision']} ({row['runtime']}, {row['arithmetic']}): {row['reason']}{served}")
        print(f"written: {page}")
