"""What `snakemake check` says of the machine: disk, memory, cores, GPU, SLURM."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from genebert import layout, slurm
from genebert.checks.finding import Finding
from genebert.disk import free_bytes, size_text
from genebert.downloads import resources_used
from genebert.errors import InputError

# Bytes per region and motif: measured on 1.15 million regions x 1,000 motifs (docs/benchmarks.md):
# matrix and chunks 1.24 + 1.2 GB, shards 2.8 GB of which 2 bytes a motif
REGION_BYTES, CELL_BYTES = 700, 4.2
MOTIFS = 1000
WEIGHTS = {"tiny": 1e6, "small": 20e6, "base": 400e6}  # bytes of a model, rounded up
REQUESTS_MB = {"pretrain": 8000, "shards": 8000, "atlas_peaks": 16000, "many_chip_sets": 32000}
DAYS = 100_000  # optimiser steps x rows of `base` that a CPU does not finish in a day or so


def needed_bytes(config: Mapping[str, Any], regions: int, bases: int = 0) -> float:
    """Return about how many bytes the results of a run take.

    Parameters
    ----------
    regions : about how many there are; 0 if that is not known.
    bases : of the genome.
    """
    runs = len(config["effort"]["variants"]) * config["effort"]["pretrain_seeds"]
    weights = WEIGHTS[config["pretrain"]["model"]["size"]] * (runs + 3)  # 3: state of one run
    return 0.3 * bases + regions * (REGION_BYTES + CELL_BYTES * MOTIFS) + weights + 50e6


def downloads(
    config: Mapping[str, Any], resources: Sequence[Mapping[str, str]]
) -> tuple[int, int, int]:
    """Return (number, known bytes, number of unknown size) of downloads that are not there yet."""
    sizes = {row["name"]: row["bytes"] for row in resources}
    try:
        files = [] if layout.is_simulated(config) else resources_used(config)
    except InputError:  # a table that is not there, or wrong: told elsewhere
        return 0, 0, 0
    absent = [Path(path).name for path in files if not os.path.exists(path)]
    known = [int(sizes[name]) for name in absent if sizes.get(name)]
    return len(absent), sum(known), len(absent) - len(known)


def disk(
    config: Mapping[str, Any], resources: Sequence[Mapping[str, str]], regions: int
) -> Iterator[Finding]:
    """Yield what is free and what is needed in the working directory."""
    number, size, unknown = downloads(config, resources)
    if number:
        text = f"{number} files would be fetched, {size_text(size)}"
        text += f" and {unknown} of unknown size" if unknown else ""
        yield Finding("ok", "downloads", text, "`fetch_all` brings them on a login node")
    free = free_bytes(".")
    if not regions:
        yield Finding("ok", "disk", f"{size_text(free)} free; the number of regions is not known")
        return
    needed = needed_bytes(config, regions) + size
    text = f"{size_text(free)} free, about {size_text(needed)} needed"
    if free < needed:
        yield Finding("error", "disk", text, "run elsewhere (--directory), or make room")
    elif free < 2 * needed:
        yield Finding("warn", "disk", text, "little is left over")
    else:
        yield Finding("ok", "disk", text)


def total_memory_mb() -> int:
    """Return the memory of this machine, or of the container it runs in, in MB."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        total = min(total, int(limit)) if limit.isdecimal() else total
    except OSError:
        pass
    return total // 1_000_000


def largest_request(config: Mapping[str, Any]) -> tuple[str, int]:
    """Return the name and the memory, in MB, of the rule of this run that asks for most."""
    name = "pretrain"
    if layout.is_converted(config):
        name = "atlas_peaks"
    if any(row.get("path", "").startswith("listing:") for row in config["datasets"]):
        name = "many_chip_sets"
    return name, REQUESTS_MB[name]


def memory(config: Mapping[str, Any], there: int) -> Finding:
    """Return what is there and what the hungriest rule asks for, in MB."""
    name, wanted = largest_request(config)
    rule = {"many_chip_sets": "dataset"}.get(name, name)
    text = f"{there / 1000:.1f} GB here, the rule {rule} asks for {wanted / 1000:.0f} GB"
    if there < wanted:
        return Finding(
            "warn", "memory", text,
            "it asks generously, but close other programs, and use few --cores",
        )  # fmt: skip
    return Finding("ok", "memory", text)


def gpus() -> list[str]:
    """Return the GPUs that ``nvidia-smi`` names; none without it."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines = [] if done.returncode else done.stdout.splitlines()
    return [line.strip() for line in lines if line]


def gpu(config: Mapping[str, Any], names: Sequence[str]) -> Finding:
    """Return whether there is a GPU and whether this run wants one."""
    block, effort = config["pretrain"], config["effort"]
    size = block["model"]["size"]
    runs = len(effort["variants"]) * effort["pretrain_seeds"]
    work = f"{runs} x {effort['pretrain_steps']:,} steps of a {size} model"
    if names:
        return Finding("ok", "gpu", f"{', '.join(names)}: {work}")
    rows = effort["pretrain_steps"] * block["batch_size"] * runs
    if size == "base" and rows > DAYS:
        return Finding(
            "warn", "gpu", f"none here: {work}",
            "days on a CPU; use --profile slurm, fewer effort.pretrain_steps or a smaller "
            "pretrain.model.size",
        )  # fmt: skip
    return Finding("ok", "gpu", f"none here: {work} on the CPU")


def cluster(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Yield whether the variables of the SLURM profile fit the cluster, where there is one."""
    named = sorted(name for name in environment if name in slurm.SITE)
    if shutil.which("sbatch", path=environment.get("PATH")) is None:
        if named:
            yield Finding(
                "warn", "slurm", f"{named[0]} is set, but there is no SLURM here",
                "check again on a login node of the cluster",
            )  # fmt: skip
        else:
            yield Finding("ok", "slurm", "none here: the run stays on this machine")
        return
    try:
        slurm.check_site(environment)
    except InputError as error:
        level = "error" if named else "warn"  # whoever has set nothing may want to run here
        yield Finding(level, "slurm", str(error), "or run without --profile slurm")
        return
    where = ", ".join(f"{name}={environment[name]}" for name in named) or "the cluster's defaults"
    yield Finding("ok", "slurm", f"here, with {where}", "add --profile slurm to use it")


def check(
    config: Mapping[str, Any], resources: Sequence[Mapping[str, str]], regions: int
) -> Iterator[Finding]:
    """Yield the findings about this machine.

    Parameters
    ----------
    config : the validated configuration.
    resources : rows of the manifest.
    regions : about how many regions the run has; 0 if that is not known.
    """
    yield from disk(config, resources, regions)
    yield memory(config, total_memory_mb())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("ok", "cores", f"{cores}: all are used unless --cores says otherwise")
    yield gpu(config, gpus())
    yield from cluster(os.environ)
