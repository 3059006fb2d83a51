#!/usr/bin/env python3
"""Measures gateways side by side against the mock upstream, on loopback only. `cargo xtask bench` builds and runs it.

Every target is started, measured and stopped in turn. Each run writes its figures, a line of JSON a measurement, to a
file of its own: figures of different runs do not compare.
"""

import argparse
import json
import pathlib
import sys
import time

import phases
import processes
import report
import targets


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="measure gateways side by side", prog="cargo xtask bench")
    parser.add_argument("names", nargs="*", metavar="NAME", help="targets; all when none is named")
    parser.add_argument("--quick", action="store_true", help="shorter phases")
    parser.add_argument("--reps", type=int, default=1, help="rounds; the table shows medians")
    parser.add_argument("--out", type=pathlib.Path, default=targets.BENCH / "results.jsonl", help="where figures go")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    try:
        chosen = targets.chosen(options.names)
    except ValueError as error:
        sys.exit(f"error: {error}")
    targets.RUN.mkdir(exist_ok=True)
    mock = processes.launch([phases.PROGRAMS / "mock", "--port", str(targets.MOCK_PORT)], targets.RUN / "mock.log")
    rows, failed = [], False
    try:
        time.sleep(0.3)
        if mock.poll() is not None:
            sys.exit(f"error: the mock did not start; is port {targets.MOCK_PORT} taken?")
        for _ in range(options.reps):
            for target in chosen:
                print(f"measuring {target.name}", file=sys.stderr, flush=True)
                try:
                    rows.append(phases.measure(target, mock, options.quick))
                except Exception as error:  # one target that cannot be measured must not cost the others' figures
                    failed = True
                    print(f"{target.name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        processes.stop(mock)
    options.out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    print(report.table(rows))
    sys.exit(failed)


main()
