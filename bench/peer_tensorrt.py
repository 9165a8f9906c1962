"""TensorRT through its Python package: an engine built from the exported model, run in a CUDA graph that PyTorch records."""
import os

from bench import peer, timing


class Peer(peer.InProcess):
    device = "cuda"

    def __init__(self, form, options):
        import tensorrt
        import torch

        self.library, self.torch, self.options = tensorrt, torch, options
        self.logger = tensorrt.Logger(tensorrt.Logger.ERROR)

    def engine(self, model):
        tensorrt = self.library
        builder = tensorrt.Builder(self.logger)
        explicit = getattr(tensorrt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)  # the only kind there is since version 10
        network = builder.create_network(1 << int(explicit) if explicit is not None and int(tensorrt.__version__.split(".")[0]) < 10 else 0)
        parser = tensorrt.OnnxParser(network, self.logger)
        if not parser.parse_from_file(model):
            raise RuntimeError("; ".join(str(parser.get_error(i)) for i in range(parser.num_errors)))
        config = builder.create_builder_config()
        if self.options.precision == "fp16":
            config.set_flag(tensorrt.BuilderFlag.FP16)
        config.clear_flag(tensorrt.BuilderFlag.TF32)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise RuntimeError("TensorRT could not build an engine")
        return plan

    def prepare(self, request):
        torch, tensorrt, folder = self.torch, self.library, request["folder"]
        self.stream = torch.cuda.Stream()
        self.clock = timing.CudaClock(self.stream)
        free = torch.cuda.mem_get_info()[0]
        plan, build_s = peer.timed(lambda: self.engine(os.path.join(folder, "model.onnx")))
        (self.engine_, load_s) = peer.timed(lambda: tensorrt.Runtime(self.logger).deserialize_cuda_engine(plan))
        self.context = self.engine_.create_execution_context()
        self.arrays = peer.load_inputs(folder)
        names = [self.engine_.get_tensor_name(i) for i in range(self.engine_.num_io_tensors)]
        is_input = {name: self.engine_.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT for name in names}
        kinds = {tensorrt.DataType.FLOAT: torch.float32, tensorrt.DataType.HALF: torch.float16, tensorrt.DataType.INT32: torch.int32, tensorrt.DataType.INT64: torch.int64}
        self.inputs, self.outputs = [], []
        for name in names:
            kind = kinds[self.engine_.get_tensor_dtype(name)]
            tensor = torch.from_numpy(self.arrays[len(self.inputs)]).to("cuda", kind) if is_input[name] else torch.empty(tuple(self.context.get_tensor_shape(name)), dtype=kind, device="cuda")
            (self.inputs if is_input[name] else self.outputs).append(tensor)
            self.context.set_tensor_address(name, tensor.data_ptr())
        self.record()
        out, first_s = peer.timed(self.call)
        return {"build_s": build_s, "load_ms": load_s * 1e3, "first_run_ms": first_s * 1e3, "error": peer.error_against_reference(folder, out),
                "device_bytes": free - torch.cuda.mem_get_info()[0], "version": f"TensorRT {tensorrt.__version__}"}

    def record(self):
        with self.torch.cuda.stream(self.stream):
            for _ in range(2):
                self.run()
            self.stream.synchronize()
            self.graph = self.torch.cuda.CUDAGraph()
            with self.torch.cuda.graph(self.graph, stream=self.stream):
                self.run()

    def run(self):
        if not self.context.execute_async_v3(self.torch.cuda.current_stream().cuda_stream):
            raise RuntimeError("TensorRT could not enqueue the engine")

    def enqueue(self):
        with self.torch.cuda.stream(self.stream):
            self.graph.replay()

    def call_on(self, inputs):
        with self.torch.cuda.stream(self.stream):
            for to, given in zip(self.inputs, inputs):
                to.copy_(given)
            self.graph.replay()

    def call(self):
        self.call_on([self.torch.from_numpy(a) for a in self.arrays])
        with self.torch.cuda.stream(self.stream):
            return [t.float().cpu().numpy() for t in self.outputs]

    def input_sets(self, count):
        return [[t.clone() for t in self.inputs] for _ in range(count)]

    def drop(self):
        for name in ("graph", "context", "engine_", "inputs", "outputs"):
            self.__dict__.pop(name, None)
