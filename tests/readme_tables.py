"""The README's tables, generated from the contract; run this file to write them into README.md."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from cutout_core.contract import ERROR_TABLE, OPTION_HELP, RULE_MEANINGS, WARNING_MEANINGS
from cutout_core.contract.presets import PRESETS
from cutout_gateway.http_docs import RESULT_HEADERS
from cutout_gateway.settings import Settings

README = Path(__file__).parents[1] / "README.md"
MARKETPLACES = README.parent / "docs" / "marketplaces.md"

_SETTINGS = (
    "http_host", "http_port", "grpc_host", "grpc_port", "triton_url", "precision", "precision_force", "threads",
    "max_bytes", "max_pixels", "max_in_flight", "max_wait_s", "api_keys_file", "fetch_urls", "timeout_s",
    "shutdown_grace_s", "log_format",
)  # fmt: skip


def options_table() -> str:
    rows = [f"| `{name}` | {text} |" for name, text in OPTION_HELP.items()]
    return "\n".join(["| option | values |", "|---|---|", *rows])


def headers_table() -> str:
    rows = [f"| `{name}` | {text} |" for name, text in RESULT_HEADERS.items()]
    return "\n".join(["| header | meaning |", "|---|---|", *rows])


def errors_table() -> str:
    rows = [
        (row.code.value, row.meaning, row.http_status, row.grpc_status, "yes" if row.retryable else "")
        for row in ERROR_TABLE.values()
    ]
    lines = [f"| `{code}` | {meaning} | {http} | {grpc} | {retry} |" for code, meaning, http, grpc, retry in rows]
    return "\n".join(["| code | meaning | HTTP | gRPC | retry |", "|---|---|---|---|---|", *lines])


def warnings_table() -> str:
    rows = [f"| `{warning.value}` | {meaning} |" for warning, meaning in WARNING_MEANINGS.items()]
    return "\n".join(["| warning | meaning |", "|---|---|", *rows])


def settings_table() -> str:
    fields = {name: Settings.model_fields[name] for name in _SETTINGS}
    rows = [f"| `CUTOUT_{name.upper()}` | {field.default} | {field.description} |" for name, field in fields.items()]
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows])


def presets_table() -> str:
    rows = []
    for name, preset in PRESETS.items():
        options = " ".join(f"`{option}={value}`" for option, value in preset.options.items())
        reach = f"from {preset.min_side} to {preset.max_side}" if preset.max_side else f"from {preset.min_side}"
        rules = [f"longer side {reach} pixels"]
        rules += ["square"] if preset.square else []
        rules += [f"at most {preset.max_pixels} pixels"] if preset.max_pixels else []
        rules += [f"at most {preset.max_bytes} bytes"] if preset.max_bytes else []
        rules += [f"subject {preset.fill[0]:g} to {preset.fill[1]:g} % of the frame"] if preset.fill else []
        rules += ["white or transparent" if preset.transparent else "pure white"] if preset.white else []
        rules += ["not enlarged"] if preset.no_enlarging else []
        rules.append(", ".join(preset.outputs))
        rows.append(f"| `{name}` | {preset.title} | {options} | {'; '.join(rules)} | {preset.source} |")
    head = ["| preset | for | options | checked | source |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows])


def rules_table() -> str:
    rows = [f"| `{rule.value}` | {meaning} |" for rule, meaning in RULE_MEANINGS.items()]
    return "\n".join(["| rule | meaning of its violation |", "|---|---|", *rows])


DOCS_TABLES = {"presets": presets_table, "rules": rules_table}
TABLES = {
    "headers": headers_table,
    "options": options_table,
    "errors": errors_table,
    "warnings": warnings_table,
    "settings": settings_table,
}


def with_tables(text: str, tables: Mapping[str, Callable[[], str]] = TABLES) -> str:
    """`text` with what follows each `<!-- name -->` mark, up to the next blank line, replaced by its table."""
    for name, table in tables.items():
        mark = f"<!-- {name} -->\n"
        if text.count(mark) != 1:
            raise ValueError(f"the text has {text.count(mark)} marks for {name}")
        before, after = text.split(mark)
        after = re.sub(r"\A(\|[^\n]*\n)*", "", after)
        text = f"{before}{mark}{table()}\n{after}"
    return text


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text()))
    MARKETPLACES.write_text(with_tables(MARKETPLACES.read_text(), DOCS_TABLES))
