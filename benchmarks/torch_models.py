"""The zoo's ViT, ResNet and GhostNet once more, in plain PyTorch: the other side of `benchmarks.throughput`.

Written as people write them: `nn` modules, channels-first arithmetic, fused attention. Modules are named so that
a state dict of `bridge.to_torch` fits strictly, which makes both sides start from the same weights.
"""

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from cion_jax.zoo import ghostnet, layers

PATCH, GRID, NATIVE = 16, (16, 8), (256, 128)
RESNET_DEPTHS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def create(name: str) -> nn.Module | None:
    """The model `name` of the zoo: [b, 3, h, w] -> [b, width]; None where there is no PyTorch form here."""
    family, _, rest = name.partition("_")
    if family == "vit":
        return ViT({"tiny": 192, "small": 384, "base": 768}[rest])
    if family == "ghostnet":
        return GhostNet(float(rest.replace("_", ".")))
    if family.startswith("resnet"):
        return ResNet(int(family.removeprefix("resnet")), ibn=rest == "ibn")
    return None


class IBN(nn.Module):
    """Instance norm on the first half of the channels, batch norm on the second."""

    def __init__(self, width: int):
        super().__init__()
        self.half = width // 2
        self.IN = nn.InstanceNorm2d(self.half, affine=True)
        self.BN = nn.BatchNorm2d(width - self.half)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.IN(x[:, : self.half]), self.BN(x[:, self.half :])], dim=1)


# --- ResNet ---


def conv(inputs: int, outputs: int, size: int = 1, stride: int = 1, **more) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False, **more)


class ResidualBlock(nn.Module):
    """Basic (expansion 1) or bottleneck (expansion 4) block."""

    def __init__(self, inputs: int, width: int, stride: int, expansion: int, ibn: bool):
        super().__init__()
        first_norm, outputs = (IBN if ibn else nn.BatchNorm2d), width * expansion
        self.bottleneck = expansion > 1
        if self.bottleneck:
            self.conv1, self.bn1 = conv(inputs, width), first_norm(width)
            self.conv2, self.bn2 = conv(width, width, 3, stride), nn.BatchNorm2d(width)
            self.conv3, self.bn3 = conv(width, outputs), nn.BatchNorm2d(outputs)
        else:
            self.conv1, self.bn1 = conv(inputs, width, 3, stride), first_norm(width)
            self.conv2, self.bn2 = conv(width, width, 3), nn.BatchNorm2d(width)
        self.downsample = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        if self.bottleneck:
            y = self.bn3(self.conv3(F.relu(y, inplace=True)))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)), inplace=True)


class ResNet(nn.Module):
    """Last stage with stride 1; IBN in stages 1 to 3."""

    def __init__(self, size: int, ibn: bool):
        super().__init__()
        expansion = 1 if size == 18 else 4
        self.conv1, self.bn1 = conv(3, 64, 7, 2), nn.BatchNorm2d(64)
        inputs = 64
        stages = zip(RESNET_DEPTHS[size], (64, 128, 256, 512), (1, 2, 2, 1), strict=True)
        for stage, (depth, width, stride) in enumerate(stages, start=1):
            blocks = []
            for index in range(depth):
                first = stride if index == 0 else 1
                blocks.append(ResidualBlock(inputs, width, first, expansion, ibn and stage < 4))
                inputs = width * expansion
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.max_pool2d(x, 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return x.mean((2, 3))


# --- ViT ---


class PatchEmbed(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Sequential(
            *(conv(3, 64, 7, 2), IBN(64), nn.ReLU(True)),
            *(conv(64, 64, 3), IBN(64), nn.ReLU(True)),
            *(conv(64, 64, 3), nn.BatchNorm2d(64), nn.ReLU(True)),
        )
        self.proj = nn.Conv2d(64, width, 8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.proj(self.conv(x))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(*qkv.unbind(0))
        return self.proj(y.transpose(1, 2).reshape(batch, tokens, width))


class Mlp(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn, self.mlp = Attention(width, heads), Mlp(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """Convolutional IBN stem, 12 blocks, normed class token."""

    def __init__(self, width: int, depth: int = 12):
        super().__init__()
        self.patch_embed = PatchEmbed(width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + math.prod(GRID), width))
        self.blocks = nn.Sequential(*(Block(width, width // 64) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.patch_embed(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1).to(x.dtype), x], dim=1)
        x = x + self.positions(tuple(images.shape[2:]))
        return self.norm(self.blocks(x)[:, 0])

    def positions(self, size: tuple[int, int]) -> torch.Tensor:
        if size == NATIVE:
            return self.pos_embed
        table = self.pos_embed[:, 1:].reshape(1, *GRID, -1).permute(0, 3, 1, 2)
        factors = tuple((pixels // PATCH + 0.1) / entries for pixels, entries in zip(size, GRID, strict=True))
        table = F.interpolate(table, scale_factor=factors, mode="bicubic")
        return torch.cat([self.pos_embed[:, :1], table.flatten(2).transpose(1, 2)], dim=1)


# --- GhostNet ---


def depthwise(channels: int, size: int, stride: int = 1) -> nn.Conv2d:
    return conv(channels, channels, size, stride, groups=channels)


class GhostModule(nn.Module):
    def __init__(self, inputs: int, outputs: int, active: bool):
        super().__init__()
        half = -(-outputs // 2)
        self.outputs = outputs
        activate = partial(nn.ReLU, True) if active else nn.Identity
        self.primary_conv = nn.Sequential(conv(inputs, half), nn.BatchNorm2d(half), activate())
        self.cheap_operation = nn.Sequential(depthwise(half, 3), nn.BatchNorm2d(half), activate())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        primary = self.primary_conv(x)
        return torch.cat([primary, self.cheap_operation(primary)], dim=1)[:, : self.outputs]


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.conv_reduce, self.conv_expand = nn.Conv2d(channels, hidden, 1), nn.Conv2d(hidden, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate = F.relu(self.conv_reduce(x.mean((2, 3), keepdim=True)))
        return x * F.hardsigmoid(self.conv_expand(gate))


class GhostBlock(nn.Module):
    def __init__(self, inputs: int, inner: int, outputs: int, row: ghostnet.Row):
        super().__init__()
        self.ghost1 = GhostModule(inputs, inner, True)
        self.conv_dw = self.bn_dw = self.se = self.shortcut = None
        if row.stride > 1:
            self.conv_dw, self.bn_dw = depthwise(inner, row.kernel, row.stride), nn.BatchNorm2d(inner)
        if row.gated:
            self.se = SqueezeExcite(inner, layers.divisible(inner / 4))
        self.ghost2 = GhostModule(inner, outputs, False)
        if row.stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                *(depthwise(inputs, row.kernel, row.stride), nn.BatchNorm2d(inputs)),
                *(conv(inputs, outputs), nn.BatchNorm2d(outputs)),
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.ghost1(x)
        if self.conv_dw is not None:
            y = self.bn_dw(self.conv_dw(y))
        if self.se is not None:
            y = self.se(y)
        return self.ghost2(y) + (x if self.shortcut is None else self.shortcut(x))


class ConvNormRelu(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv, self.bn1 = conv(inputs, outputs), nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.bn1(self.conv(x)), inplace=True)


class GhostNet(nn.Module):
    def __init__(self, multiplier: float):
        super().__init__()
        inputs = layers.divisible(16 * multiplier)
        self.conv_stem, self.bn1 = conv(3, inputs, 3, 2), nn.BatchNorm2d(inputs)
        stages = []
        for rows in ghostnet.STAGES:
            blocks = []
            for row in rows:
                inner, outputs = (layers.divisible(n * multiplier) for n in (row.inner, row.outer))
                blocks.append(GhostBlock(inputs, inner, outputs, row))
                inputs = outputs
            stages.append(nn.Sequential(*blocks))
        last = layers.divisible(ghostnet.LAST_STAGE * multiplier)
        self.blocks = nn.Sequential(*stages, nn.Sequential(ConvNormRelu(inputs, last)))
        self.conv_head = nn.Conv2d(last, ghostnet.EMBED_DIM, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(F.relu(self.bn1(self.conv_stem(x)), inplace=True))
        return F.relu(self.conv_head(x.mean((2, 3), keepdim=True))).flatten(1)


# --- the head ---


class DINOHead(nn.Module):
    """Three linear layers, L2 normalisation, weight-normalised linear layer without bias."""

    def __init__(self, width: int, outputs: int, hidden: int = 2048, bottleneck: int = 256):
        super().__init__()
        self.mlp = nn.Sequential(
            *(nn.Linear(width, hidden), nn.GELU()),
            *(nn.Linear(hidden, hidden), nn.GELU()),
            nn.Linear(hidden, bottleneck),
        )
        self.last_layer = WeightNormLinear(bottleneck, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last_layer(F.normalize(self.mlp(x), dim=-1))


class WeightNormLinear(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.weight_g = nn.Parameter(torch.ones(outputs, 1), requires_grad=False)
        self.weight_v = nn.Parameter(torch.zeros(outputs, inputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight_g * F.normalize(self.weight_v, dim=1))
