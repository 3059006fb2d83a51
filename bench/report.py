"""The table of one run: a row a target, medians over its repetitions, and the ratio to nginx of the same run."""

import statistics
from typing import Callable

REFERENCE = "nginx"


def _at(path: str, scale: float = 1.0) -> Callable[[dict], float | None]:
    def read(figures: dict) -> float | None:
        value = figures
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        return None if value is None else value * scale

    return read


def _bad(figures: dict) -> float:
    single = sum(figures[phase]["bad"] for phase in ("low_rate", "closed", "first_byte"))
    return single + sum(figures[phase]["errors"] for phase in ("chunks", "streams")) + figures["closed"]["missing"]


CPU_PER_REQUEST, CPU_PER_CHUNK = _at("closed.cpu_us"), _at("chunks.cpu_us")
# Title, figure, decimals, and whether it is given as a multiple of the reference's.
COLUMNS = [
    ("CPU us/request", CPU_PER_REQUEST, 1, False),
    ("x nginx", CPU_PER_REQUEST, 2, True),
    ("CPU us/chunk", CPU_PER_CHUNK, 1, False),
    ("x nginx", CPU_PER_CHUNK, 2, True),
    ("requests/s", _at("closed.rps"), 0, False),
    ("+p50 ms", _at("low_rate.added.latency_us.p50", 1e-3), 2, False),
    ("+p99 ms", _at("low_rate.added.latency_us.p99", 1e-3), 2, False),
    ("at rps", _at("low_rate.rate"), 0, False),
    ("+first byte p50 ms", _at("first_byte.added.ttfb_us.p50", 1e-3), 2, False),
    ("1,000 streams s", _at("streams.secs"), 1, False),
    ("live", _at("streams.max_live"), 0, False),
    ("KiB/stream", _at("streams.kib_per_stream"), 1, False),
    ("idle MiB", _at("idle_mib"), 0, False),
    ("peak MiB", _at("closed.peak_mib"), 0, False),
    ("start s", _at("start_s"), 2, False),
    ("bad", _bad, 0, False),
    ("other cores", _at("closed.other"), 2, False),
]


def _median(rows: list[dict], figure: Callable[[dict], float | None]) -> float | None:
    values = [value for value in map(figure, rows) if value is not None]
    return statistics.median(values) if values else None


def table(rows: list[dict]) -> str:
    """Markdown."""
    by_name: dict[str, list[dict]] = {}
    for row in rows:
        by_name.setdefault(row["name"], []).append(row)
    lines = ["| target | version | " + " | ".join(title for title, *_ in COLUMNS) + " |"]
    lines.append("|---|---|" + "---:|" * len(COLUMNS))
    for name, own in by_name.items():
        cells = [name, own[-1]["version"][:40]]
        for _, figure, decimals, is_ratio in COLUMNS:
            value = _median(own, figure)
            if is_ratio:
                base = _median(by_name.get(REFERENCE, []), figure)
                value = value / base if value is not None and base else None
            cells.append("-" if value is None else f"{value:,.{decimals}f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
