"""Makes what is needed before a network is measured, in processes of their own, several at once, none of them timed as a peer. `python3 -m bench.warm WHAT NETWORK ...`:

    export    the rows' ONNX files, inputs and PyTorch's results
    compile   forms of PyTorch: compiled code, which stays in the caches on disk, with its time to compile and the kernels each form launches
    engine    Ingot's engines that nothing is measured for (untuned), which quick runs build here, beside the rest

Each prints how long its stages took: `stage NAME: SECONDS s`.
"""
import argparse
import contextlib
import ctypes
import glob
import importlib.metadata
import json
import os
import re
import signal
import sys
import time
import warnings

from bench import export, machine, peers, wire, zoo

STAGE = re.compile(r"^stage (.+): ([\d.]+) s$", re.MULTILINE)
PR_SET_PDEATHSIG = 1  # ends with whoever started it, however that ended
STARTED = time.perf_counter()


@contextlib.contextmanager
def stage(name):
    start = time.perf_counter()
    yield
    print(f"stage {name}: {time.perf_counter() - start:.2f} s", flush=True)


def compiled_path(folder, peer):
    return os.path.join(folder, "compiled", peer.replace(" ", "_") + ".json")


def made_for(options):
    """What compiled code is good for: another version or another GPU compiles again, wherever the folder came from."""
    cards = dict.fromkeys(gpu["name"] for gpu in machine.gpus()) if options.device == "cuda" else [machine.cpu_name()]
    return ", ".join([version("torch"), version("triton"), *cards, options.precision])


def version(package):
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return f"no {package}"


def is_made(folder, peer, made_for):
    """Whether a form was compiled for a row, or could not be, where that is good for this machine."""
    path = compiled_path(folder, peer)
    if not os.path.exists(path):
        return False
    with open(path) as file:
        return json.load(file).get("made_for") == made_for


def found(folder):
    """{peer: {"build_s", "kernels"} or {"error"}} of the forms that were compiled for a row."""
    answers = {}
    for path in glob.glob(os.path.join(folder, "compiled", "*.json")):
        with open(path) as file:
            answers[os.path.basename(path)[:-len(".json")].replace("_", " ")] = json.load(file)
    return answers


def compile_form(row, folder, peer, form, options):
    """What cannot be made here is named as a failure by the process that would have measured it."""
    from bench import peer_torch

    adapter, start = peer_torch.Peer(form, options), time.perf_counter()
    try:
        with stage(f"{peer} b{row.batch}"):
            adapter.prepare({"network": row.network, "batch": row.batch, "folder": folder})
            answer = {"build_s": time.perf_counter() - start}
            if options.device == "cuda":
                answer["kernels"] = peer_torch.count_kernels(adapter)
    except Exception as error:
        answer = {"error": wire.first_line(error)}
    adapter.drop()
    path = compiled_path(folder, peer)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "w") as file:
        json.dump({**answer, "made_for": options.made_for}, file)
    os.replace(path + ".new", path)  # whole or not at all: the process may be ended any time


def compile_forms(rows, options):
    """Forms need inputs alone, so that this waits for no export."""
    folder_of = lambda row: os.path.join(options.folder, row.folder)
    with stage("imports"):
        import torch  # noqa: F401: timed here, since every other import of it is free then
    for row in rows:
        export.write_inputs(folder_of(row), zoo.inputs(row.network, row.batch))
        for peer in options.peers.split(","):
            compile_form(row, folder_of(row), peer, peers.torch_form(peer, options.device), options)


def build_engines(rows, options):
    from bench import lane, peer_ingot

    for row in rows:
        options.work = options.folder
        scratch = lane.scratch_of(options, row)
        os.makedirs(scratch, exist_ok=True)
        with stage(f"engine b{row.batch}"):
            peer_ingot.Peer(options.settings, options).build({"folder": os.path.join(options.folder, row.folder), "scratch": scratch, "busy": True})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("export", "compile", "engine"))
    parser.add_argument("network")
    parser.add_argument("--batches", required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--precision", required=True)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--peers", default="", help="forms of PyTorch to compile, with commas between")
    parser.add_argument("--made-for", help="what their code is good for, as made_for says it")
    parser.add_argument("--settings", help="of Ingot's adapter")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    rows = zoo.rows([options.network], [int(batch) for batch in options.batches.split(",")])
    if options.what == "export":
        export.row_folders(options.folder, rows, options.precision == "fp16", stage)
    elif options.what == "compile":
        compile_forms(rows, options)
    else:
        build_engines(rows, options)
    print(f"{options.what} {options.network}: {time.perf_counter() - STARTED:.1f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
