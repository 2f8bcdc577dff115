"""Start-up: ``ganaug --help``, and what ``import ganaug`` adds to ``import torch``.

python benchmarks/startup.py [--runs 7]
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import time


def seconds(*command: str) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    script = shutil.which("ganaug")
    if script is None:
        sys.exit("ganaug is not on the PATH: pip install .")
    python = sys.executable
    used = "import torch, ganaug; ganaug.train, ganaug.Registry, ganaug.LabelledImages"
    commands = {
        "ganaug --help": (script, "--help"),
        "import torch": (python, "-c", "import torch"),
        "import torch, ganaug": (python, "-c", "import torch, ganaug"),
        "... and use its names": (python, "-c", used),
    }
    for command in commands.values():
        seconds(*command)  # warm the disk cache
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            times[name].append(seconds(*command))
    for name, values in times.items():
        print(f"{name:24} {statistics.median(values):6.2f} s")
    pairs = zip(times["import torch, ganaug"], times["import torch"], strict=True)
    added = statistics.median(with_it - without for with_it, without in pairs)
    print(f"import ganaug adds {added:.2f} s to import torch (wanted: under 0.3)")
    print(f"ganaug --help {statistics.median(times['ganaug --help']):.2f} s (wanted: under 0.6)")


if __name__ == "__main__":
    main()
