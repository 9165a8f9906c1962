"""ONNX Runtime with its CPU, CUDA or TensorRT provider. On a GPU: a CUDA graph, tensors bound on the device, PyTorch's stream so that its events see the work."""
import ctypes
import os

import numpy

from bench import half, peer, timing

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}


def missing_tensorrt(package):
    """Why the provider cannot be had, or None. It is listed whether or not it can be loaded, and where it cannot, another one takes the model."""
    try:
        import tensorrt  # noqa: F401: loads the libraries that come with it
    except ImportError:
        pass
    path = os.path.join(package, "capi", "libonnxruntime_providers_tensorrt.so")
    if not os.path.exists(path):
        return f"TensorRT is not there: this package of onnxruntime came without {os.path.basename(path)}"
    try:
        ctypes.CDLL(path)
    except OSError as error:
        if "undefined symbol" not in str(error):  # of the library that loads it, once all that it needs itself was found
            return f"TensorRT is not there: {error}"
    return None


class Peer(peer.InProcess):
    def __init__(self, form, options):
        if options.device == "cuda":
            import torch  # first: the libraries of CUDA that ONNX Runtime needs come with it

            self.torch = torch
        import onnxruntime

        self.library, self.options, self.device, self.form = onnxruntime, options, options.device, form
        if hasattr(onnxruntime, "preload_dlls") and self.device == "cuda":
            onnxruntime.preload_dlls()
        if PROVIDERS[form] not in onnxruntime.get_available_providers():
            raise RuntimeError(f"onnxruntime {onnxruntime.__version__} here has no {PROVIDERS[form]}: {', '.join(onnxruntime.get_available_providers())}")
        missing = missing_tensorrt(os.path.dirname(onnxruntime.__file__)) if form == "tensorrt" else None
        if missing:
            raise RuntimeError(missing)

    def provider(self, request):
        if self.form == "cpu":
            return PROVIDERS[self.form]
        settings = {"device_id": 0, "user_compute_stream": str(self.stream.cuda_stream)}
        if self.form == "cuda":
            settings.update({"enable_cuda_graph": "1", "cudnn_conv_algo_search": "EXHAUSTIVE", "cudnn_conv_use_max_workspace": "1", "use_tf32": "0"})
        else:
            cache = os.path.join(request["folder"], "tensorrt")
            settings.update({"trt_fp16_enable": self.half, "trt_cuda_graph_enable": True, "trt_engine_cache_enable": True, "trt_engine_cache_path": cache})
        return PROVIDERS[self.form], settings

    def prepare(self, request):
        onnxruntime, folder = self.library, request["folder"]
        self.half = self.options.precision == "fp16"
        own_half = self.half and self.form == "cuda"  # TensorRT lowers a model of fp32 itself
        if self.device == "cuda":
            self.stream = self.torch.cuda.Stream()
            self.clock = timing.CudaClock(self.stream)
            free = self.torch.cuda.mem_get_info()[0]
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 3
        settings.intra_op_num_threads = self.options.threads
        model = half.path(folder) if own_half else os.path.join(folder, "model.onnx")
        self.session, build_s = peer.timed(lambda: onnxruntime.InferenceSession(model, settings, providers=[self.provider(request)]))
        if self.session.get_providers()[0] != PROVIDERS[self.form]:
            raise RuntimeError(f"{PROVIDERS[self.form]} did not take the model")
        self.arrays = peer.halved(peer.load_inputs(folder)) if own_half else peer.load_inputs(folder)
        self.names = [i.name for i in self.session.get_inputs()]
        self.output_names = [o.name for o in self.session.get_outputs()]
        if self.device == "cuda":
            self.bind(folder)
        out, first_s = peer.timed(self.call)
        facts = {"build_s": build_s, "first_run_ms": first_s * 1e3, "error": peer.error_against_reference(folder, out), "version": f"ONNX Runtime {onnxruntime.__version__}"}
        if self.device == "cuda" and not request.get("beside"):  # what else took memory meanwhile, nobody knows
            facts["device_bytes"] = free - self.torch.cuda.mem_get_info()[0]
        if self.device == "cpu":
            facts["host_bytes"] = peer.peak_host_bytes()
        return facts

    def bind(self, folder):
        """A CUDA graph is recorded for the addresses of its first run: inputs elsewhere are copied there."""
        onnxruntime = self.library
        self.run_options = onnxruntime.RunOptions()
        self.run_options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        self.binding = self.session.io_binding()
        self.inputs = [self.torch.from_numpy(a).cuda() for a in self.arrays]
        shapes = [numpy.load(path, mmap_mode="r").shape for path in peer.numbered(folder, "reference")]
        for name, tensor, array in zip(self.names, self.inputs, self.arrays):
            self.binding.bind_input(name, "cuda", 0, array.dtype, list(tensor.shape), tensor.data_ptr())
        self.outputs = []
        kinds = {"tensor(float16)": (self.torch.float16, numpy.float16), "tensor(float)": (self.torch.float32, numpy.float32)}
        for output, shape in zip(self.session.get_outputs(), shapes):
            kind, element = kinds[output.type]
            self.outputs.append(self.torch.empty(shape, dtype=kind, device="cuda"))
            self.binding.bind_output(output.name, "cuda", 0, element, list(shape), self.outputs[-1].data_ptr())

    def enqueue(self):
        if self.device == "cuda":
            self.session.run_with_iobinding(self.binding, self.run_options)
        else:
            self.session.run(None, dict(zip(self.names, self.arrays)))

    def call_on(self, inputs):
        if self.device == "cpu":
            return self.session.run(None, dict(zip(self.names, inputs)))
        with self.torch.cuda.stream(self.stream):
            for to, given in zip(self.inputs, inputs):
                to.copy_(given)
        self.enqueue()

    def call(self):
        if self.device == "cpu":
            return self.session.run(None, dict(zip(self.names, self.arrays)))
        self.call_on([self.torch.from_numpy(a) for a in self.arrays])
        with self.torch.cuda.stream(self.stream):
            return [t.cpu().numpy() for t in self.outputs]

    def input_sets(self, count):
        if self.device == "cpu":
            return [[a.copy() for a in self.arrays] for _ in range(count)]
        return [[t.clone() for t in self.inputs] for _ in range(count)]

    def drop(self):
        for name in ("session", "binding", "inputs", "outputs", "arrays"):
            self.__dict__.pop(name, None)
