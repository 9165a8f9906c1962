"""Networks whose shapes depend on their data, exported to ONNX by PyTorch's TorchScript exporter with what PyTorch computes beside them.

    python3 -m bench.dynamic --out dynamic [--models fasterrcnn,longformer]

writes OUT/NAME/model.onnx and test_data_set_0/input_K.pb, output_K.pb, laid out like the ONNX backend suite. Weights are random but seeded. The
detectors' heads are scaled so that at least 20 boxes survive suppression, since agreeing on none proves nothing; their outputs before
suppression (class scores, regressions, proposals' scores) are outputs of the model too.
"""
import argparse
import os
import sys
import time
import warnings

warnings.filterwarnings("ignore")
import torch
import torchvision

from bench.export import save_tensor

SIZE = 320
LEAST_BOXES = 20


# ---- detectors --------------------------------------------------------------------------------------------------------------------

# Per model: the builder, and the modules whose results become outputs of the model as well. Those of box_predictor are rows, one a proposal, in
# an order that nearly equal scores may change: they are called rows_K, the others head_K.
DETECTORS = {
    "fasterrcnn": ("fasterrcnn_resnet50_fpn", ["rpn.head", "roi_heads.box_predictor"]),
    "fasterrcnn_mobile": ("fasterrcnn_mobilenet_v3_large_320_fpn", ["rpn.head", "roi_heads.box_predictor"]),
    "maskrcnn": ("maskrcnn_resnet50_fpn", ["rpn.head", "roi_heads.box_predictor"]),
    "keypointrcnn": ("keypointrcnn_resnet50_fpn", ["rpn.head", "roi_heads.box_predictor"]),
    "retinanet": ("retinanet_resnet50_fpn", ["head"]),
    "fcos": ("fcos_resnet50_fpn", ["head"]),
    "ssd300": ("ssd300_vgg16", ["head"]),
    "ssdlite": ("ssdlite320_mobilenet_v3_large", ["head"]),
}


def tensors_of(value):
    """The tensors in nested lists, tuples and dictionaries, in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        return [t for item in value.values() for t in tensors_of(item)]
    return [t for item in value for t in tensors_of(item)]


class Detector(torch.nn.Module):
    """One image in; detections and what the heads gave before suppression out."""

    def __init__(self, name):
        super().__init__()
        builder, watched = DETECTORS[name]
        self.module = torchvision.models.detection.__dict__[builder](weights=None, weights_backbone=None, num_classes=8 if name != "keypointrcnn" else 2)
        if hasattr(self.module.transform, "fixed_size") and self.module.transform.fixed_size is None:
            self.module.transform.min_size, self.module.transform.max_size = (SIZE,), SIZE
        self.seen = []
        self.names = []
        for path in watched:
            self.module.get_submodule(path).register_forward_hook(self.watcher("rows" if "box_predictor" in path else "head"))

    def watcher(self, kind):
        return lambda module, inputs, out: self.seen.extend((kind, tensor) for tensor in tensors_of(out))

    def forward(self, image):
        self.seen.clear()
        found = self.module([image])[0]
        self.names = list(found) + [f"{kind}_{index}" for index, (kind, _) in enumerate(self.seen)]
        return tuple(found.values()) + tuple(tensor for _, tensor in self.seen)


def calibrate(module, image):
    """Random convolutions blow up or die out over depth: each one's output is brought to unit variance, layer by layer, by scaling its
    weights; then the heads are spread so that scores differ."""
    layers = [m for m in module.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear, torch.nn.ConvTranspose2d))]
    done = set()

    def hook(layer, inputs, out):
        if id(layer) in done or out.numel() < 2:
            return None
        done.add(id(layer))
        spread = out.std()
        if not torch.isfinite(spread) or spread < 1e-12:
            return None
        layer.weight.data.div_(spread)
        if layer.bias is not None:
            layer.bias.data.zero_()
            if out.ndim == 2:  # a head's classes would differ by more than its boxes do
                layer.bias.data.copy_(-out.mean(0) / spread)
        return layer.forward(inputs[0])

    handles = [layer.register_forward_hook(hook) for layer in layers]
    with torch.no_grad():
        module(image)
    for handle in handles:
        handle.remove()


def scale_heads(detector, name):
    m = detector.module
    with torch.no_grad():
        if hasattr(m, "roi_heads"):
            m.rpn.head.cls_logits.weight.mul_(2)
            m.rpn.head.bbox_pred.weight.mul_(0.3)
            m.roi_heads.box_predictor.cls_score.weight.mul_(3)
            m.roi_heads.box_predictor.bbox_pred.weight.mul_(1)
        else:
            for path, layer in m.head.named_modules():
                if not isinstance(layer, torch.nn.Conv2d):
                    continue
                if "regression" in path and (path.endswith("bbox_reg") or path.count("module_list")):
                    layer.weight.mul_(0.3)
                if path.endswith("cls_logits"):
                    layer.weight.mul_(1.5)
                    layer.bias.fill_(-3.0)
                if path.endswith("bbox_ctrness"):
                    layer.bias.fill_(2.0)


def detector(name):
    def make():
        model = Detector(name).eval()
        image = torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(3))
        calibrate(model, image)
        scale_heads(model, name)
        return model, (image,), {}

    return make


# ---- the rest ---------------------------------------------------------------------------------------------------------------------


def longformer():
    from transformers import LongformerConfig, LongformerModel

    config = LongformerConfig(vocab_size=500, hidden_size=64, num_hidden_layers=1, num_attention_heads=4, intermediate_size=128,
                              attention_window=[16], max_position_embeddings=130, onnx_export=True)
    inner = LongformerModel(config, add_pooling_layer=False).eval()

    class Longformer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.module = inner

        def forward(self, ids, mask, is_global):
            return self.module(input_ids=ids, attention_mask=mask, global_attention_mask=is_global).last_hidden_state

    ids = torch.randint(2, 500, (1, 64))
    is_global = torch.zeros(1, 64, dtype=torch.int64)
    is_global[:, 0] = 1
    return Longformer(), (ids, torch.ones_like(ids), is_global), dict(input_names=["ids", "mask", "is_global"])


def mvit():
    model = torchvision.models.video.mvit_v1_b(weights=None).eval()
    return model, (torch.randn(1, 3, 16, 224, 224),), {}


class Greedy(torch.nn.Module):
    """A small recurrent decoder that picks the likeliest token until it meets the last one or its limit: a Loop with growing state."""

    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(50, 32)
        self.query = torch.nn.Linear(32, 32)
        self.key = torch.nn.Linear(32, 32)
        self.value = torch.nn.Linear(32, 32)
        self.head = torch.nn.Linear(32, 50)

    def step(self, tokens):
        x = self.embed(tokens)
        scores = torch.softmax(self.query(x[:, -1:]) @ self.key(x).transpose(1, 2) / 32**0.5, -1)
        return self.head(x[:, -1] + (scores @ self.value(x))[:, 0])

    def forward(self, tokens, limit: int):
        logits = self.step(tokens)
        done = False
        count = 0
        while not done and count < limit:
            chosen = logits.argmax(-1, keepdim=True)
            tokens = torch.cat([tokens, chosen], 1)
            done = bool((chosen == 0).all())
            logits = self.step(tokens)
            count += 1
        return tokens, logits


def greedy():
    model = torch.jit.script(Greedy().eval())
    return model, (torch.randint(1, 50, (1, 4)), torch.tensor(24)), dict(input_names=["tokens", "limit"], dynamic_axes={"tokens": {1: "length"}})


MODELS = {name: detector(name) for name in DETECTORS} | {"longformer": longformer, "mvit_v1_b": mvit, "greedy": greedy}


def write(name, folder, opset):
    torch.manual_seed(0)
    model, inputs, options = MODELS[name]()
    data = os.path.join(folder, "test_data_set_0")
    os.makedirs(data, exist_ok=True)
    with torch.no_grad():
        given = tuple(int(x) if name == "greedy" and x.ndim == 0 else x for x in inputs)
        expected = tensors_of(model(*given))
        if name in DETECTORS:
            options["output_names"] = list(model.names)
        torch.onnx.export(model, inputs, os.path.join(folder, "model.onnx"), dynamo=False, opset_version=opset, **options)
    for index, tensor in enumerate(inputs):
        save_tensor(os.path.join(data, f"input_{index}.pb"), tensor)
    for index, tensor in enumerate(expected):
        save_tensor(os.path.join(data, f"output_{index}.pb"), tensor)
    shapes = ", ".join("x".join(map(str, t.shape)) for t in expected)
    print(f"{name}: outputs {shapes}")
    if name in DETECTORS and expected[0].shape[0] < LEAST_BOXES:
        raise RuntimeError(f"only {expected[0].shape[0]} boxes survive")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--opset", type=int, default=17)
    options = parser.parse_args()
    failed = []
    for name in options.models.split(","):
        start = time.time()
        try:
            write(name, os.path.join(options.out, name), options.opset)
            print(f"{name}: {time.time() - start:.1f} s", flush=True)
        except Exception as error:
            failed.append(name)
            print(f"{name}: {type(error).__name__}: {(str(error).strip() or '?').splitlines()[0]}", flush=True)
    if failed:
        sys.exit("not exported: " + ", ".join(failed))


if __name__ == "__main__":
    main()
