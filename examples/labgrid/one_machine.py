"""A lab on one machine, to try run.py: a coordinator, an exporter and a host for each of hosts.yaml, all on this machine's loopback.

python one_machine.py FOLDER COMMAND...

Starts the lab, runs COMMAND with LG_COORDINATOR set and FOLDER/lab.yaml beside its key, and takes everything down again; the exit
status is the command's. FOLDER keeps the logs and the hosts' home folders. The hosts are small ssh servers (asyncssh), which run
commands as the user who started them and take nobody but the holder of a key that is made here.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import asyncssh

HERE = Path(__file__).parent
HOSTS = ("mesa-26.1", "mesa-25.0")
LOOPBACK = "127.0.0.1"
PATIENCE_S = 20.0


class Files(asyncssh.SFTPServer):
    """Files of a host, for scp, which over a shared connection takes a missing exit status for a failure."""

    def exit(self) -> None:
        """End with status 0."""
        self.channel.exit(0)


class Host:
    """One host: an ssh server on a port of its own, with a home folder; what it runs sees the host's name in LAB_HOST."""

    def __init__(self, name: str, home: Path) -> None:
        self.name, self.home = name, home
        self.running: set[asyncio.subprocess.Process] = set()

    async def start(self, key: asyncssh.SSHKey) -> int:
        """Listen; returns the port."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.server = await asyncssh.listen(
            LOOPBACK,
            0,
            server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
            authorized_client_keys=asyncssh.import_authorized_keys(key.export_public_key().decode()),
            process_factory=self.execute,
            sftp_factory=lambda channel: Files(channel, chroot=os.fsencode(self.home)),
            allow_scp=True,
            encoding=None,
        )
        return int(self.server.get_port())

    async def execute(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """Run what was asked for, in a process group of its own."""
        paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        local = await asyncio.create_subprocess_shell(
            process.command or "true",
            cwd=self.home,
            env={**os.environ, "LAB_HOST": self.name, "PATH": paths},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        self.running.add(local)
        await process.redirect(stdin=local.stdin, stdout=local.stdout, stderr=local.stderr, send_eof=False)
        status = await local.wait()
        self.running.discard(local)
        await process.stdout.drain()
        process.exit(status if status >= 0 else 128 - status)
        await process.wait_closed()

    def stop(self) -> None:
        """Close the port and end what still runs."""
        self.server.close()
        for local in self.running:
            os.killpg(local.pid, signal.SIGKILL)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


class Lab:
    """The coordinator, the exporter and the places, as processes with logs in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = f"{LOOPBACK}:{free_port()}"
        # gRPC would ask a proxy for loopback, too.
        self.environment = {**os.environ, "LG_COORDINATOR": self.address, "no_proxy": LOOPBACK, "LAB_USER": getpass.getuser()}
        self.processes: list[asyncio.subprocess.Process] = []

    async def daemon(self, module: str, *arguments: str) -> None:
        """Start a part of labgrid."""
        with open(self.folder / f"{module}.log", "wb") as log:
            self.processes.append(
                await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    f"labgrid.remote.{module}",
                    *arguments,
                    cwd=self.folder,
                    env=self.environment,
                    stdout=log,
                    stderr=log,
                )
            )

    async def client(self, *arguments: str) -> str | None:
        """Run labgrid-client and return its output; None where it fails."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "labgrid.remote.client", *arguments),
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        output, _ = await process.communicate()
        return output.decode() if process.returncode == 0 else None

    async def until(self, ready: Callable[[str], bool]) -> None:
        """Wait until the coordinator answers with a list of resources that is `ready`.

        Raises:
            TimeoutError: that does not come about, or a part of labgrid ended; its log is in the folder.
        """
        end = asyncio.get_running_loop().time() + PATIENCE_S
        while (listed := await self.client("resources")) is None or not ready(listed):
            if asyncio.get_running_loop().time() > end or any(process.returncode is not None for process in self.processes):
                raise TimeoutError(f"the lab did not come up: see {self.folder}/*.log")
            await asyncio.sleep(0.2)

    async def start(self, ports: dict[str, int]) -> None:
        """Bring the lab up: every host exported, a place for each; raises as `until`."""
        for name, port in ports.items():
            version = name.partition("-")[2].replace(".", "_")
            self.environment |= {f"HOST_{version}": LOOPBACK, f"PORT_{version}": str(port)}
        shutil.copy(HERE / "hosts.yaml", self.folder)
        await self.daemon("coordinator", "--listen", self.address)
        await self.until(lambda listed: True)  # an exporter that finds no coordinator gives up
        await self.daemon("exporter", "--name", "lab", "--coordinator", self.address, "hosts.yaml")
        await self.until(lambda listed: set(ports) <= set(listed.replace("/", " ").split()))
        await asyncio.gather(*(self.place(name) for name in ports))

    async def place(self, name: str) -> None:
        """Make a place of the host `name`."""
        await self.client("-p", name, "create")
        await self.client("-p", name, "add-match", f"lab/{name}/NetworkService")
        await self.client("-p", name, "set-tags", f"driver={name}")

    async def stop(self) -> None:
        """End what was started."""
        for process in self.processes:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def main(folder: Path, command: list[str]) -> int:
    """The command's exit status in a lab that lives as long as it."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "lab.yaml", folder)
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(folder / "lab-key")
    (folder / "lab-key").chmod(0o600)
    hosts = [Host(name, folder / "homes" / name) for name in HOSTS]
    lab = Lab(folder)
    started: list[Host] = []
    try:
        ports = {}
        for host in hosts:
            ports[host.name] = await host.start(key)
            started.append(host)
        await lab.start(ports)
        process = await asyncio.create_subprocess_exec(*command, env=lab.environment)
        try:
            return await process.wait()
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()
    finally:
        await lab.stop()
        for host in started:
            host.stop()


if __name__ == "__main__":
    runner = asyncio.new_event_loop()
    job = runner.create_task(main(Path(sys.argv[1]).absolute(), sys.argv[2:]))
    runner.add_signal_handler(signal.SIGTERM, job.cancel)
    sys.exit(runner.run_until_complete(job))
