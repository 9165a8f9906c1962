"""Kernel nodes of the CUDA graphs that a program records, counted without its help, so that any version of Ingot is counted alike (count_nodes.c).

The library that Ingot opens as the driver is then one of a single function of its own, which counts and passes on; for all others the loader finds libcuda.
"""
import atexit
import functools
import os
import re
import shutil
import subprocess
import tempfile

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "count_nodes.c")


def environment(folder, device):
    """Under which a program tells what it records, in a file of this folder; empty where there is no compiler or no GPU."""
    if device != "cuda" or not counting_driver():
        return {}
    return {"INGOT_LIBCUDA": counting_driver(), "INGOT_BENCH_NODES": os.path.join(folder, "nodes")}


@functools.cache
def counting_driver():
    """The library, made once a process; None where it cannot be."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    driver = os.environ.get("INGOT_LIBCUDA") or libcuda()
    if not compiler or not driver:
        return None
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, True)
    library = os.path.join(folder, "count_nodes.so")
    made = subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE, f'-DDRIVER="{driver}"', "-Wl,--no-as-needed", driver, f"-Wl,-rpath,{os.path.dirname(driver)}"],
                          capture_output=True, text=True)
    return None if made.returncode else library


def counted(folder):
    """The largest of the graphs recorded so far, since each is recorded anew where addresses changed; None: none was."""
    path = os.path.join(folder, "nodes")
    if not os.path.exists(path):
        return None
    with open(path) as file:
        return max([int(count) for count in file.read().split()], default=None)


def libcuda():
    found = re.findall(r"libcuda\.so\.1 .*=> (\S+)", subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True).stdout)
    folders = os.environ.get("LD_LIBRARY_PATH", "").split(":") + ["/usr/local/nvidia/lib64", "/usr/lib/x86_64-linux-gnu"]
    found += [path for path in (os.path.join(folder, "libcuda.so.1") for folder in folders) if os.path.exists(path)]
    return found[0] if found else None
