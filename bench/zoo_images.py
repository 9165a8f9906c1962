"""Networks that take images: torchvision's, and those it does not have, written here in their published form."""
import torch
import torchvision
from torch import nn
from torch.nn import functional


def vision(name):
    return torchvision.models.get_model(name, weights=None)


def inception():
    return torchvision.models.inception_v3(weights=None, aux_logits=False, init_weights=False)


class Picked(nn.Module):
    """Keeps of a module's result what an engine is compared on."""

    def __init__(self, module, pick):
        super().__init__()
        self.module, self.pick = module, pick

    def forward(self, *inputs):
        return self.pick(self.module(*inputs))


def deeplab():
    return Picked(torchvision.models.segmentation.deeplabv3_resnet50(weights=None, weights_backbone=None), lambda out: out["out"])


class Detector(nn.Module):
    """SSD300 with VGG-16: backbone and heads, without decoding boxes."""

    def __init__(self):
        super().__init__()
        whole = torchvision.models.detection.ssd300_vgg16(weights=None, weights_backbone=None)
        self.backbone, self.head = whole.backbone, whole.head

    def forward(self, x):
        out = self.head(list(self.backbone(x).values()))
        return out["bbox_regression"], out["cls_logits"]


def ssd():
    return Detector()


class Unet(nn.Module):
    """Five levels of two 3x3 convolutions with batch norm, 2x2 transposed convolutions on the way up."""

    def __init__(self, widths=(64, 128, 256, 512, 1024), classes=2):
        super().__init__()

        def level(channels, wider):
            pair = [(channels, wider), (wider, wider)]
            return nn.Sequential(*[layer for a, b in pair for layer in (nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU())])

        self.down = nn.ModuleList([level(a, b) for a, b in zip((3, *widths), widths)])
        pairs = list(zip(widths[:0:-1], widths[-2::-1]))
        self.up = nn.ModuleList([nn.ConvTranspose2d(a, b, 2, 2) for a, b in pairs])
        self.join = nn.ModuleList([level(2 * b, b) for _, b in pairs])
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, x):
        kept = []
        for index, level in enumerate(self.down):
            x = level(functional.max_pool2d(x, 2) if index else x)
            kept.append(x)
        kept.pop()
        for up, join in zip(self.up, self.join):
            x = join(torch.cat([kept.pop(), up(x)], 1))
        return self.head(x)


def unet():
    return Unet()


class Generator(nn.Module):
    """The generator of pix2pix for 256 pixels: eight strided convolutions down, eight transposed ones up, instance norms between, and skips."""

    def __init__(self, widths=(64, 128, 256, 512, 512, 512, 512, 512)):
        super().__init__()
        last = len(widths) - 1
        self.down = nn.ModuleList([nn.Conv2d(a, b, 4, 2, 1) for a, b in zip((3, *widths), widths)])
        self.down_norm = nn.ModuleList([nn.InstanceNorm2d(b, affine=True) if 0 < i < last else nn.Identity() for i, b in enumerate(widths)])
        ups = [(widths[i] * (1 if i == last else 2), widths[i - 1] if i else 3) for i in reversed(range(len(widths)))]
        self.up = nn.ModuleList([nn.ConvTranspose2d(a, b, 4, 2, 1) for a, b in ups])
        self.up_norm = nn.ModuleList([nn.InstanceNorm2d(b, affine=True) if i < last else nn.Identity() for i, (_, b) in enumerate(ups)])

    def forward(self, x):
        kept = []
        for index, (down, norm) in enumerate(zip(self.down, self.down_norm)):
            x = norm(down(functional.leaky_relu(x, 0.2) if index else x))
            kept.append(x)
        x = kept.pop()
        for index, (up, norm) in enumerate(zip(self.up, self.up_norm)):
            x = norm(up(torch.relu(torch.cat([x, kept.pop()], 1) if index else x)))
        return torch.tanh(x)


def pix2pix():
    return Generator()


class CenterNet(nn.Module):
    """A ResNet-18, three transposed convolutions up to stride 4, heads for heat map, size and offset."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(*list(torchvision.models.resnet18(weights=None).children())[:-2])
        steps = [(512, 256), (256, 128), (128, 64)]
        self.up = nn.Sequential(*[layer for a, b in steps for layer in (nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())])
        self.heads = nn.ModuleList([nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, n, 1)) for n in (80, 2, 2)])

    def forward(self, x):
        x = self.up(self.backbone(x))
        heat, size, offset = (head(x) for head in self.heads)
        return torch.sigmoid(heat), size, offset


def centernet():
    return CenterNet()


class RepBlock(nn.Module):
    """A block of RepVGG as it is trained: 3x3, 1x1 and, where shapes allow, the identity, each with a batch norm."""

    def __init__(self, channels, wider, stride):
        super().__init__()
        self.three = nn.Sequential(nn.Conv2d(channels, wider, 3, stride, 1, bias=False), nn.BatchNorm2d(wider))
        self.one = nn.Sequential(nn.Conv2d(channels, wider, 1, stride, bias=False), nn.BatchNorm2d(wider))
        self.same = nn.BatchNorm2d(channels) if channels == wider and stride == 1 else None

    def forward(self, x):
        out = self.three(x) + self.one(x)
        return torch.relu(out + self.same(x) if self.same is not None else out)


def repvgg():
    """RepVGG-A2: widths 64, 96, 192, 384 and 1408; 1, 2, 4, 14 and 1 blocks."""
    blocks, channels = [], 3
    for wider, count in ((64, 1), (96, 2), (192, 4), (384, 14), (1408, 1)):
        for index in range(count):
            blocks.append(RepBlock(channels, wider, 1 if index else 2))
            channels = wider
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000))


class ViTBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = self.qkv(self.before(x)).reshape(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        x = x + self.out(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, length, width))
        return x + self.mlp(self.between(x))


class ViT(nn.Module):
    """ViT-B/16 with fused query, key and value, as most people run it."""

    def __init__(self, pixels=224, patch=16, width=768, layers=12, heads=12):
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.cls = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.places = nn.Parameter(torch.randn(1, (pixels // patch) ** 2 + 1, width) * 0.02)
        self.blocks = nn.Sequential(*[ViTBlock(width, heads) for _ in range(layers)])
        self.norm, self.head = nn.LayerNorm(width, 1e-6), nn.Linear(width, 1000)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.places
        return self.head(self.norm(self.blocks(x))[:, 0])


def vit():
    return ViT()
