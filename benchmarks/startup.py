"""How long the command line takes to start, and what a command that imported Airflow would take.

Prints the median and the fastest of several starts, each in a process of its own; ends with 1 when the promise is broken.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

PROMISED_SECONDS = 0.4
STARTS = 9

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "airflow-dr --help": ["-m", "airflow_dr_provider.cli.main", "--help"],
    "airflow-dr lint --help": ["-m", "airflow_dr_provider.cli.main", "lint", "--help"],
    "get_provider_info()": ["-c", "from airflow_dr_provider.get_provider_info import *; get_provider_info()"],
    "import airflow": ["-c", "import airflow"],
}


def measure(arguments: list[str]) -> list[float]:
    """Wall time of each start, in seconds; the first one, which fills the caches, is not counted."""
    times = []
    for _ in range(STARTS + 1):
        begun = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - begun)
    return times[1:]


def main() -> int:
    """Measure, print, judge."""
    broken = False
    print(f"{'':24}{'median':>10}{'fastest':>10}   of {STARTS} starts, seconds")
    for name, arguments in COMMANDS.items():
        times = measure(arguments)
        median = statistics.median(times)
        late = name.startswith("airflow-dr") and median > PROMISED_SECONDS
        broken |= late
        print(f"{name:24}{median:10.3f}{min(times):10.3f}{f'   more than {PROMISED_SECONDS}' if late else ''}")
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
