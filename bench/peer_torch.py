"""PyTorch in its forms: eager, eager in a CUDA graph, torch.compile in three modes; each with and without the mask that says nothing.

Half precision is the module's own (`half()`), images are channels-last, cuDNN may search its algorithms, weights are frozen into compiled code: the forms that
a user who cares takes.
"""
import contextlib
import os

from bench import export, peer, peers, timing, zoo

MODES = {"compile": "default", "compile-reduce": "reduce-overhead", "compile-max": "max-autotune"}


def to_device(arrays, device, torch):
    """As the module was compiled for them: of other strides it would be compiled again."""
    tensors = [torch.from_numpy(a).to(device, non_blocking=True) for a in arrays]
    return [t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 and device == "cuda" else t for t in tensors]


class Peer(peer.InProcess):
    def __init__(self, form, options):
        import torch

        self.torch, self.options, self.device = torch, options, options.device
        self.form, _, mask = form.partition("/")
        self.maskless = mask == "nomask"
        self.caches = lambda folder: peers.compiler_caches(folder, form)
        torch.set_num_threads(options.threads or torch.get_num_threads())
        torch.backends.cudnn.benchmark = True
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        self.half = options.precision == "fp16"
        self.held = contextlib.ExitStack()
        self.built = (None, None)  # the last network and its module, since its next batch size often follows
        if self.form in MODES:
            import torch._inductor.compile_fx  # what the first compilation would import

    def prepare(self, request):
        torch = self.torch
        name, folder = request["network"], request["folder"]
        self.use_caches(folder)
        if self.maskless:
            from bench import zoo_sequences

            self.held.enter_context(zoo_sequences.without_mask())
        self.held.enter_context(torch.inference_mode())
        if self.device == "cuda":
            self.clock = timing.CudaClock()
            torch.cuda.synchronize()
        self.arrays = peer.halved(peer.load_inputs(folder)) if self.half else peer.load_inputs(folder)
        self.inputs = to_device(self.arrays, self.device, torch)
        module = self.module(name)
        torch._dynamo.config.error_on_recompile = False
        (_, build_s) = peer.timed(lambda: self.build(module))
        torch._dynamo.config.error_on_recompile = True  # what is measured is compiled by now, or a failure
        (out, first_s) = peer.timed(self.first)
        facts = {"build_s": build_s, "first_run_ms": first_s * 1e3, "error": peer.error_against_reference(folder, [t.float().cpu().numpy() for t in out]),
                 "version": f"PyTorch {torch.__version__}"}
        if self.device == "cuda":
            torch.cuda.empty_cache()
            facts["device_bytes"] = torch.cuda.memory_reserved()  # of its allocator alone: others may prepare on the same GPU meanwhile
        else:
            facts["host_bytes"] = peer.peak_host_bytes()
        return facts

    def use_caches(self, folder):
        """Compilers ask the environment each time where their caches are, but Inductor remembers some of what it found there."""
        if self.form in MODES:
            os.environ.update(self.caches(folder))
            self.torch._inductor.utils.clear_inductor_caches()

    def module(self, name):
        if self.built[0] != name:
            self.built = (None, None)
            module = zoo.build(name)
            module = (module.half() if self.half else module).to(self.device)
            if self.inputs[0].dim() == 4 and self.device == "cuda":
                module = module.to(memory_format=self.torch.channels_last)
            self.built = (name, module)
        return self.built[1]

    def first(self):
        out = [t.clone() for t in export.listed(self.call_on(self.inputs))]
        self.settle()
        return out

    def build(self, module):
        torch = self.torch
        if self.form in MODES:
            torch._inductor.config.freezing = True
            compiled = torch.compile(module, mode=MODES[self.form], dynamic=False)
            self.run = lambda inputs: compiled(*inputs)
            for _ in range(3):  # the first compiles, the second records graphs
                self.run(self.inputs)
            self.settle()
        elif self.form == "graph":
            self.capture(module)
        else:
            self.run = lambda inputs: module(*inputs)
            for _ in range(2):
                self.run(self.inputs)
            self.settle()

    def capture(self, module):
        """A graph reads where it was recorded: inputs elsewhere are copied there by each call that has them elsewhere."""
        torch = self.torch
        static = [t.clone(memory_format=torch.preserve_format) for t in self.inputs]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                module(*static)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = module(*static)

        def run(inputs):
            for to, given in zip(static, inputs):
                to.copy_(given)
            graph.replay()
            return out

        self.run, self.replay, self.recorded = run, graph.replay, (graph, static, module)

    def enqueue(self):
        if self.form == "graph":
            self.replay()
        else:
            self.run(self.inputs)

    def call_on(self, inputs):
        return self.run(inputs)

    def call(self):
        out = self.run(to_device(self.arrays, self.device, self.torch))
        return [t.cpu() for t in export.listed(out)]

    def input_sets(self, count):
        return [[t.clone(memory_format=self.torch.preserve_format) for t in self.inputs] for _ in range(count)]

    def drop(self):
        self.held.close()
        for name in ("run", "replay", "recorded", "inputs", "arrays"):
            self.__dict__.pop(name, None)
        self.torch._dynamo.reset()
        if self.device == "cuda":
            import gc

            gc.collect()
            self.torch.cuda.empty_cache()


def count_kernels(adapter):
    """Kernels that the device runs for one inference, as PyTorch's profiler sees them: in a process of its own, since a profiler leaves traces."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        adapter.enqueue()
        adapter.settle()
    names = [event.name for event in seen.events() if event.device_type == DeviceType.CUDA]
    return sum(not name.startswith(("Memcpy", "Memset")) for name in names)
