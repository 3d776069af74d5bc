#!/usr/bin/env python3
"""A SLURM cluster on one host, for tests: `lab.py install | start | status | stop`.

Starts munge, MariaDB, slurmdbd, slurmctld and two slurmd (n1, n2: 8 CPUs, 32 GB, 2 GPUs each, all
of them pretended) on loopback, in a directory of its own (``GENEBERT_SLURM_LAB``, by default
``/tmp/genebert-slurm-lab``). The GPUs are device nodes that no driver is behind; SLURM hands them
out and sets ``CUDA_VISIBLE_DEVICES``. Partitions: ``cpu`` (default) and ``gpu``; account ``lab``.

Needs root, and Debian's packages, which ``start`` installs where they are missing. It refuses to
start where a SLURM is already: an ``/etc/slurm/slurm.conf`` that is not its own, or a slurmd,
slurmctld or munged that runs. ``stop`` ends only what it started and removes its link. Standard
library only; what was measured about such a cluster is in the comments.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

PACKAGES = ("slurmctld", "slurmd", "slurmdbd", "slurm-client", "munge", "mariadb-server")
PROGRAMS = ("slurmctld", "slurmd", "slurmdbd", "sbatch", "munged", "mariadbd", "mariadb-install-db")
FOREIGN = ("slurmd", "slurmctld", "munged")  # where one of these runs there is a SLURM already
LINK = Path("/etc/slurm/slurm.conf")  # jobs lose SLURM_CONF, so that the usual place is needed
POLICY = Path("/usr/sbin/policy-rc.d")
NODES = {"n1": 26821, "n2": 26822}
GPUS = 2

CONF = """\
ClusterName=genebertlab
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
# credentials expire soon, because a requeued job waits for that (2 minutes by default)
AuthInfo=socket={lab}/run/munge.socket,cred_expire=10
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmctldPort=26817
SlurmctldPidFile={lab}/run/slurmctld.pid
SlurmctldLogFile={lab}/log/slurmctld.log
StateSaveLocation={lab}/state
SlurmdPort=26818
SlurmdPidFile={lab}/run/slurmd.%n.pid
SlurmdLogFile={lab}/log/slurmd.%n.log
SlurmdSpoolDir={lab}/spool/%n
# one host without cgroups and systemd, which claims more CPUs than it has
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=500
GresTypes=gpu
# memory is enforced by looking every second
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
{accounting}
MinJobAge=300
KillWait=5
JobRequeue=1
SchedulerParameters=sched_min_interval=100000,batch_sched_delay=0
{nodes}
PartitionName=cpu Nodes=n[1-2] Default=YES MaxTime=24:00:00 DefaultTime=00:10:00 State=UP
PartitionName=gpu Nodes=n[1-2] MaxTime=24:00:00 DefaultTime=00:10:00 State=UP
"""
ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=26819
AccountingStoragePass={lab}/run/munge.socket
AccountingStorageTRES=gres/gpu"""
SLURMDBD = """\
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort=26819
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=33306
StorageUser=slurm
StorageLoc=slurm_acct_db
CommitDelay=1
AuthInfo=socket={lab}/run/munge.socket
LogFile={lab}/log/slurmdbd.log
PidFile={lab}/run/slurmdbd.pid
"""


class LabError(Exception):
    """Why the cluster cannot be started, in one line."""


def directory() -> Path:
    """Return the directory of the cluster."""
    return Path(os.environ.get("GENEBERT_SLURM_LAB", "/tmp/genebert-slurm-lab"))


def running(names: tuple[str, ...]) -> dict[int, str]:
    """Return the processes of this machine with one of these names, by number."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                name = (entry / "comm").read_text().strip()
                if name in names:
                    found[int(entry.name)] = name
    return found


# -- what must hold before anything is touched --------------------------------------------------


def check_free(link: Path = LINK, processes: Mapping[int, str] | None = None) -> None:
    """Refuse where there is a SLURM already.

    Raises
    ------
    LabError
        If the link or a daemon is not ours.
    """
    lab = directory()
    if link.is_symlink():
        if link.readlink() != lab / "etc/slurm.conf":
            raise LabError(f"refused: {link} is a link to {link.readlink()}, not of this lab")
    elif link.exists():
        raise LabError(f"refused: {link} exists, this machine has a SLURM of its own")
    for number, name in (running(FOREIGN) if processes is None else processes).items():
        if number not in pids(lab):
            raise LabError(f"refused: {name} (process {number}) runs already, not of this lab")


def check_installed() -> None:
    """Install what is missing.

    Raises
    ------
    LabError
        If it is missing and cannot be installed.
    """
    missing = [name for name in PROGRAMS if which(name) is None]
    if not missing:
        return
    names = " ".join(PACKAGES)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise LabError(f"no {missing[0]}, and only root can install it: apt-get install {names}")
    call = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *PACKAGES]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with nothing_starts_by_itself():
        for before in ([], ["apt-get", "update", "-qq"]):
            if before:
                subprocess.run(before, env=environment, capture_output=True, check=False)
            done = subprocess.run(
                call, env=environment, capture_output=True, text=True, check=False
            )
            if done.returncode == 0:
                break
        else:
            said = [x for x in (done.stderr or done.stdout).splitlines() if x.startswith("E:")]
            raise LabError(f"apt-get cannot install {names}: {(said or ['no reason given'])[0]}")
    if missing := [name for name in PROGRAMS if which(name) is None]:
        raise LabError(f"no {missing[0]}, although its package is installed")


@contextlib.contextmanager
def nothing_starts_by_itself() -> Iterator[None]:
    """Keep the packages from starting their daemons when they are installed."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


def which(name: str) -> str | None:
    """Return where a program is, also where only root looks."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/local/sbin")


# -- processes ------------------------------------------------------------------------------------


def pids(lab: Path) -> dict[int, str]:
    """Return the daemons of this lab that run, by process number."""
    found = {}
    for file in (lab / "run").glob("*.pid") if (lab / "run").is_dir() else ():
        with contextlib.suppress(OSError, ValueError):
            number = int(file.read_text())
            name = Path(f"/proc/{number}/comm").read_text().strip()
            if name == file.name.split(".")[0]:  # not a later process with that number
                found[number] = file.stem
    return found


def environment(lab: Path) -> dict[str, str]:
    """Return the environment of the clients and daemons."""
    return {**os.environ, "SLURM_CONF": str(lab / "etc/slurm.conf")}


def start_daemon(lab: Path, name: str, *arguments: str, user: str | None = None) -> None:
    """Start a daemon that goes to the background by itself, or is sent there (``user``)."""
    command = [str(which(name)), *arguments]
    log = lab / "log" / f"{name}.start.log"
    with log.open("ab") as sink:
        if user is None:
            code = subprocess.call(command, stdout=sink, stderr=sink, env=environment(lab))
            if code:
                raise LabError(f"{name} does not start: {last_line(log)}")
        else:
            child = subprocess.Popen(
                command, stdout=sink, stderr=sink, stdin=subprocess.DEVNULL,
                start_new_session=True, user=user, group=user, extra_groups=[],
            )  # fmt: skip
            (lab / "run" / f"{name}.pid").write_text(str(child.pid))


def last_line(file: Path) -> str:
    """Return the last line of a log."""
    return (file.read_text(errors="replace").strip().splitlines() or ["it says nothing"])[-1]


def wait_until(ready: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait for something to be true."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise LabError(f"{what} is not ready after {seconds:.0f} s")
        time.sleep(0.1)


def answers(lab: Path, *command: str) -> bool:
    """Whether a command ends with code 0."""
    return not subprocess.call(
        command, env=environment(lab), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def listens(port: int) -> bool:
    """Whether somebody listens on a port of loopback."""
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


# -- start, stop ------------------------------------------------------------------------------------


def write_files(lab: Path, accounting: bool) -> None:
    """Write the configuration, the key and the GPU devices."""
    for name in ("etc", "run", "log", "state", "spool/n1", "spool/n2", "munge", "db"):
        (lab / name).mkdir(parents=True, exist_ok=True)
    for path in (lab, lab / "run"):
        path.chmod(0o755)
    host = socket.gethostname()
    rows = [
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=8 "
        f"RealMemory=32000 Gres=gpu:a100:{GPUS}"
        for name, port in NODES.items()
    ]
    (lab / "etc/slurm.conf").write_text(
        CONF.format(
            lab=lab,
            host=host,
            nodes="\n".join(rows),
            accounting=ACCOUNTING.format(lab=lab) if accounting else "",
        )
    )
    dbd = lab / "etc/slurmdbd.conf"
    dbd.write_text(SLURMDBD.format(lab=lab, host=host))
    dbd.chmod(0o600)
    gres = []
    for name in NODES:
        (lab / "dev" / name).mkdir(parents=True, exist_ok=True)
        for i in range(GPUS):  # must be special files: a plain file gives no index
            device = lab / "dev" / name / f"nvidia{i}"
            if not device.exists():
                os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        files = f"{lab}/dev/{name}/nvidia[0-{GPUS - 1}]"
        gres.append(f"NodeName={name} Name=gpu Type=a100 Flags=nvidia_gpu_env File={files}\n")
    (lab / "etc/gres.conf").write_text("".join(gres))
    key = lab / "munge/key"
    if not key.exists():
        key.write_bytes(os.urandom(128))
    key.chmod(0o400)


def start_database(lab: Path) -> None:
    """Start MariaDB and slurmdbd, and make the account ``lab``."""
    database = lab / "db/data"
    shutil.chown(lab / "db", "mysql", "mysql")
    base = [f"--datadir={database}", f"--socket={lab}/db/socket", f"--pid-file={lab}/db/pid"]
    if not database.exists():
        done = subprocess.run(
            [
                str(which("mariadb-install-db")), "--no-defaults", f"--datadir={database}",
                "--user=mysql", "--skip-test-db", "--auth-root-authentication-method=normal",
            ],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise LabError(f"mariadb-install-db ended with {done.returncode}: {done.stderr[-300:]}")
    start_daemon(
        lab, "mariadbd", "--no-defaults", *base, "--bind-address=127.0.0.1", "--port=33306",
        "--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=2", user="mysql",
    )  # fmt: skip
    wait_until(lambda: listens(33306), "mariadbd")
    orders = (
        "CREATE USER IF NOT EXISTS 'slurm'@'localhost', 'slurm'@'127.0.0.1';"
        "GRANT ALL ON slurm_acct_db.* TO 'slurm'@'localhost', 'slurm'@'127.0.0.1';"
    )
    client = [which("mariadb") or "mysql", "--no-defaults", f"--socket={lab}/db/socket"]
    subprocess.run([*client, "-u", "root", "-e", orders], check=True, capture_output=True)
    start_daemon(lab, "slurmdbd")
    wait_until(lambda: listens(26819), "slurmdbd")
    for order in ("cluster genebertlab", "account lab", "user root account=lab"):
        # "already exists" is an error to sacctmgr, and what is wanted
        wait_until(lambda: answers(lab, "sacctmgr", "-i", "list", "cluster"), "slurmdbd (sacctmgr)")
        answers(lab, "sacctmgr", "-i", "add", *order.split())


def start(accounting: bool = True) -> None:
    """Start the cluster; nothing happens where it runs already.

    Raises
    ------
    LabError
        If it cannot be; nothing is left running then.
    """
    lab = directory()
    check_free()
    if {"slurmctld", "slurmd.n1", "slurmd.n2"} <= set(pids(lab).values()):
        return
    check_installed()
    if os.geteuid() != 0:
        raise LabError("only root can start the SLURM of the tests")
    try:
        write_files(lab, accounting)
        start_daemon(
            lab, "munged", f"--key-file={lab}/munge/key", f"--socket={lab}/run/munge.socket",
            f"--pid-file={lab}/run/munged.pid", f"--log-file={lab}/log/munged.log",
            f"--seed-file={lab}/munge/seed", "--force",
        )  # fmt: skip
        if accounting:
            start_database(lab)
        LINK.parent.mkdir(exist_ok=True)
        if not LINK.is_symlink():
            LINK.symlink_to(lab / "etc/slurm.conf")
        start_daemon(lab, "slurmctld")
        for name in NODES:
            start_daemon(lab, "slurmd", "-N", name)
        wait_until(
            lambda: sorted(node_states(lab)) == [("n1", "idle"), ("n2", "idle")], "the cluster"
        )
    except BaseException:
        stop()
        raise


def node_states(lab: Path) -> list[tuple[str, str]]:
    """Return the nodes and their states."""
    done = subprocess.run(
        ["sinfo", "-h", "-N", "-p", "cpu", "-o", "%N %T"],
        env=environment(lab), capture_output=True, text=True, check=False,
    )  # fmt: skip
    return [(line.split()[0], line.split()[1]) for line in done.stdout.splitlines()]


def stop() -> None:
    """Cancel all jobs, end every daemon of the lab, remove the link and the directory."""
    lab = directory()
    if set(pids(lab).values()) & {"slurmctld"}:
        answers(lab, "scancel", "--user=root", "--signal=KILL", "--full")
        answers(lab, "scancel", "--user=root")
        end = time.monotonic() + 10
        while time.monotonic() < end and running(("slurmstepd",)):
            time.sleep(0.2)
    for name in ("slurmd.n1", "slurmd.n2", "slurmctld", "slurmdbd", "mariadbd", "munged"):
        for number in [n for n, daemon in pids(lab).items() if daemon == name]:
            end_process(number)
    for number in orphans():
        end_process(number)
    if LINK.is_symlink() and LINK.readlink() == lab / "etc/slurm.conf":
        LINK.unlink()
        with contextlib.suppress(OSError):  # not empty: Debian's slurmd keeps a file there
            LINK.parent.rmdir()
    shutil.rmtree(lab, ignore_errors=True)


def orphans() -> list[int]:
    """Return processes that jobs have left: without cgroups SLURM loses a child of a dead parent."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                if b"SLURM_CLUSTER_NAME=genebertlab" in (entry / "environ").read_bytes().split(
                    b"\0"
                ):
                    found.append(int(entry.name))
    return [number for number in found if number != os.getpid()]


def end_process(number: int, seconds: float = 15) -> None:
    """Ask a process to end, and kill it if it does not."""
    for order in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, order)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(ChildProcessError):  # a child of ours is waited for
                os.waitpid(number, os.WNOHANG)
            if not Path(f"/proc/{number}").exists():
                return
            time.sleep(0.1)


def main() -> int:
    """Run the program; return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("order", choices=("install", "start", "status", "stop"))
    parser.add_argument("--no-accounting", action="store_true", help="without slurmdbd")
    options = parser.parse_args()
    try:
        if options.order == "install":
            check_free()
            check_installed()
        elif options.order == "start":
            started = time.monotonic()
            start(accounting=not options.no_accounting)
            print(f"the cluster runs ({time.monotonic() - started:.1f} s); SLURM_CONF={LINK}")
        elif options.order == "stop":
            stop()
        else:
            found = pids(directory())
            print(" ".join(f"{name}={number}" for number, name in found.items()) or "not running")
            return 0 if found else 1
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
