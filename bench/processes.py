"""Starting and stopping targets, and what their processes use.

A target's main process leads a session, and all figures are sums over the session: workers and their children count.
"""

import os
import pathlib
import signal
import subprocess
import threading
import time

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def go_first() -> None:
    """In the child: a session of its own, ahead of other work on the machine where we may."""
    os.setsid()
    try:
        os.nice(-15)
        # Each session is a scheduling group of its own, so that nice alone is not enough.
        pathlib.Path("/proc/self/autogroup").write_text("-15")
    except OSError:
        pass


def launch(command: list[str], log: pathlib.Path, **options) -> subprocess.Popen:
    with open(log, "w") as output:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, preexec_fn=go_first,
                                **options)


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat after the name: 3 is the session, 11 to 14 the CPU ticks, children's included."""
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def members(session: int) -> list[int]:
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and int(_stat(int(entry))[3]) == session:
                found.append(int(entry))
        except OSError:
            pass
    return found


def cpu_seconds(session: int) -> float:
    ticks = 0
    for pid in members(session):
        try:
            ticks += sum(map(int, _stat(pid)[11:15]))
        except OSError:
            pass
    return ticks / TICKS_PER_SECOND


def memory_mib(session: int) -> float:
    """Proportional set size: pages that workers share count once."""
    kib = 0
    for pid in members(session):
        try:
            for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    kib += int(line.split()[1])
        except OSError:
            pass
    return kib / 1024


def stop(process: subprocess.Popen) -> None:
    for number, patience in ((signal.SIGTERM, 8), (signal.SIGKILL, 3)):
        for pid in members(process.pid):
            try:
                os.kill(pid, number)
            except OSError:
                pass
        end = time.monotonic() + patience
        while members(process.pid) and time.monotonic() < end:
            process.poll()
            time.sleep(0.05)
    process.wait()


def _machine_seconds() -> float:
    """CPU time that the whole machine has used."""
    fields = [int(field) for field in pathlib.Path("/proc/stat").read_text().split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICKS_PER_SECOND


class Watch:
    """Between enter and exit: CPU and peak memory of a session, and the cores that others used (`other`)."""

    def __init__(self, session: int, mock: int) -> None:
        self.session, self.mock = session, mock

    def _counters(self) -> tuple[float, float, float, float]:
        return time.monotonic(), cpu_seconds(self.session), _machine_seconds(), self._ours()

    def _ours(self) -> float:
        sessions = {self.session, self.mock}
        return sum(os.times()[:4]) + sum(map(cpu_seconds, sessions))

    def _poll(self) -> None:
        while not self._done.wait(0.25):
            self.peak_mib = max(self.peak_mib, memory_mib(self.session))

    def __enter__(self) -> "Watch":
        self.start_mib = self.peak_mib = memory_mib(self.session)
        self._before = self._counters()
        self._done = threading.Event()
        self._poller = threading.Thread(target=self._poll)
        self._poller.start()
        return self

    def __exit__(self, *_) -> None:
        self._done.set()
        self._poller.join()
        self.peak_mib = max(self.peak_mib, memory_mib(self.session))
        seconds, self.cpu, machine, ours = (b - a for a, b in zip(self._before, self._counters()))
        self.other = max(0.0, (machine - ours) / seconds)
