"""The folder of a row: that of the zoo's export, or one made of a model's file with seeded random inputs and ONNX Runtime's CPU results as the reference."""
import os
import shutil

from bench import export


def row_folder(options, row):
    if not row.is_file:
        return os.path.join(options.work, row.folder)
    return file_folder(options.work, row)


def file_folder(work, row):
    import numpy
    import onnx

    folder = os.path.join(work, row.folder)
    marker = os.path.join(folder, export.COMPLETE)
    if os.path.exists(marker):
        return folder
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "model.onnx")
    shutil.copyfile(row.network, path)
    model = onnx.load(path)
    constants = {tensor.name for tensor in model.graph.initializer}
    random = numpy.random.default_rng(0)
    feeds = {}
    for value in model.graph.input:
        if value.name in constants:
            continue
        dims = [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
        kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        array = random.standard_normal(dims) if numpy.issubdtype(kind, numpy.floating) else random.integers(0, 2, dims)
        feeds[value.name] = array.astype(kind)
        numpy.save(os.path.join(folder, f"input_{len(feeds) - 1}.npy"), feeds[value.name])
    try:
        import onnxruntime
    except ImportError:
        onnxruntime = None  # then nothing is compared, and the record says so
    if onnxruntime:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        for index, out in enumerate(session.run(None, feeds)):
            numpy.save(os.path.join(folder, f"reference_{index}.npy"), out)
    with open(os.path.join(folder, "names"), "w") as file:
        file.write("\n".join(feeds))
    open(marker, "w").close()
    return folder


def input_names(folder):
    path = os.path.join(folder, "names")
    if not os.path.exists(path):
        return ["input"]  # of the zoo's exports
    with open(path) as file:
        return file.read().split("\n")
