"""Trains the digit classifier of `./dev demo` and writes what the repository keeps of it.

    pip install numpy scikit-learn torch onnx
    python examples/digits/train.py

scikit-learn's digits are 1,797 scans of 8 x 8 pixels. A quarter of them, chosen at random but always the same, is never
shown to the network and becomes the test split. Written beside this file:

    digits.onnx        u8[batch, 1, 8, 8] -> f32[batch, 10], probabilities
    test_images.npy    u8[450, 1, 8, 8], 0 to 255
    test_labels.npy    u8[450]

The model is written node by node, as a training framework would export it before any optimisation: batch norms apart
from their convolutions, scaling of the pixels inside. Undoing that is Ingot's work.
"""
import os

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HERE = os.path.dirname(os.path.abspath(__file__))
CHANNELS = 24


class Block(torch.nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv = torch.nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm = torch.nn.BatchNorm2d(outputs)

    def forward(self, x):
        return self.norm(self.conv(x))


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = Block(1, CHANNELS)
        self.left, self.right = Block(CHANNELS, CHANNELS), Block(CHANNELS, CHANNELS)
        self.wide = Block(CHANNELS, 2 * CHANNELS)
        self.head = torch.nn.Linear(2 * CHANNELS * 4, 10)

    def forward(self, x):
        relu, pool = torch.relu, torch.nn.functional.max_pool2d
        x = relu(self.stem(x / 255 - 0.5))
        x = relu(x + self.right(relu(self.left(x))))
        x = relu(self.wide(pool(x, 2)))
        return self.head(pool(x, 2).flatten(1))


def shifted(images):
    """Each image moved by up to a pixel: scans are not centred alike."""
    moved = torch.zeros_like(images)
    for i, (dy, dx) in enumerate(torch.randint(-1, 2, (len(images), 2)).tolist()):
        moved[i] = torch.roll(images[i], (dy, dx), (1, 2))
    return moved


def train(images, labels):
    net = Net()
    epochs, batch = 60, 64
    optimiser = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=epochs * (len(images) // batch))
    for _ in range(epochs):
        order = torch.randperm(len(images))
        for i in range(len(images) // batch):
            part = order[i * batch:(i + 1) * batch]
            loss = torch.nn.functional.cross_entropy(net(shifted(images[part])), labels[part], label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return net.eval()


def export(net, path):
    nodes, weights = [], []

    def constant(name, value):
        weights.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def node(op, inputs, output, **attributes):
        nodes.append(helper.make_node(op, inputs, [output], output, **attributes))
        return output

    def block(x, name, module):
        w = constant(f"{name}.weight", module.conv.weight.detach().numpy())
        x = node("Conv", [x, w], f"{name}.conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        names = ("weight", "bias", "running_mean", "running_var")
        stats = [constant(f"{name}.norm.{k}", getattr(module.norm, k).detach().numpy()) for k in names]
        return node("BatchNormalization", [x, *stats], f"{name}.norm", epsilon=module.norm.eps)

    def pool(x, name):
        return node("MaxPool", [x], name, kernel_shape=[2, 2], strides=[2, 2])

    x = node("Cast", ["image"], "pixels", to=TensorProto.FLOAT)
    x = node("Div", [x, constant("white", 255)], "scaled")
    x = node("Sub", [x, constant("grey", 0.5)], "centred")
    x = stem = node("Relu", [block(x, "stem", net.stem)], "stem.relu")
    x = node("Relu", [block(x, "left", net.left)], "left.relu")
    x = node("Relu", [node("Add", [stem, block(x, "right", net.right)], "right.sum")], "right.relu")
    x = node("Relu", [block(pool(x, "pool1"), "wide", net.wide)], "wide.relu")
    x = node("Flatten", [pool(x, "pool2")], "features", axis=1)
    w, b = constant("head.weight", net.head.weight.detach().numpy()), constant("head.bias", net.head.bias.detach().numpy())
    x = node("Gemm", [x, w, b], "logits", transB=1)
    node("Softmax", [x], "probabilities", axis=-1)

    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 1, 8, 8])
    probabilities = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 10])
    graph = helper.make_graph(nodes, "digits", [image], [probabilities], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="train.py")
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def main():
    torch.manual_seed(7)
    digits = load_digits()
    images = np.round(digits.images * 255 / 16).astype(np.uint8)[:, None]
    labels = digits.target.astype(np.uint8)
    train_x, test_x, train_y, test_y = train_test_split(images, labels, test_size=450, random_state=7, stratify=labels)
    net = train(torch.tensor(train_x, dtype=torch.float32), torch.tensor(train_y, dtype=torch.long))
    export(net, os.path.join(HERE, "digits.onnx"))
    np.save(os.path.join(HERE, "test_images.npy"), test_x)
    np.save(os.path.join(HERE, "test_labels.npy"), test_y)
    with torch.no_grad():
        right = (net(torch.tensor(test_x, dtype=torch.float32)).argmax(1).numpy() == test_y).sum()
    print(f"{right} of {len(test_y)} test images right; digits.onnx has {os.path.getsize(os.path.join(HERE, 'digits.onnx'))} bytes")


if __name__ == "__main__":
    main()
