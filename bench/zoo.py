"""The zoo: one list of the networks that Ingot is checked and measured on. Weights are random but seeded: shapes and arithmetic are what counts.

Nothing here needs PyTorch until a network is built. Modules are in zoo_images.py and zoo_sequences.py.
"""
import collections
import hashlib
import importlib
import os

# `module:function` that builds it, with arguments; what it takes: ("image", pixels), ("tokens", length), ("frames", length, width); in checks, in measurements.
Network = collections.namedtuple("Network", "maker arguments takes checked measured masked")


def image(maker, pixels=224, arguments=(), checked=True, measured=True):
    return Network("bench.zoo_images:" + maker, arguments, ("image", pixels), checked, measured, False)


def vision(name, pixels=224, checked=True):
    return image("vision", pixels, (name,), checked)


def tokens(maker, length, arguments=(), checked=True):
    return Network("bench.zoo_sequences:" + maker, arguments, ("tokens", length), checked, True, True)


def frames(maker, length, width, arguments=(), checked=True, measured=True):
    return Network("bench.zoo_sequences:" + maker, arguments, ("frames", length, width), checked, measured, False)


ZOO = {
    "resnet50": vision("resnet50"),
    "resnet18": vision("resnet18", checked=False),
    "vgg16": vision("vgg16"),
    "mobilenet_v2": vision("mobilenet_v2"),
    "mobilenet_v3_large": vision("mobilenet_v3_large"),
    "efficientnet_b0": vision("efficientnet_b0"),
    "densenet121": vision("densenet121"),
    "inception_v3": image("inception", 299),
    "resnext50": vision("resnext50_32x4d", checked=False),
    "repvgg_a2": image("repvgg"),
    "convnext_tiny": vision("convnext_tiny"),
    "swin_t": vision("swin_t"),
    "vit_b_16": image("vit"),
    "deeplabv3": image("deeplab", 512),
    "unet": image("unet", 256),
    "pix2pix": image("pix2pix", 256),
    "centernet_r18": image("centernet", 512),
    "ssd300": image("ssd", 300, checked=False),
    "bert-base-128": tokens("bert", 128, (768, 12)),
    "bert-large-384": tokens("bert", 384, (1024, 24), checked=False),
    "gpt2-512": tokens("gpt2", 512),
    "lstm-2x512-bi": frames("recurrent", 100, 256, ("LSTM", 256, 512)),
    "gru-2x128-bi": frames("recurrent", 20, 64, ("GRU", 64, 128), measured=False),
    "rnn-2x128-bi": frames("recurrent", 20, 64, ("RNN", 64, 128), measured=False),
}
BATCHES = (1, 32)
# Every family, twelve rows, quick to compile.
QUICK = ("resnet50", "mobilenet_v2", "pix2pix", "vit_b_16", "bert-base-128", "lstm-2x512-bi")


class Row(collections.namedtuple("Row", "network batch")):
    """A network at a batch size: what is measured. A network may also be a model's file, which only peers that read ONNX take."""

    __slots__ = ()

    def __str__(self):
        return f"{self.network} b{self.batch}"

    @property
    def is_file(self):
        return self.network.endswith(".onnx")

    @property
    def folder(self):
        if not self.is_file:
            return f"{self.network}-b{self.batch}"
        stem, found = os.path.basename(self.network)[: -len(".onnx")], os.stat(self.network)
        version = hashlib.sha256(f"{os.path.abspath(self.network)} {found.st_size} {found.st_mtime_ns}".encode()).hexdigest()[:8]
        return f"{stem}-{version}-b{self.batch}"


def measured():
    return [name for name, network in ZOO.items() if network.measured]


def checked():
    return [name for name, network in ZOO.items() if network.checked]


def rows(names, batches):
    unknown = [name for name in names if name not in ZOO and not name.endswith(".onnx")]
    if unknown:
        raise SystemExit(f"no such network: {', '.join(unknown)}. There are: {', '.join(ZOO)}; and files that end in .onnx")
    return [Row(name, batch) for name in names for batch in (batches if name in ZOO else (1,))]


def build(name):
    """The module, in eval mode, with seeded weights."""
    import torch

    network = ZOO[name]
    module_name, function = network.maker.split(":")
    torch.manual_seed(0)
    torch.backends.mha.set_fastpath_enabled(False)  # an operator of PyTorch's own, which its exporters do not know
    module = getattr(importlib.import_module(module_name), function)(*network.arguments).eval().requires_grad_(False)
    seed_statistics(module)
    return module


def inputs(name, batch):
    import torch

    torch.manual_seed(batch)
    kind, *sizes = ZOO[name].takes
    if kind == "image":
        return [torch.randn(batch, 3, sizes[0], sizes[0])]
    if kind == "tokens":
        return [torch.randint(0, 30000, (batch, sizes[0]))]
    return [torch.randn(sizes[0], batch, sizes[1])]


def seed_statistics(module):
    """Initial values that would hide a mistake, or let a compiler leave work out that trained networks need, get others: norms that are the identity, heads and biases that are zero."""
    import torch

    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, torch.nn.Linear) and not layer.weight.any():
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * 0.05)
            if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
                layer.running_mean.copy_(torch.randn(layer.running_mean.shape, generator=generator) * 0.1)
                layer.running_var.copy_(torch.rand(layer.running_var.shape, generator=generator) * 0.5 + 0.75)
                layer.weight.copy_(torch.rand(layer.weight.shape, generator=generator) * 0.5 + 0.75)
                layer.bias.copy_(torch.randn(layer.bias.shape, generator=generator) * 0.1)
        for parameter in module.parameters():
            if parameter.numel() > 1 and bool((parameter == parameter.flatten()[0]).all()):
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
