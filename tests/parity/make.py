#!/usr/bin/env python3
"""Writes the parity fixtures beside this file: what PyTorch makes of the same models and layers.

    pip install torch torchvision safetensors numpy
    python tests/parity/make.py [FILE…]

Run it again only when a layer or a model is added, with the names of the files to write (all, without one); what it writes is
committed. A family of layers has a file of its own, `layers_FAMILY` and `nonfinite_FAMILY`. The figures there now are PyTorch 2.15.0's.

Everything is computed in f64 from weights and inputs that f32 can hold, and stored in f32: each stored number is within 2^-24 of the true
one, so that an f64 implementation must agree to 1e-7 and an f32 one is measured against the truth, not against another's rounding.

A file holds tensors named `CASE/PART` and, as metadata, `cases`: a JSON list with, for each case, its name, the layer it is about (or
null), its spec (a text, or a path with `params`), its loss and learning rate. The parts are `input.N`, `target`, `output`, `loss`,
`param.NAME`, `grad.NAME`, `stat.NAME` before and `stat_after.NAME` after the first pass; with steps also `trained.NAME`, the parameters and
statistics after ten of them, and `evaluated`, the output then, in evaluation mode. NAME is a state dict's. A case with `drawn` has no
`input`, `param` and `stat`: they are drawn from that seed and their names, `tensors` in all, for a batch of `samples`.
"""

import functools
import json
import math
import pathlib
import re
import sys

import numpy as np
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

HERE = pathlib.Path(__file__).parent
STEPS = 10
torch.set_default_dtype(torch.float64)


def f32_values(tensor):
    """The nearest values that f32 holds, in f64."""
    return tensor.detach().to(torch.float32).to(torch.float64)


class File:
    """The cases of one fixture file."""

    def __init__(self, name):
        self.name, self.tensors, self.cases = name, {}, []

    def add(self, about, parts):
        self.cases.append(about)
        for name, tensor in parts.items():
            self.tensors[f"{about['name']}/{name}"] = tensor.detach().to(torch.float32).contiguous().clone()

    def write(self):
        save_file(self.tensors, HERE / f"{self.name}.safetensors", {"cases": json.dumps(self.cases)})
        path = HERE / f"{self.name}.safetensors"
        path.chmod(0o644)
        print(f"{self.name}: {len(self.cases)} cases, {path.stat().st_size:,} bytes")


# Models


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(16, 8, kernel_size=3, padding=1)
        self.fc1 = nn.Linear(8 * 8 * 8, 32)
        self.fc2 = nn.Linear(32, 2)

    def forward(self, x):
        x = F.max_pool2d(torch.tanh(self.conv1(x)), 2)
        x = F.max_pool2d(torch.tanh(self.conv2(x)), 2)
        return self.fc2(torch.tanh(self.fc1(x.flatten(1))))


class BatchNorm(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.conv1 = nn.Conv2d(3, n, kernel_size=3, padding=1)
        self.conv1_batchnorm = nn.BatchNorm2d(n)
        self.conv2 = nn.Conv2d(n, n // 2, kernel_size=3, padding=1)
        self.conv2_batchnorm = nn.BatchNorm2d(n // 2)
        self.fc1 = nn.Linear(8 * 8 * n // 2, 32)
        self.fc2 = nn.Linear(32, 2)

    def forward(self, x):
        x = F.max_pool2d(torch.tanh(self.conv1_batchnorm(self.conv1(x))), 2)
        x = F.max_pool2d(torch.tanh(self.conv2_batchnorm(self.conv2(x))), 2)
        return self.fc2(torch.tanh(self.fc1(x.flatten(1))))


class ResBlock(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.conv = nn.Conv2d(n, n, kernel_size=3, padding=1, bias=False)
        self.batch_norm = nn.BatchNorm2d(n)
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")
        nn.init.constant_(self.batch_norm.weight, 0.5)
        nn.init.zeros_(self.batch_norm.bias)

    def forward(self, x):
        return torch.relu(self.batch_norm(self.conv(x))) + x


class ResDeep(nn.Module):
    def __init__(self, n, blocks, tied):
        super().__init__()
        self.conv1 = nn.Conv2d(3, n, kernel_size=3, padding=1)
        self.resblocks = nn.Sequential(*(blocks * [ResBlock(n)] if tied else [ResBlock(n) for _ in range(blocks)]))
        self.fc1 = nn.Linear(8 * 8 * n, 32)
        self.fc2 = nn.Linear(32, 2)

    def forward(self, x):
        x = F.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = F.max_pool2d(self.resblocks(x), 2)
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


class Double(nn.Module):
    def __init__(self, before, n):
        super().__init__()
        self.conv1 = nn.Conv2d(before, n, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n)
        self.conv2 = nn.Conv2d(n, n, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n)

    def forward(self, x):
        return torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))


class Unet(nn.Module):
    def __init__(self, n, classes):
        super().__init__()
        self.down1, self.down2, self.down3 = Double(3, n), Double(n, 2 * n), Double(2 * n, 4 * n)
        self.bottom = Double(4 * n, 8 * n)
        self.up3, self.joined3 = nn.ConvTranspose2d(8 * n, 4 * n, 2, stride=2), Double(8 * n, 4 * n)
        self.up2, self.joined2 = nn.ConvTranspose2d(4 * n, 2 * n, 2, stride=2), Double(4 * n, 2 * n)
        self.up1, self.joined1 = nn.ConvTranspose2d(2 * n, n, 2, stride=2), Double(2 * n, n)
        self.conv = nn.Conv2d(n, classes, 1)

    def forward(self, x):
        down1 = self.down1(x)
        down2 = self.down2(F.max_pool2d(down1, 2))
        down3 = self.down3(F.max_pool2d(down2, 2))
        x = self.bottom(F.max_pool2d(down3, 2))
        x = self.joined3(torch.cat([self.up3(x), down3], 1))
        x = self.joined2(torch.cat([self.up2(x), down2], 1))
        return self.conv(self.joined1(torch.cat([self.up1(x), down1], 1)))


class Cell(nn.Module):
    def __init__(self, before, n, kernel):
        super().__init__()
        self.conv = nn.Conv1d(before, n, kernel, padding="same", bias=False)
        self.bn = nn.BatchNorm1d(n)

    def forward(self, x):
        return torch.relu(self.bn(self.conv(x)))


class Series(nn.Module):
    def __init__(self, n, classes):
        super().__init__()
        self.cell1, self.cell2, self.cell3 = Cell(1, n, 8), Cell(n, 2 * n, 5), Cell(2 * n, n, 3)
        self.fc = nn.Linear(n, classes)

    def forward(self, x):
        return self.fc(self.cell3(self.cell2(self.cell1(x))).mean(2))


class Voxnet(nn.Module):
    def __init__(self, size, n, hidden, classes):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv3d(1, n, 5, stride=2), nn.Conv3d(n, n, 3)
        left = ((size - 5) // 2 + 1 - 2) // 2
        self.fc1, self.fc2 = nn.Linear(n * left**3, hidden), nn.Linear(hidden, classes)

    def forward(self, x):
        x = F.dropout(F.leaky_relu(self.conv1(x), 0.1), 0.2, self.training)
        x = F.dropout(F.max_pool3d(F.leaky_relu(self.conv2(x), 0.1), 2), 0.3, self.training)
        return self.fc2(F.dropout(torch.relu(self.fc1(x.flatten(1))), 0.4, self.training))


def thin(model, by, classes):
    """A model of torchvision's with a part of the channels of each layer, and so many classes."""

    def channels(count):
        return {3: 3, 1000: classes}.get(count, count // by)

    for name, layer in model.named_children():
        if isinstance(layer, nn.Conv2d):
            groups = layer.groups if layer.groups == 1 else layer.groups // by
            sizes = {"stride": layer.stride, "padding": layer.padding, "groups": groups, "bias": layer.bias is not None}
            layer = nn.Conv2d(channels(layer.in_channels), channels(layer.out_channels), layer.kernel_size, **sizes)
        elif isinstance(layer, nn.BatchNorm2d):
            layer = nn.BatchNorm2d(layer.num_features // by, eps=layer.eps)
        elif isinstance(layer, nn.Linear):
            layer = nn.Linear(layer.in_features // by, channels(layer.out_features))
        setattr(model, name, thin(layer, by, classes))
    return model


def statistics(model):
    return {name: value for name, value in model.named_buffers() if "running" in name}


def perturbed(build, seed):
    """A model, and four images."""
    torch.manual_seed(seed)
    model = build()
    with torch.no_grad():
        for parameter in model.parameters():
            # So that no weight is one that a mistake would leave right.
            parameter.add_(0.05 * torch.randn_like(parameter))
            parameter.copy_(f32_values(parameter))
    return model, f32_values(torch.randn(4, 3, 32, 32))


def numbers(name, shape):
    """Those of a name, even in -1..1: `Numbers::named` of tests/src/reference.rs."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 % 2**64
    mixed = np.uint64(seed) + np.arange(1, math.prod(shape) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return torch.tensor((mixed >> np.uint64(11)).astype(np.float64) / 2**52 - 1).reshape(shape)


def drawn(build, seed, shape):
    """A model and its input, all numbers of them drawn from their names, so that no fixture need hold them."""
    model = build()
    with torch.no_grad():
        for name, value in weights(model).items():
            fan = math.prod(value.shape[1:])
            weight = numbers(f"{seed}/{spelled(name)}", value.shape) * math.sqrt(3 / fan)
            value.copy_(f32_values(weight.abs() + 0.5 if name.endswith("running_var") else weight))
    return model, f32_values(numbers(f"{seed}/input.0", shape))


def weights(model):
    return dict(model.named_parameters()) | statistics(model)


def spelled(name):
    """Ours of a name of torchvision's, whose DenseNet alone has other names: its dense layers count from 1."""
    return re.sub(r"denselayer(\d+)", lambda number: str(int(number[1]) - 1), name)


def trained(start, lr, dtype):
    """Ten steps of SGD on one batch of four samples, and everything on the way."""
    model, x = start
    target = torch.tensor([0, 1, 1, 0])
    model, x = model.to(dtype), x.to(dtype)
    parts = {"input.0": x, "target": target}
    parts |= {f"param.{name}": value.clone() for name, value in model.named_parameters()}
    parts |= {f"stat.{name}": value.clone() for name, value in statistics(model).items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for step in range(STEPS):
        output = model(x)
        # A map counts as so many classes.
        loss = F.cross_entropy(output.flatten(1), target)
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            parts |= {"output": output, "loss": loss.reshape(1)}
            parts |= {f"grad.{name}": value.grad.clone() for name, value in model.named_parameters()}
            parts |= {f"stat_after.{name}": value.clone() for name, value in statistics(model).items()}
        optimizer.step()
    parts |= {f"trained.{name}": value for name, value in weights(model).items()}
    parts["evaluated"] = model.eval()(x)
    return parts


def worst(a, b):
    """The largest relative difference of two runs: of all gradients together, all weights together, and so on."""

    def difference(kind):
        of = [name for name in b if name.split(".")[0] == kind]
        a_all, b_all = (torch.cat([parts[name].double().flatten() for name in of]) for parts in (a, b))
        return ((a_all - b_all).norm() / b_all.norm()).item()

    return max(difference(kind) for kind in ("output", "loss", "grad", "trained", "evaluated"))


def trained_case(about, start):
    """The parts of a case of ten steps, and its seed; `start` gives a model and its input for one."""
    # A value within rounding of a kink moves gradients with nothing wrong: a batch is taken on which PyTorch's own f32 run agrees with
    # its f64 run.
    for seed in range(100):
        parts = trained(start(seed), about["lr"], torch.float64)
        apart = worst(trained(start(seed), about["lr"], torch.float32), parts)
        if apart < 1e-5:
            break
    else:
        raise SystemExit(f"{about['name']}: no seed without a kink")
    print(f"{about['name']}: seed {seed}, f32 within {apart:.1e}")
    return parts, seed


def about_model(name, params, **others):
    return {"name": name, "layer": None, "spec": f"specs/{name}.netspec", "params": params, "loss": "cross_entropy", **others}


def model_case(name, params, lr, build):
    file = File(name)
    about = about_model(name, params, lr=lr)
    file.add(about, trained_case(about, lambda seed: perturbed(build, seed))[0])
    file.write()


def models(file):
    """Models of more depth: their weights are drawn from their names, and of most there is the output in evaluation alone."""

    def training(name, params, lr, shape, build):
        about = about_model(name, params, lr=lr, samples=4, tensors=len(weights(build())))
        parts, about["drawn"] = trained_case(about, lambda seed: drawn(build, seed, (4, *shape)))
        kept = {part: value for part, value in parts.items() if part.split(".")[0] not in ("input", "param", "stat")}
        file.add(about, kept)

    def evaluation(name, params, shape, build):
        about = about_model(name, params, lr=None, samples=2, tensors=len(weights(build())), drawn=0) | {"loss": None}
        model, x = drawn(build, 0, (2, *shape))
        file.add(about, {"output": model.eval()(x)})

    training("unet", {"size": 16, "width": 2}, 1e-2, [3, 16, 16], lambda: Unet(2, 2))
    training("series", {"length": 23, "width": 4}, 1e-2, [1, 23], lambda: Series(4, 5))
    evaluation("voxnet", {"size": 16, "width": 4, "hidden": 8, "classes": 4}, [1, 16, 16, 16], lambda: Voxnet(16, 4, 8, 4))

    def of_torchvision(size, name, params, by, build):
        evaluation(name, {"size": size, **params, "classes": 4}, [3, size, size], lambda: thin(build(), by, 4))

    of_torchvision(64, "resnet18", {"width": 2}, 32, torchvision.models.resnet18)
    of_torchvision(64, "resnet50", {"width": 2}, 32, torchvision.models.resnet50)
    of_torchvision(64, "vgg11", {"width": 2, "hidden": 128}, 32, torchvision.models.vgg11)
    of_torchvision(32, "squeezenet", {"width": 2}, 8, torchvision.models.squeezenet1_1)
    of_torchvision(64, "mobilenet_v2", {"thin": 8}, 8, torchvision.models.mobilenet_v2)
    of_torchvision(64, "densenet121", {"growth": 2}, 16, torchvision.models.densenet121)
    googlenet = functools.partial(torchvision.models.googlenet, aux_logits=False, init_weights=False)
    of_torchvision(64, "googlenet", {"thin": 8}, 8, googlenet)


def family(name, cases):
    file = File(name)
    cases(file)
    file.write()


NARROW = {"n_chans1": 4, "n_blocks": 3}
# What writes each file.
FILES = {
    "layers": lambda: (layers(), LAYERS.write()),
    "nonfinite": lambda: (nonfinite(), NONFINITE.write()),
    "layers_spatial": lambda: (layers_spatial(), SPATIAL.write()),
    "nonfinite_spatial": lambda: (nonfinite_spatial(), NONFINITE_SPATIAL.write()),
    "layers_conv": lambda: (layers_conv(), LAYERS_CONV.write()),
    "nonfinite_conv": lambda: (nonfinite_conv(), NONFINITE_CONV.write()),
    "losses": lambda: (losses(), LOSSES.write()),
    "layers_activations": lambda: family("layers_activations", lambda file: layers_activations(file, layer_case)),
    "layers_norms": lambda: family("layers_norms", lambda file: layers_norms(file, layer_case)),
    "nonfinite_activations": lambda: family(
        "nonfinite_activations", lambda file: nonfinite_activations(lambda *all: nonfinite_case(*all, file=file))
    ),
    "nonfinite_norms": lambda: family(
        "nonfinite_norms", lambda file: nonfinite_norms(lambda *all: nonfinite_case(*all, file=file))
    ),
    "net": lambda: model_case("net", {}, 1e-2, Net),
    "batch_norm": lambda: model_case("batch_norm", {"n_chans1": 4}, 1e-2, lambda: BatchNorm(4)),
    "res_deep": lambda: model_case("res_deep", NARROW, 3e-3, lambda: ResDeep(4, 3, tied=False)),
    "res_deep_tied": lambda: model_case("res_deep_tied", NARROW, 3e-3, lambda: ResDeep(4, 3, tied=True)),
    "models": lambda: family("models", models),
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    print(f"PyTorch {torch.__version__}")
    for chosen in sys.argv[1:] or FILES:
        # A file is the same whichever others are written.
        torch.manual_seed(0)
        FILES[chosen]()
