"""What a one-machine Slurm consists of on disk: its settings, its configuration files, its daemons' command lines."""

from __future__ import annotations

import getpass
import random
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PORTS = 64
"""The ports that one lab reserves: its claim, three services, the nodes."""


@dataclass(frozen=True)
class Settings:
    """What a lab looks like. Every default can be overridden, slurm.conf's own keys included."""

    nodes: int = 4
    gpus: int = 8
    """Per node; 0: Slurm knows no GPUs."""
    gpu_type: str = ""
    """As in `gpu:a100:8`."""
    cpus: int = 16
    mem: int = 16_000
    """Megabytes per node."""
    accounting: bool = False
    """With MariaDB and slurmdbd."""
    ip_names: bool = False
    """Nodes are called 127.0.0.11, …, which resolve everywhere, instead of n1, …: for jobs that span nodes."""
    conf: Mapping[str, object] = field(default_factory=dict)
    """Keys of slurm.conf, as in `{"SlurmdTimeout": 5}`."""
    partitions: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """Keys of partitions, new or known, as in `{"scavenge": {"GraceTime": 15}}`."""

    @property
    def node_names(self) -> list[str]:
        return [f"127.0.0.{10 + n}" if self.ip_names else f"n{n}" for n in range(1, self.nodes + 1)]


@dataclass(frozen=True)
class Layout:
    """Where everything of one lab is: a folder, and a block of ports."""

    folder: Path
    port: int
    """The first of `PORTS`, held by the lab for as long as it lives, so that no two labs get the same."""

    @property
    def conf(self) -> Path:
        return self.folder / "etc" / "slurm.conf"

    @property
    def munge_socket(self) -> Path:
        return self.folder / "munge" / "socket"

    @property
    def mysql_socket(self) -> Path:
        return self.folder / "mysql.sock"

    def slurmd_log(self, node: str) -> Path:
        return self.folder / "log" / f"slurmd-{node}.log"

    @property
    def controller_port(self) -> int:
        return self.port + 1

    @property
    def accounting_port(self) -> int:
        return self.port + 2

    @property
    def database_port(self) -> int:
        return self.port + 3

    def node_port(self, index: int) -> int:
        return self.port + 4 + index


def daemons(settings: Settings, layout: Layout) -> dict[str, list[str]]:
    """The command line of each daemon, in the foreground, in the order in which they start; nodes by their names."""
    munge = layout.folder / "munge"
    commands = {
        "munged": [
            *("munged", "--foreground", "--force", f"--key-file={munge / 'key'}", f"--socket={layout.munge_socket}"),
            *(f"--pid-file={munge / 'pid'}", f"--log-file={munge / 'log'}", f"--seed-file={munge / 'seed'}"),
        ]
    }
    if settings.accounting:
        commands["mariadbd"] = [
            *("mariadbd", "--no-defaults", *database_user(), f"--datadir={layout.folder / 'mysql'}"),
            *(f"--socket={layout.mysql_socket}", f"--port={layout.database_port}", "--bind-address=127.0.0.1"),
            *("--skip-name-resolve", "--skip-log-bin", "--innodb-buffer-pool-size=128M"),
            *("--innodb-lock-wait-timeout=900", "--innodb-flush-log-at-trx-commit=0"),
        ]
        commands["slurmdbd"] = ["slurmdbd", "-D"]
    commands |= {name: ["slurmd", "-D", "-N", name] for name in settings.node_names}
    return commands | {"slurmctld": ["slurmctld", "-D"]}


def database_user() -> list[str]:
    """MariaDB runs as root only if told so."""
    return ["--user=root"] if getpass.getuser() == "root" else []


def write(settings: Settings, layout: Layout) -> None:
    """Write the configuration files and make the folders they name."""
    folder = layout.folder
    for name in ("etc", "log", "spool", "munge", "dev", "pids"):
        (folder / name).mkdir(mode=0o755)
    (folder / "state").mkdir(mode=0o700)
    for node in settings.node_names:
        (folder / "spool" / node).mkdir()
    for index in range(settings.gpus):  # the number at the end becomes the one in CUDA_VISIBLE_DEVICES
        (folder / "dev" / f"nvidia{index}").symlink_to("/dev/null")
    key = folder / "munge" / "key"
    key.write_bytes(random.randbytes(1024))
    key.chmod(0o400)
    (folder / "etc" / "gres.conf").write_text(_gres_conf(settings, folder))
    # slurmd loads a cgroup plugin even if nothing uses it, and its search for one is fatal without /sys/fs/cgroup.
    (folder / "etc" / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    (folder / "etc" / "plugstack.conf").touch()
    layout.conf.write_text(_slurm_conf(settings, layout))
    if settings.accounting:
        slurmdbd_conf = folder / "etc" / "slurmdbd.conf"
        slurmdbd_conf.touch(mode=0o600)
        slurmdbd_conf.write_text(_lines(_slurmdbd_conf(layout)))


def _gres_conf(settings: Settings, folder: Path) -> str:
    kind = f"Type={settings.gpu_type} " if settings.gpu_type else ""
    devices = [f"Name=gpu {kind}File={folder / 'dev' / f'nvidia{index}'}\n" for index in range(settings.gpus)]
    return "".join(["AutoDetect=off\n", *devices])


def _slurm_conf(settings: Settings, layout: Layout) -> str:
    keys = {key.lower(): (key, value) for key, value in _slurm_keys(settings, layout).items()}
    keys |= {key.lower(): (key, value) for key, value in settings.conf.items()}
    partitions: dict[str, Mapping[str, object]] = {
        "gpu": {"Nodes": "ALL", "Default": "YES", "MaxTime": "INFINITE", "PriorityTier": 10, "PreemptMode": "OFF"},
        "scavenge": {"Nodes": "ALL", "MaxTime": "INFINITE", "PriorityTier": 1, "PreemptMode": "REQUEUE"},
    }
    for name, overridden in settings.partitions.items():
        partitions[name] = {"Nodes": "ALL", **partitions.get(name, {}), **overridden}
    kind = f"{settings.gpu_type}:" if settings.gpu_type else ""
    node = {"NodeHostname": _host(), "NodeAddr": "127.0.0.1", "CPUs": settings.cpus, "RealMemory": settings.mem}
    node |= {"Gres": f"gpu:{kind}{settings.gpus}"} if settings.gpus else {}
    return (
        _lines(dict(keys.values()))
        + "".join(
            f"NodeName={name} Port={layout.node_port(index)} {_pairs(node)}\n"
            for index, name in enumerate(settings.node_names)
        )
        + "".join(f"PartitionName={name} {_pairs(values)}\n" for name, values in partitions.items())
    )


def _slurm_keys(settings: Settings, layout: Layout) -> dict[str, object]:
    """slurm.conf without nodes and partitions; time is compressed here."""
    folder, me = layout.folder, getpass.getuser()
    keys: dict[str, object] = {
        "ClusterName": "lab",
        "SlurmctldHost": f"{_host()}(127.0.0.1)",
        "SlurmctldPort": layout.controller_port,
        "SlurmUser": me,
        "SlurmdUser": me,
        # Every lab starts at another job id: a submitit folder that outlived the last one must not match.
        "FirstJobId": random.randrange(1_000, 60_000_000),
        "AuthType": "auth/munge",
        "CredType": "cred/munge",
        # cred_expire is also how long a requeued job waits before it may start again (120 s by default).
        "AuthInfo": f"socket={layout.munge_socket},cred_expire=5",
        "MpiDefault": "none",
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "JobAcctGatherType": "jobacct_gather/linux",
        "JobAcctGatherFrequency": "task=2",
        "SwitchType": "switch/none",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core_Memory",
        "DefMemPerCPU": 100,
        "SchedulerType": "sched/backfill",
        "SchedulerParameters": (
            "batch_sched_delay=0,sched_interval=5,sched_min_interval=100000,bf_interval=2,bf_min_age_reserve=0"
        ),
        "PriorityType": "priority/basic",
        "PreemptType": "preempt/partition_prio",
        "PreemptMode": "REQUEUE",
        "JobRequeue": 1,
        "SlurmctldParameters": "preempt_send_user_signal",
        "SlurmdParameters": "config_overrides",  # more CPUs and memory than this machine has
        "ReturnToService": 2,
        "SlurmdTimeout": 60,
        "SlurmctldTimeout": 10,
        "KillWait": 5,
        "MinJobAge": 300,
        "InactiveLimit": 0,
        "Waittime": 0,
        "SlurmctldPidFile": folder / "state" / "slurmctld.pid",
        "SlurmdPidFile": folder / "spool" / "%n" / "slurmd.pid",
        "SlurmdSpoolDir": folder / "spool" / "%n",
        "StateSaveLocation": folder / "state",
        "SlurmctldLogFile": folder / "log" / "slurmctld.log",
        "SlurmdLogFile": layout.slurmd_log("%n"),
        "SlurmctldDebug": "info",
        "SlurmdDebug": "info",
        "AccountingStorageType": "accounting_storage/none",
    }
    if settings.gpus:
        keys["GresTypes"] = "gpu"
    if settings.accounting:
        keys |= {
            "AccountingStorageType": "accounting_storage/slurmdbd",
            "AccountingStorageHost": "127.0.0.1",
            "AccountingStoragePort": layout.accounting_port,
            # Clients reach slurmdbd through a private munge socket only with this; AuthInfo is not enough.
            "AccountingStoragePass": layout.munge_socket,
            "AccountingStorageTRES": "gres/gpu",
            "AccountingStorageEnforce": "associations,limits,qos",
        }
    return keys


def _slurmdbd_conf(layout: Layout) -> dict[str, object]:
    return {
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={layout.munge_socket}",
        "DbdHost": "localhost",
        "DbdPort": layout.accounting_port,
        "SlurmUser": getpass.getuser(),
        "StorageType": "accounting_storage/mysql",
        "StorageHost": "127.0.0.1",
        "StoragePort": layout.database_port,
        "StorageUser": "slurm",
        "StoragePass": "slurm",
        "StorageLoc": "slurm_acct_db",
        "PidFile": layout.folder / "state" / "slurmdbd.pid",
        "LogFile": layout.folder / "log" / "slurmdbd.log",
        "DebugLevel": "info",
    }


def _host() -> str:
    return socket.gethostname().partition(".")[0]


def _pairs(values: Mapping[str, object]) -> str:
    return " ".join(f"{key}={value}" for key, value in values.items())


def _lines(values: Mapping[str, object]) -> str:
    return "".join(f"{key}={value}\n" for key, value in values.items())
