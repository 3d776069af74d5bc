"""What can be known of a SLURM site before the first job: one line instead of many failed jobs.

In comes the environment, in which the variables of ``profiles/slurm`` name the site; SLURM's own
programs are asked. Out goes nothing, or an :class:`InputError`. Standard library only; called by
the Snakefile when a run with the executor ``slurm`` starts.
"""

from __future__ import annotations

import getpass
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from genebert.errors import InputError, nearest

CLIENTS = ("sbatch", "squeue", "scancel", "sinfo", "sacct")
SITE = ("GENEBERT_ACCOUNT", "GENEBERT_PARTITION", "GENEBERT_GPU_PARTITION", "GENEBERT_GPUS")
NUMBERS = {  # variables of the profile that are whole numbers, and their least values
    "GENEBERT_GPUS": 0,
    "GENEBERT_NODES": 1,
    "GENEBERT_CPUS_PER_GPU": 1,
    "GENEBERT_MB_PER_GPU": 1,
    "GENEBERT_GPU_MINUTES": 1,
}
GPU = re.compile(r"\bgpu:(?:[^:(,]+:)?(\d+)")  # gpu:4, gpu:a100:4(S:0-1), ...,gpu:4


def ask(command: Sequence[str]) -> list[str] | None:
    """Return the lines of a program of SLURM, or None if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return None if done.returncode else [line.strip() for line in done.stdout.splitlines() if line]


def gpus_by_partition(lines: Sequence[str]) -> dict[str, int]:
    """Return the GPUs of the largest node of every partition.

    Parameters
    ----------
    lines : of ``sinfo -h -o '%R|%G'``: partition and generic resources of a group of nodes.
    """
    largest: dict[str, int] = {}
    for line in lines:
        partition, _, resources = line.partition("|")
        count = sum(int(number) for number in GPU.findall(resources))
        largest[partition] = max(count, largest.get(partition, 0))
    return largest


def whole(environment: Mapping[str, str], name: str, default: int, least: int) -> int:
    """Return a variable that is a whole number.

    Raises
    ------
    InputError
        If it is something else, or too small.
    """
    text = environment.get(name) or str(default)
    if not text.isascii() or not text.isdecimal() or int(text) < least:
        raise InputError(
            f"the variable {name} is wrong",
            found=text,
            expected=f"a whole number, at least {least}",
        )
    return int(text)


def check_numbers(environment: Mapping[str, str]) -> None:
    """Raise :class:`InputError` if a variable of the profile that is a number is none."""
    for name, least in NUMBERS.items():
        whole(environment, name, least, least)


def check_site(environment: Mapping[str, str]) -> None:
    """Check that the variables of the profile fit the cluster.

    Parameters
    ----------
    environment : with GENEBERT_PARTITION, GENEBERT_GPU_PARTITION, GENEBERT_ACCOUNT and
        GENEBERT_GPUS (per node), each of them optional.

    Raises
    ------
    InputError
        If a program of SLURM is missing, its controller does not answer, a partition or an account
        is unknown, or more GPUs are asked for than there are.
    """
    missing = [name for name in CLIENTS if shutil.which(name, path=environment.get("PATH")) is None]
    if missing:
        raise InputError(
            f"no SLURM here: the program {missing[0]} is not found; start snakemake on a login "
            "node of the cluster, or without --profile slurm"
        )
    lines = ask(["sinfo", "-h", "-o", "%R|%G"])
    if lines is None:
        raise InputError("SLURM does not answer: 'sinfo' fails; its controller may be down")
    gpus = gpus_by_partition(lines)
    for name in ("GENEBERT_PARTITION", "GENEBERT_GPU_PARTITION"):
        partitions = [part for part in environment.get(name, "").split(",") if part]
        for partition in partitions:
            if partition not in gpus:
                raise InputError(
                    f"{name}: the cluster has no partition {partition!r}{nearest(partition, gpus)}",
                    expected="one of " + ", ".join(sorted(gpus)),
                )
    wanted = whole(environment, "GENEBERT_GPUS", 1, 0)
    chosen = [part for part in environment.get("GENEBERT_GPU_PARTITION", "").split(",") if part]
    if chosen or environment.get("GENEBERT_GPUS"):
        there = max((gpus[part] for part in chosen or gpus), default=0)
        if wanted > there:
            raise InputError(
                f"GENEBERT_GPUS: no node of {' or '.join(chosen) or 'the cluster'} has that many "
                "GPUs",
                found=wanted,
                expected=f"at most {there}",
            )
    check_account(environment.get("GENEBERT_ACCOUNT"))


def check_account(account: str | None) -> None:
    """Check that the account is one of the user's; without accounting it is left to SLURM.

    Raises
    ------
    InputError
        If it is not, or if SLURM wants one and the user has none.
    """
    user = getpass.getuser()
    known = ask(["sacctmgr", "-n", "-P", "show", "assoc", f"user={user}", "format=account"])
    if account and known and account.lower() not in [name.lower() for name in known]:
        raise InputError(
            f"GENEBERT_ACCOUNT: {user} may not use the account {account!r}"
            f"{nearest(account, known)}",
            expected="one of " + ", ".join(sorted(set(known))),
        )
    if known == []:
        settings = ask(["scontrol", "show", "config"]) or []
        enforced = [x for x in settings if x.startswith("AccountingStorageEnforce")]
        if any("associations" in line for line in enforced):
            raise InputError(f"this SLURM wants an account, and {user} has none; ask its operators")
