"""Makes what one network needs before it is measured: its ONNX files, PyTorch's results, and on a GPU the compiled forms of PyTorch, which stay in the caches on
disk, with their time to compile and the kernels each launches. `python3 -m bench.warm NETWORK ...`: one process a network, several at once, none of them timed.
"""
import argparse
import json
import os
import sys
import time
import warnings

from bench import export, peers, wire, zoo


def compile_forms(row, folder, options):
    """{"torch compile": {"build_s", "kernels"} or {"error"}} for the forms of PyTorch that take part."""
    from bench import peer_torch

    found = {}
    for form, name in peers.TORCH_FORMS["cuda"].items():
        for suffix, label in (("", ""), ("/nomask", " no-mask")):
            if name + label not in options.compile.split(",") or (suffix and not zoo.ZOO[row.network].masked):
                continue
            start, adapter = time.perf_counter(), peer_torch.Peer(form + suffix, options)
            try:
                adapter.prepare({"network": row.network, "batch": row.batch, "folder": folder})
                found[name + label] = {"build_s": time.perf_counter() - start, "kernels": peer_torch.count_kernels(adapter)}
            except Exception as error:  # named again, as a failure, by the process that would have measured it
                found[name + label] = {"error": wire.first_line(error)}
            adapter.drop()
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("network")
    parser.add_argument("--batches", required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--precision", required=True)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--compile", default="", help="peers whose forms are compiled, with commas between")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    for row in zoo.rows([options.network], [int(batch) for batch in options.batches.split(",")]):
        folder = export.row_folder(options.folder, row, options.precision == "fp16")
        path = os.path.join(folder, "compiled.json")
        if options.compile and not os.path.exists(path):
            found = compile_forms(row, folder, options)
            with open(path, "w") as file:
                json.dump(found, file)
        print(row, flush=True)


if __name__ == "__main__":
    sys.exit(main())
