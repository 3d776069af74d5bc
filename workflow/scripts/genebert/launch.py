"""Start pre-training: write the settings of a run, and start the program on one process or many.

The program itself is ``genebert/pretrain.py``. It writes its outputs in place by itself, because
its resumable state lies beside them and must outlive a killed job.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from genebert.errors import InputError

log = logging.getLogger("genebert")
PROGRAM = Path(__file__).with_name("pretrain.py")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


def write_run(
    *, index: str, run: str, settings: dict[str, Any], seed: int, steps: int, threads: int
) -> None:
    """Write the JSON file that the program reads.

    Parameters
    ----------
    index : ``index.json`` of the shards.
    run : output, the JSON file.
    settings : the block ``pretrain`` of the configuration with the overrides of the variant.
    seed, steps, threads : of this run.
    """
    document = {
        "variant": settings,
        "seed": seed,
        "steps": steps,
        "threads": threads,
        "index": index,
        "stop_after": None,
    }
    Path(run).write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def command(run: str, output: str, processes: int) -> list[str]:
    """Return the argument list that starts the program: plain, or one process per GPU."""
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone"]
        launcher += [f"--nproc-per-node={processes}", "--shutdown-timeout", "120"]
        launcher += ["--signals-to-handle", "SIGTERM,SIGINT,SIGUSR1"]
    return [*launcher, str(PROGRAM), "--config", run, "--output", output]


def run_pretrain(*, run: str, output: str, processes: int, log_path: str | None) -> None:
    """Run the program, pass signals on to it, and fail as it fails.

    Raises
    ------
    InputError
        With the program's last line, if it does not end with exit code 0.
    """
    with open(log_path or os.devnull, "ab") as sink:
        child = subprocess.Popen(command(run, output, processes), stdout=sink, stderr=sink)

        def forward(number: int, frame: FrameType | None) -> None:
            child.send_signal(number)

        previous = {number: signal.signal(number, forward) for number in SIGNALS}
        try:
            code = child.wait()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
    if code == 0:
        return
    last = ""
    if log_path:
        text = Path(log_path).read_text(encoding="utf-8", errors="replace").strip()
        last = text.splitlines()[-1].rpartition(" ERROR ")[2] if text else ""
    raise InputError(f"pre-training ended with exit code {code}: {last}")
