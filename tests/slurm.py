"""A Slurm cluster of virtual nodes on this machine: its daemons as processes, in a directory of their own."""

import os
import platform
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from getpass import getuser
from pathlib import Path

import pytest
from faults import COMMAND

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "scontrol", "sinfo")

# What the nodes really have is overridden. A task begins again a few seconds after it is requeued, and not two minutes.
CONFIGURATION = """
ClusterName=mrc2movie
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={place}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/%n
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,batch_sched_delay=0
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
KillWait=5
ReturnToService=2
PartitionName=cpu Nodes=ALL Default=YES State=UP MaxTime=INFINITE
"""

NODE = "NodeName=n{number} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=8 RealMemory=32000\n"


class Slurm:
    """A cluster that runs.

    Attributes:
        environment: Of the commands that talk to it.
    """

    def __init__(self, place: Path, nodes: Sequence[Sequence[str]]) -> None:
        """Start munge, the controller, and for each of the words that come before its command a node."""
        place.mkdir()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH"))},
            "PATH": os.pathsep.join([str(COMMAND.parent), os.environ["PATH"]]),
            "SLURM_CONF": str(place / "slurm.conf"),
        }
        self._place = place
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        controller, *ports = _free_ports(len(nodes) + 1)
        lines = [CONFIGURATION.format(host=platform.node(), port=controller, user=getuser(), place=place)]
        lines += [NODE.format(number=number, host=platform.node(), port=port) for number, port in enumerate(ports, 1)]
        (place / "slurm.conf").write_text("".join(lines))
        (place / "state").mkdir()
        key = place / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        files = [f"--{name}-file={place}/munge.{name}" for name in ("log", "pid", "seed")]
        try:
            munge = ("munged", "--foreground", "--force", f"--key-file={key}", f"--socket={place}/munge.socket", *files)
            self._start("munge", *munge)
            self._wait(lambda: (place / "munge.socket").exists())
            self._start("controller", "slurmctld", "-D")
            for number, before in enumerate(nodes, start=1):
                self._start(f"n{number}", *before, "slurmd", "-D", "-N", f"n{number}")
            self._wait(lambda: self.said("sinfo", "--noheader", "--format=%D %t") == f"{len(nodes)} idle")
        except BaseException:
            self.stop()
            raise

    def _start(self, name: str, *words: str) -> None:
        with (self._place / f"{name}.log").open("wb") as log:
            self._daemons[name] = subprocess.Popen(words, stdout=log, stderr=log, env=self.environment)

    def _wait(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 30
        while not condition():
            if time.monotonic() > end or any(daemon.poll() is not None for daemon in self._daemons.values()):
                raise RuntimeError("\n".join(path.read_text()[-600:] for path in sorted(self._place.glob("*.log"))))
            time.sleep(0.1)

    def stop(self) -> None:
        """End the daemons: the nodes, the controller, munge."""
        for daemon in reversed(self._daemons.values()):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def said(self, *words: str) -> str:
        """What a command of Slurm says."""
        done = subprocess.run(words, capture_output=True, text=True, env=self.environment, timeout=60, check=False)
        return done.stdout.strip()

    def process(self, task: str) -> int:
        """The number of the process of mrc2movie that is a task (``12_3``) of an array; 0 where there is none now."""
        job, _, number = task.partition("_")
        marks = [f"SLURM_ARRAY_JOB_ID={job}", f"SLURM_ARRAY_TASK_ID={number}", f"SLURM_CONF={self._place}/slurm.conf"]
        for process in Path("/proc").iterdir():
            if process.name.isdecimal():
                try:
                    environment = (process / "environ").read_bytes().split(b"\0")
                    command = (process / "cmdline").read_bytes()
                except OSError:  # it has ended, or is another user's
                    continue
                if all(mark.encode() in environment for mark in marks) and b"--shard\0slurm" in command:
                    return int(process.name)
        return 0

    def crash(self, task: str) -> str:
        """Let the node of a task crash: nothing on it says another word. Returns its name."""
        process = self.process(task)
        (node,) = (
            word.partition(b"=")[2].decode()
            for word in Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
            if word.startswith(b"SLURMD_NODENAME=")
        )
        status = Path(f"/proc/{process}/status").read_text().splitlines()
        (parent,) = (int(line.split()[1]) for line in status if line.startswith("PPid:"))
        self._daemons[node].kill()
        os.kill(parent, 9)  # slurmstepd
        os.kill(process, 9)
        self.said("scontrol", "update", f"nodename={node}", "state=down", "reason=crashed")
        return node


@contextmanager
def slurm(place: Path, nodes: Sequence[Sequence[str]] = ((),) * 4) -> Iterator[Slurm]:
    """A cluster for as long as the block lasts; skips the test where Slurm is missing or does not start.

    Args:
        place: A directory for it, which is made.
        nodes: The words before the command of each node.
    """
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        pytest.skip(f"no Slurm here ({', '.join(missing)} missing): apt-get install slurm-wlm munge")
    try:
        cluster = Slurm(place, nodes)
    except RuntimeError as error:
        pytest.skip(f"Slurm does not start here: {error}")
    try:
        yield cluster
    finally:
        cluster.stop()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
