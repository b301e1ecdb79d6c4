"""Run every script, each in a process of its own, and write one Markdown table: docs/results/speed.md."""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.machine import describe
from benchmarks.measure import Row, markdown_header, markdown_line

SCRIPTS = ("step", "ranking", "recommending", "memory", "scaling", "time_to_quality")
OUT = Path(__file__).parent.parent / "docs" / "results" / "speed.md"


def rows_of(script: str, options: list[str]) -> list[Row]:
    """Run one script, its lines going to the terminal, and return its rows."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.json"
        subprocess.run([sys.executable, "-m", f"benchmarks.{script}", "--json", str(file), *options], check=True)
        return [Row(**row) for row in json.loads(file.read_text(encoding="utf-8"))]


def main() -> None:
    """Run the scripts and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scripts", nargs="*", default=SCRIPTS, help=f"which of {', '.join(SCRIPTS)} (default: all)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="torch device of both sides, in step and time_to_quality")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    unknown = set(args.scripts) - set(SCRIPTS)
    if unknown:
        parser.error(f"no script {', '.join(sorted(unknown))}; there are {', '.join(SCRIPTS)}")
    torch.set_num_threads(args.threads)
    machine = describe()
    options = ["--threads", str(args.threads), "--device", args.device, *(["--smoke"] if args.smoke else [])]
    rows = [row for script in args.scripts for row in rows_of(script, options)]
    lines = [
        "# Speed and memory",
        "",
        "Written by `make bench`; every ratio comes from one run on one machine. The plain implementation is `benchmarks/plain.py`.",
        "",
        f"Machine: {machine}.",
        *(["", "A smoke run on small generated data: the numbers mean nothing."] if args.smoke else []),
        "",
        *markdown_header(),
        *(markdown_line(row) for row in rows),
        "",
    ]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text("\n".join(lines), encoding="utf-8")
    print(f"\nwritten: {args.out}")


if __name__ == "__main__":
    main()
