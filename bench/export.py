"""The zoo as ONNX files, by either of PyTorch's exporters, with what PyTorch computes beside them.

    ./dev bench export --out zoo --models resnet50,gpt2-512 --exporters script,dynamo --data

writes OUT/NAME-EXPORTER/model.onnx; with --data also test_data_set_0/input_K.pb and output_K.pb, the outputs being PyTorch's own in
fp32 with TF32 off, computed on the GPU where there is one. This is what networks are checked with (bench/gpu.sh zoo).

For measuring, `row_folder` makes OUT/NAME-bBATCH: model.onnx in fp32, where it is asked for model_fp16.onnx of the same weights, input_K.npy,
reference_K.npy in fp32, and work.json, the operations and bytes that the graph needs.
"""
import argparse
import json
import os
import sys
import time
import warnings

from bench import zoo

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
    return [tensor.cpu() for tensor in (out if isinstance(out, (tuple, list)) else [out])]


def save_tensor(path, tensor):
    import onnx

    with open(path, "wb") as file:
        file.write(onnx.numpy_helper.from_array(tensor.cpu().numpy()).SerializeToString())


def row_folder(folder, row, half):
    """The folder of a row, made where it is not there yet. half: with model_fp16.onnx."""
    import numpy
    import torch

    path = os.path.join(folder, row.folder)
    wanted = COMPLETE + ("_fp16" if half else "")
    if os.path.exists(os.path.join(path, wanted)):
        return path
    os.makedirs(path, exist_ok=True)
    from bench import work

    module = zoo.build(row.network)
    inputs = zoo.inputs(row.network, row.batch)
    with torch.no_grad():
        export(module, inputs, "script", os.path.join(path, "model.onnx"))
        for index, tensor in enumerate(inputs):
            numpy.save(os.path.join(path, f"input_{index}.npy"), tensor.numpy())
        for index, tensor in enumerate(results(module, inputs)):
            numpy.save(os.path.join(path, f"reference_{index}.npy"), tensor.float().numpy())
        if half:
            device = "cuda" if torch.cuda.is_available() else "cpu"
            module = module.half().to(device)
            export(module, [(x.half() if x.is_floating_point() else x).to(device) for x in inputs], "script", os.path.join(path, "model_fp16.onnx"))
    with open(os.path.join(path, "work.json"), "w") as file:
        json.dump(work.count(os.path.join(path, "model.onnx")), file)
    open(os.path.join(path, wanted), "w").close()
    return path


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
                print(f"{name}: export failed: {str(error).strip().splitlines()[0]}", flush=True)
    return "not exported: " + ", ".join(failed) if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
