"""What the numbers were measured on: names and versions once, clocks, power and temperature all along. Everything is read; nothing is set."""
import os
import platform
import subprocess
import threading
import time

FIELDS = ("clocks.sm", "clocks.mem", "power.draw", "temperature.gpu", "clocks_event_reasons.active")
NAMES = ("sm_mhz", "memory_mhz", "watts", "celsius", "slowed_by")
IDLE = 1  # the bit of clocks_event_reasons that only says that nothing runs


def ask(command):
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def gpus():
    """[{"index", "name", "driver", "memory_mib", "watts_limit", "sm_mhz_limit", "uuid"}] of those that CUDA_VISIBLE_DEVICES lets through; empty where nvidia-smi finds none."""
    found = []
    for line in ask(["nvidia-smi", "--query-gpu=index,name,driver_version,memory.total,power.limit,clocks.max.sm,uuid", "--format=csv,noheader,nounits"]).splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == 7 and cells[0].isdigit():
            found.append({"index": int(cells[0]), "name": cells[1], "driver": cells[2], "memory_mib": number(cells[3]), "watts_limit": number(cells[4]),
                          "sm_mhz_limit": number(cells[5]), "uuid": cells[6]})
    return visible(found, os.environ.get("CUDA_VISIBLE_DEVICES"))


def visible(found, names):
    """Those that names, an index or the beginning of a uuid each, let through, in their order, up to the first that is none: as the driver reads that variable."""
    if names is None:
        return found
    chosen = []
    for name in names.split(","):
        means = [gpu for gpu in found if name.strip() in (str(gpu["index"]), gpu["uuid"]) or name.strip().startswith("GPU-") and gpu["uuid"].startswith(name.strip())]
        if len(means) != 1:
            break
        chosen += means
    return chosen


def number(text):
    try:
        return float(text)
    except ValueError:
        return None


def cpu_name():
    try:
        with open("/proc/cpuinfo") as file:
            return next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), platform.machine())
    except OSError:
        return platform.machine()


def describe(device):
    machine = {"cpu": cpu_name(), "cores": len(os.sched_getaffinity(0)), "system": platform.platform(), "python": platform.python_version()}
    if device == "cuda":
        machine["gpus"] = gpus()
    return machine


def parse_reading(line):
    """One line of nvidia-smi's query as a dictionary; None where it is none."""
    cells = [cell.strip() for cell in line.split(",")]
    if len(cells) != len(FIELDS) or number(cells[0]) is None:
        return None
    reading = {name: number(cell) for name, cell in zip(NAMES, cells)}
    reading["slowed_by"] = int(cells[-1], 16) & ~IDLE if cells[-1].startswith("0x") else None
    return reading


class Readings:
    """The GPU's state, read twice a second by one nvidia-smi in the background; on a CPU the load of the machine."""

    def __init__(self, device, gpu=0):
        self.last, self.process, self.device = None, None, device
        if device == "cuda":
            command = ["nvidia-smi", "-i", str(gpu), "--query-gpu=" + ",".join(FIELDS), "--format=csv,noheader,nounits", "-lms", "500"]
            try:
                self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
                threading.Thread(target=self.follow, daemon=True).start()
            except OSError:
                pass

    def follow(self):
        for line in self.process.stdout:
            reading = parse_reading(line)
            if reading:
                self.last = {**reading, "read": time.time()}

    def now(self):
        """The latest reading not older than two seconds, or None."""
        if self.device == "cpu":
            return {"load": round(os.getloadavg()[0], 2)}
        last = self.last
        return {k: v for k, v in last.items() if k != "read"} if last and time.time() - last["read"] < 2 else None

    def close(self):
        if self.process:
            self.process.terminate()
            self.process.wait()
