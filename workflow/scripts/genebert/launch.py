"""Start pre-training: write the settings of a run, and start the program on one process or many.

The program itself is ``genebert/pretrain.py``. It writes its outputs in place by itself, because
its resumable state lies beside them and must outlive a killed job. One process, the GPUs of a node
(``torch.distributed.run``) and several nodes (``srun``, one ``torch.distributed.run`` each) are the
same program. In a SLURM job it is told to stop before the time limit.
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Any

from genebert import refusal
from genebert.errors import InputError

log = logging.getLogger("genebert")
OUTPUTS = ("model.safetensors", "metrics.jsonl", "config.json")  # of the program, the last one last
CLOCK_SKEW = 2.0  # seconds that the clock of a file server may be behind
PROGRAM = Path(__file__).with_name("pretrain.py")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
EXIT_STOPPED = 75  # of the program: its state is written
MARGIN_SECONDS = 600.0  # a training stops so long before its time limit,
MARGIN_SHARE = 0.25  # or this share of the limit, if that is less


def write_run(*, index: str, run: str, settings: dict[str, Any], seed: int, steps: int) -> None:
    """Write the JSON file that the program reads: all that the result depends on.

    Parameters
    ----------
    index : ``index.json`` of the shards.
    run : output, the JSON file.
    settings : the block ``pretrain`` of the configuration with the overrides of the variant.
    seed, steps : of this run.
    """
    document = {"variant": settings, "seed": seed, "steps": steps, "index": index}
    Path(run).write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def stop_after(minutes: float | None) -> float | None:
    """Return the seconds after which a training stops itself, from the time limit of its job.

    The clock of a job runs from before its environment is set up, and the state must be written:
    so 10 minutes, or a quarter of a limit below 40 minutes, are left. Outside a SLURM job nothing
    enforces a limit, and None is returned.
    """
    if minutes is None or "SLURM_JOB_ID" not in os.environ:
        return None
    seconds = 60.0 * minutes
    return seconds - min(MARGIN_SECONDS, MARGIN_SHARE * seconds)


@dataclass(frozen=True)
class Layout:
    """Where the processes of a training run.

    Parameters
    ----------
    processes : on every node.
    nodes : of the job; more than one only in a SLURM job.
    threads : CPUs of a node that the job has been given.
    """

    processes: int = 1
    nodes: int = 1
    threads: int = 1

    @classmethod
    def of(cls, processes: int, gpus: int, nodes: int, threads: int) -> Layout:
        """Return the layout of a job: a process per GPU, ``processes`` where it has one or none.

        One GPU is also what a training takes of a machine's own pool, however many it uses.

        Raises
        ------
        InputError
            If the GPUs (of the whole job) do not divide among the nodes.
        """
        if gpus % nodes:
            raise InputError(
                "the GPUs of a training must be the same number on every node",
                found=f"gpu={gpus}, nodes={nodes}",
            )
        each = gpus // nodes
        return cls(each if each > 1 else processes, nodes, threads)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as server:
        server.bind(("", 0))
        return int(server.getsockname()[1])


def command(
    run: str,
    output: str,
    layout: Layout,
    seconds: float | None = None,
    launcher: int | None = None,
    how: Mapping[str, Any] | None = None,
) -> list[str]:
    """Return the argument list that starts the program.

    Parameters
    ----------
    run, output : the JSON file, the directory of the outputs.
    layout : where it runs: plain, one process per GPU, or that on every node.
    seconds : after which it stops itself.
    launcher : this process, without which a single program stops itself.
    how : ``threads`` of a process, and keys of the block ``pretrain`` that the result does not
        depend on; they are no part of the JSON file, so that another value makes nothing again.
    """
    program = [str(PROGRAM), "--config", run, "--output", output]
    if how:
        program += ["--how", json.dumps(how, sort_keys=True)]
    if seconds is not None:
        program += ["--stop-after", f"{seconds:.0f}"]
    if layout.nodes == layout.processes == 1:
        parent = [] if launcher is None else ["--launcher", str(launcher)]
        return [sys.executable, *program, *parent]
    torchrun = [sys.executable, "-m", "torch.distributed.run"]
    torchrun += [f"--nproc-per-node={layout.processes}", "--shutdown-timeout", "120"]
    torchrun += ["--signals-to-handle", "SIGTERM,SIGINT,SIGUSR1"]
    if layout.nodes == 1:
        return [*torchrun, "--standalone", *program]
    torchrun += [f"--nnodes={layout.nodes}", "--rdzv-backend=c10d"]
    torchrun += [f"--rdzv-id={os.environ.get('SLURM_JOB_ID', '0')}"]
    torchrun += [f"--rdzv-endpoint={socket.gethostname()}:{free_port()}"]
    # a node that is done must not end the others: the first process may still be writing
    srun = ["srun", f"--nodes={layout.nodes}", f"--ntasks={layout.nodes}", "--ntasks-per-node=1"]
    srun += [f"--cpus-per-task={layout.threads}", "--kill-on-bad-exit=0", "--wait=0"]
    return [*srun, *torchrun, *program]


def reason(text: str) -> str:
    """Return the last error line of a log of the program, or its last line."""
    lines = text.strip().splitlines()
    errors = [line.partition(" ERROR ")[2] for line in lines if re.match(r"[\d:]+ ERROR ", line)]
    return (errors or lines or [""])[-1]


def wait_for(call: list[str], sink: IO[bytes]) -> int:
    """Start a program, pass signals on to it, also the early ones, and return its exit code."""
    child: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def forward(number: int, frame: FrameType | None) -> None:
        if child is None:
            early.append(number)
        else:
            child.send_signal(number)

    previous = {number: signal.signal(number, forward) for number in SIGNALS}
    try:
        child = subprocess.Popen(call, stdout=sink, stderr=sink)
        for number in early:
            child.send_signal(number)
        return child.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def wrote_all(output: str, began: float) -> bool:
    """Whether the program has written all its outputs since ``began``, seconds of the epoch.

    It removes the state then, and takes seconds to end: a signal in these must not cost the run.
    """
    files = [Path(output) / name for name in OUTPUTS]
    return all(file.exists() and file.stat().st_mtime >= began - CLOCK_SKEW for file in files)


def run_pretrain(
    *,
    run: str,
    output: str,
    processes: int,
    log_path: str | None,
    gpus: int = 0,
    nodes: int = 1,
    cpus: int = 1,
    minutes: float | None = None,
    attempt: int = 1,
    threads: int = 1,
    how: Mapping[str, Any] | None = None,
) -> None:
    """Run the program, pass signals on to it, and fail as it fails.

    Parameters
    ----------
    run, output, log_path : settings, directory of the outputs, log to append to.
    processes : on every node, where the job has no GPUs of its own.
    gpus, nodes, cpus, minutes : resources of the job: GPUs of all nodes together (outside SLURM
        they are not its own and only keep jobs apart), CPUs of a node, time limit.
    attempt : 1, or more for a retry, which ends at once if the run was refused before.
    threads : of a process.
    how : keys of the block ``pretrain`` that the result does not depend on.

    Raises
    ------
    InputError
        With the program's last error, if it does not end with exit code 0.
    """
    refusal.check(output, attempt)
    own = gpus if "SLURM_JOB_ID" in os.environ else 0
    places = Layout.of(processes, own, nodes, cpus)
    told = {"threads": threads, "pretrain": dict(how or {})}
    call = command(run, output, places, stop_after(minutes), os.getpid(), told)
    devices = os.environ.get("CUDA_VISIBLE_DEVICES", "not set")
    log.info("CUDA_VISIBLE_DEVICES is %s; starting %s", devices, " ".join(call))
    began = time.time()
    with open(log_path or os.devnull, "ab") as sink:
        start = sink.tell()
        code = wait_for(call, sink)
    if code == 0:
        return
    if wrote_all(output, began):
        log.warning("pre-training ended with exit code %d after its last output", code)
        return
    text = ""
    if log_path:
        text = Path(log_path).read_bytes()[start:].decode("utf-8", errors="replace")
    stopped = re.findall(r"stopped at (step \d+ of \d+); state is written", text)
    if code == EXIT_STOPPED or stopped:
        where = stopped[-1] if stopped else "a checkpoint"
        raise InputError(f"pre-training was stopped at {where}; run again, it resumes there")
    if code < 0:
        raise InputError(f"pre-training was killed by signal {-code}; run again, it resumes there")
    raise InputError(f"pre-training ended with exit code {code}: {reason(text)}")
