"""The networks Ingot is checked and measured on, and their export to ONNX by both of PyTorch's exporters.

    python3 bench/zoo.py --out zoo --models resnet50,bert --exporters script,dynamo --data

writes OUT/NAME-EXPORTER/model.onnx; with --data also test_data_set_0/input_K.pb and output_K.pb, the outputs being PyTorch's own in
fp32 with TF32 off, computed on the GPU where there is one. Weights are random but seeded: shapes and arithmetic are what counts.
"""
import argparse
import os
import sys
import time
import warnings

warnings.filterwarnings("ignore")
import torch

torch.backends.mha.set_fastpath_enabled(False)  # an operator of PyTorch's own, which its exporters do not know


def seed_statistics(module):
    """Initial values that would hide a mistake get others: batch norms that are nearly the identity, heads that are zero."""
    generator = torch.Generator().manual_seed(7)
    for layer in module.modules():
        if isinstance(layer, torch.nn.Linear) and not layer.weight.any():
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * 0.05)
        if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
            layer.running_mean.copy_(torch.randn(layer.running_mean.shape, generator=generator) * 0.1)
            layer.running_var.copy_(torch.rand(layer.running_var.shape, generator=generator) * 0.5 + 0.75)
            layer.weight.copy_(torch.rand(layer.weight.shape, generator=generator) * 0.5 + 0.75)
            layer.bias.copy_(torch.randn(layer.bias.shape, generator=generator) * 0.1)


def vision(name, size=224, **options):
    def make():
        import torchvision

        return torchvision.models.get_model(name, weights=None, **options)

    return make, lambda batch: (torch.randn(batch, 3, size, size),)


class Picked(torch.nn.Module):
    """Keeps of a module's result what an engine is compared on."""

    def __init__(self, module, pick):
        super().__init__()
        self.module, self.pick = module, pick

    def forward(self, *inputs):
        return self.pick(self.module(*inputs))


def deeplab():
    import torchvision

    module = torchvision.models.segmentation.deeplabv3_resnet50(weights=None, weights_backbone=None)
    return Picked(module, lambda out: out["out"])


class Bert(torch.nn.Module):
    def __init__(self):
        super().__init__()
        from transformers import BertConfig, BertModel

        self.module = BertModel(BertConfig(attn_implementation="sdpa"), add_pooling_layer=False)

    def forward(self, ids):
        return self.module(input_ids=ids).last_hidden_state


class Gpt2(torch.nn.Module):
    def __init__(self):
        super().__init__()
        from transformers import GPT2Config, GPT2Model

        self.module = GPT2Model(GPT2Config(attn_implementation="sdpa", use_cache=False))

    def forward(self, ids):
        # A mask of ones is what no mask means; saying so keeps the exporter from tracing the search for packed sequences.
        return self.module(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).last_hidden_state


def recurrent(kind):
    def make():
        return Picked(getattr(torch.nn, kind)(64, 128, 2, bidirectional=True), lambda out: out[0])

    return make, lambda batch: (torch.randn(20, batch, 64),)


def tokens(length):
    return lambda batch: (torch.randint(0, 30000, (batch, length)),)


ZOO = {
    "resnet50": vision("resnet50"),
    "vgg16": vision("vgg16"),
    "mobilenet_v2": vision("mobilenet_v2"),
    "mobilenet_v3_large": vision("mobilenet_v3_large"),
    "efficientnet_b0": vision("efficientnet_b0"),
    "densenet121": vision("densenet121"),
    "inception_v3": vision("inception_v3", 299, aux_logits=False, init_weights=False),
    "deeplabv3_resnet50": (deeplab, lambda batch: (torch.randn(batch, 3, 224, 224),)),
    "convnext_tiny": vision("convnext_tiny"),
    "swin_t": vision("swin_t"),
    "vit_b_16": vision("vit_b_16"),
    "bert": (Bert, tokens(128)),
    "gpt2": (Gpt2, tokens(64)),
    "lstm": recurrent("LSTM"),
    "gru": recurrent("GRU"),
    "rnn": recurrent("RNN"),
}


def build(name):
    torch.manual_seed(0)
    module = ZOO[name][0]().eval()
    with torch.no_grad():
        seed_statistics(module)
    return module


def export(module, inputs, exporter, path):
    if exporter == "script":
        torch.onnx.export(module, inputs, path, dynamo=False, opset_version=17, input_names=["input"], output_names=["output"])
    else:
        torch.onnx.export(module, inputs, path, dynamo=True, input_names=["input"], output_names=["output"], verbose=False)


def save_tensor(path, tensor):
    import onnx

    with open(path, "wb") as file:
        file.write(onnx.numpy_helper.from_array(tensor.cpu().numpy()).SerializeToString())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--models", default=",".join(ZOO))
    parser.add_argument("--exporters", default="script,dynamo")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--data", action="store_true")
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    failed = []
    for name in options.models.split(","):
        module = build(name)
        torch.manual_seed(1)
        inputs = ZOO[name][1](options.batch)
        for exporter in options.exporters.split(","):
            folder = os.path.join(options.out, f"{name}-{exporter}" + (f"-b{options.batch}" if options.batch != 1 else ""))
            os.makedirs(os.path.join(folder, "test_data_set_0"), exist_ok=True)
            start = time.time()
            try:
                with torch.no_grad():
                    export(module, inputs, exporter, os.path.join(folder, "model.onnx"))
                    if options.data:
                        out = module.to(device)(*[x.to(device) for x in inputs])
                        module.to("cpu")
                        for index, tensor in enumerate(inputs):
                            save_tensor(os.path.join(folder, "test_data_set_0", f"input_{index}.pb"), tensor)
                        save_tensor(os.path.join(folder, "test_data_set_0", "output_0.pb"), out)
                print(f"{name}-{exporter}: {time.time() - start:.1f} s", flush=True)
            except Exception as error:
                failed.append(f"{name}-{exporter}")
                print(f"{name}-{exporter}: export failed: {str(error).strip().splitlines()[0]}", flush=True)
    if failed:
        sys.exit("not exported: " + ", ".join(failed))


if __name__ == "__main__":
    main()
