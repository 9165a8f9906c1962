"""Ingot as a backend of the package onnx: `onnx.backend.base.Backend`, with what its own test runner asks for.

    import ingot.backend as backend
    backend.prepare(onnx.load("model.onnx"), "CUDA:1", precision="fp16").run([x])"""
from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy
import onnx
from onnx import helper
from onnx.backend.base import Backend, BackendRep, Device, DeviceType, namedtupledict

from ingot.devices import is_there
from ingot.engine import Engine, build


class IngotRep(BackendRep):  # type: ignore[misc,unused-ignore]
    """A prepared model."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def run(self, inputs: Any, **kwargs: Any) -> Tuple[Any, ...]:
        """Runs it. inputs: arrays in the model's order, a dict by name, or one array. Gives a tuple with names, of numpy arrays, lists of them or None."""
        if isinstance(inputs, numpy.ndarray):
            inputs = [inputs]
        results = self.engine.run(inputs, on="host")
        return _named([binding.name for binding in self.engine.outputs], [_array(value) for value in results])


class IngotBackend(Backend):  # type: ignore[misc,unused-ignore]
    """The backend; its functions are this module's too."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **options: Any) -> IngotRep:
        """Builds an engine of the model for "CPU" or "CUDA:1". See `ingot.Options`."""
        return IngotRep(build(model, **{**options, "device": _device(device)}))

    @classmethod
    def run_model(cls, model: onnx.ModelProto, inputs: Any, device: str = "CPU", **options: Any) -> Tuple[Any, ...]:
        """Builds, runs once."""
        return cls.prepare(model, device, **options).run(inputs)

    @classmethod
    def run_node(cls, node: onnx.NodeProto, inputs: Any, device: str = "CPU", outputs_info: Optional[Sequence[Tuple[Any, Tuple[int, ...]]]] = None,
                 **kwargs: Any) -> Tuple[Any, ...]:
        """Runs one operator on arrays, in the order of its inputs that have a name (or a dict by name). opset_version: of which version it is; the newest
        if not said. outputs_info: types and shapes of the results, where they cannot be inferred."""
        opset = kwargs.pop("opset_version", onnx.defs.onnx_opset_version())
        names = [name for name in node.input if name]
        given: Dict[str, Any] = dict(inputs) if isinstance(inputs, dict) else dict(zip(names, inputs))
        given = {name: numpy.asarray(value) for name, value in given.items()}
        values = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape) for name, value in given.items()]
        graph = helper.make_graph([node], "node", values, _results(node, values, outputs_info, opset))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid(node.domain, opset)])
        return cls.prepare(model, device, **kwargs).run(given)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether a device like "CPU" or "CUDA:1" is there."""
        try:
            name = _device(device)
        except (AttributeError, ValueError):
            return False
        return name == "cpu" or is_there(name)

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether the model is accepted: yes, until prepare says what is not."""
        return True


def _device(given: str) -> str:
    device = Device(given)
    return "cpu" if device.type == DeviceType.CPU else "cuda:%d" % device.device_id


def _results(node: onnx.NodeProto, values: List[Any], info: Any, opset: int) -> List[Any]:
    names = [name for name in node.output if name]
    if info is not None:
        return [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(numpy.dtype(kind)), shape) for name, (kind, shape) in zip(names, info)]
    graph = helper.make_graph([node], "node", values, [onnx.ValueInfoProto(name=name) for name in names])
    model = onnx.shape_inference.infer_shapes(helper.make_model(graph, opset_imports=[helper.make_opsetid(node.domain, opset)]))
    return list(model.graph.output)


def _array(value: Any) -> Any:
    """A result as numpy's: types that numpy lacks are those of ml_dtypes, which onnx brings along."""
    if isinstance(value, list):
        return [_array(one) for one in value]
    return value.numpy() if hasattr(value, "numpy") else value


def _named(names: List[str], values: List[Any]) -> Tuple[Any, ...]:
    """A tuple whose fields are called like the outputs, where these can be names."""
    if len(set(names)) != len(names) or not all(name.isidentifier() and not name.startswith("_") for name in names):
        return tuple(values)
    made: Tuple[Any, ...] = namedtupledict("Outputs", names)(*values)
    return made


prepare = IngotBackend.prepare
run_model = IngotBackend.run_model
run_node = IngotBackend.run_node
supports_device = IngotBackend.supports_device
is_compatible = IngotBackend.is_compatible
