"""The zoo as ONNX files, by either of PyTorch's exporters, with what PyTorch computes beside them.

    ./dev bench export --out zoo --models resnet50,gpt2-512 --exporters script,dynamo --data

writes OUT/NAME-EXPORTER/model.onnx; with --data also test_data_set_0/input_K.pb and output_K.pb, the outputs being PyTorch's own in
fp32 with TF32 off, computed on the GPU where there is one. This is what networks are checked with (bench/gpu.sh zoo).

For measuring, `row_folders` makes OUT/NAME-bBATCH: model.onnx in fp32, where it is asked for the same in half precision (half.py), input_K.npy,
reference_K.npy in fp32, and work.json, the operations and bytes that the graph needs.
"""
import argparse
import contextlib
import json
import os
import sys
import time
import warnings

from bench import half, wire, zoo

COMPLETE = "complete"


def export(module, inputs, exporter, path):
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if exporter == "script":
            torch.onnx.export(module, tuple(inputs), path, dynamo=False, opset_version=17, input_names=["input"], output_names=["output"])
        else:
            torch.onnx.export(module, tuple(inputs), path, dynamo=True, input_names=["input"], output_names=["output"], verbose=False)


def results(module, inputs):
    """What the module gives, as a list of tensors on the host."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    with torch.no_grad():
        out = module.to(device)(*[x.to(device) for x in inputs])
    module.to("cpu")
    return [tensor.cpu() for tensor in listed(out)]


def listed(out):
    return list(out) if isinstance(out, (tuple, list)) else [out]


def save_tensor(path, tensor):
    import onnx

    with open(path, "wb") as file:
        file.write(onnx.numpy_helper.from_array(tensor.cpu().numpy()).SerializeToString())


def untimed(name):
    return contextlib.nullcontext()


def row_folder(folder, row, halved):
    """The folder of a row, made where it is not there yet. halved: with the model in half precision."""
    row_folders(folder, [row], halved)
    return os.path.join(folder, row.folder)


def row_folders(folder, rows, halved, stage=untimed):
    paths = {row: os.path.join(folder, row.folder) for row in rows}
    missing = [row for row in rows if not os.path.exists(os.path.join(paths[row], COMPLETE))]
    if missing:
        export_rows(paths, missing, stage)
    for row in rows if halved else []:
        with stage(f"half precision b{row.batch}"):
            write_half(paths[row])


def export_rows(paths, rows, stage):
    """Their module is built once. It runs on the GPU where there is one, since tracing runs it too."""
    with stage("imports"):
        import torch
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    with torch.no_grad():
        with stage("module"):
            module = zoo.build(rows[0].network).to(device)
        for row in rows:
            os.makedirs(paths[row], exist_ok=True)
            write_row(paths[row], module, row, device, lambda name, row=row: stage(f"{name} b{row.batch}"))
            open(os.path.join(paths[row], COMPLETE), "w").close()


def export_somewhere(module, inputs, path):
    """On the device of the inputs, where tracing is fast; on the CPU where the exporter's folding of constants mixes devices."""
    try:
        export(module, inputs, "script", path)
    except RuntimeError as error:
        device = inputs[0].device
        if device.type == "cpu":
            raise
        print(f"exported on the CPU, since on the GPU: {wire.first_line(error)}", flush=True)
        export(module.cpu(), [x.cpu() for x in inputs], "script", path)
        module.to(device)


def write_half(folder):
    """Only ONNX Runtime takes it, tries again where it is not there, and fails by name."""
    try:
        half.path(folder)
    except Exception as error:
        print(f"no model of half precision: {wire.first_line(error)}", flush=True)


def write_inputs(path, inputs):
    """Whole or not at all: others may be reading them, or writing the same."""
    import numpy

    os.makedirs(path, exist_ok=True)
    for index, tensor in enumerate(inputs):
        unfinished = os.path.join(path, f"{os.getpid()}.unfinished.npy")
        numpy.save(unfinished, tensor.numpy())
        os.replace(unfinished, os.path.join(path, f"input_{index}.npy"))


def write_row(path, module, row, device, stage):
    import numpy

    from bench import work

    inputs = zoo.inputs(row.network, row.batch)
    placed = [x.to(device) for x in inputs]
    with stage("export fp32"):
        export_somewhere(module, placed, os.path.join(path, "model.onnx"))
    with stage("reference"):
        write_inputs(path, inputs)
        for index, tensor in enumerate(listed(module(*placed))):
            numpy.save(os.path.join(path, f"reference_{index}.npy"), tensor.float().cpu().numpy())
    with stage("work counted"), open(os.path.join(path, "work.json"), "w") as file:
        json.dump(work.count(os.path.join(path, "model.onnx")), file)


def main(arguments):
    parser = argparse.ArgumentParser(prog="bench export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--models", default=",".join(zoo.checked()))
    parser.add_argument("--exporters", default="script,dynamo")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--data", action="store_true")
    options = parser.parse_args(arguments)
    import torch

    failed = []
    for row in zoo.rows(options.models.split(","), [options.batch]):
        module, inputs = zoo.build(row.network), zoo.inputs(row.network, row.batch)
        for exporter in options.exporters.split(","):
            name = f"{row.network}-{exporter}" + (f"-b{row.batch}" if row.batch != 1 else "")
            data = os.path.join(options.out, name, "test_data_set_0")
            os.makedirs(data, exist_ok=True)
            start = time.time()
            try:
                with torch.no_grad():
                    export(module, inputs, exporter, os.path.join(options.out, name, "model.onnx"))
                if options.data:
                    for index, tensor in enumerate(inputs):
                        save_tensor(os.path.join(data, f"input_{index}.pb"), tensor)
                    for index, tensor in enumerate(results(module, inputs)):
                        save_tensor(os.path.join(data, f"output_{index}.pb"), tensor)
                print(f"{name}: {time.time() - start:.1f} s", flush=True)
            except Exception as error:
                failed.append(name)
                print(f"{name}: export failed: {wire.first_line(error)}", flush=True)
    return "not exported: " + ", ".join(failed) if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
