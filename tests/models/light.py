"""light.py OUT: input and expected output of the onnx package's light models, in the layout of its other test data.

The package gives the outputs; the input of each is a ramp from 0 to 1. Prints one line a model: its file and its data."""
import os
import sys

import numpy as np
import onnx
from onnx import numpy_helper

folder = os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data", "light")
for name in sorted(os.listdir(folder)):
    if not name.endswith(".onnx"):
        continue
    path = os.path.join(folder, name)
    graph = onnx.load(path).graph
    weights = {w.name for w in graph.initializer}
    (image,) = [i for i in graph.input if i.name not in weights]
    shape = [d.dim_value or 1 for d in image.type.tensor_type.shape.dim]
    count = int(np.prod(shape))
    data = os.path.join(sys.argv[1], name[:-5])
    os.makedirs(data, exist_ok=True)
    with open(os.path.join(data, "input_0.pb"), "wb") as out:
        out.write(numpy_helper.from_array((np.arange(count).reshape(shape) / count).astype(np.float32), image.name).SerializeToString())
    with open(path[:-5] + "_output_0.pb", "rb") as expected, open(os.path.join(data, "output_0.pb"), "wb") as out:
        out.write(expected.read())
    print(path, data)
