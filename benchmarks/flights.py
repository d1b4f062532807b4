"""The year of flights as fast as it goes: 336,776 real records, each a flowfile.

    python -m benchmarks.flights --json

Runs `levada run` on the example, names looked up, routed, merged by the hour, written and synced,
provenance on; seconds from the first trigger to the last record, the median of the runs. Each run
has a fresh home.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

FLOW = Path(__file__).parent.parent / "examples" / "flights" / "flow.yaml"


def run_once(directory: Path) -> dict[str, Any]:
    """Run the year once and return the summary of `levada run`."""
    command = [
        sys.executable, "-m", "levada", "run", str(FLOW), "--home", str(directory / "home"),
        "--param", "speed=max", "--param", f"output={directory / 'hours'}", "--param", "port=0",
        "--json",
    ]  # fmt: skip
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    summaries = []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as directory:
            summaries.append(run_once(Path(directory)))
    seconds = statistics.median([one["seconds"] for one in summaries])
    figures = {
        "flights": summaries[0]["flowfiles_in"],
        "seconds": seconds,
        "hops_per_second": round(summaries[0]["hops"] / seconds),
        "counters": summaries[0]["counters"],
    }
    if options.json:
        print(json.dumps(figures))
        return
    rate = figures["hops_per_second"]
    print(f"{figures['flights']:,} flights in {seconds:.2f} s, {rate:,} hops/s")


if __name__ == "__main__":
    main()
