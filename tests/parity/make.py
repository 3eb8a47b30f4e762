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

    def of_torchvision(name, params, by, build):
        evaluation(name, {"size": 64, **params, "classes": 4}, [3, 64, 64], lambda: thin(build(), by, 4))

    of_torchvision("resnet18", {"width": 2}, 32, torchvision.models.resnet18)
    of_torchvision("resnet50", {"width": 2}, 32, torchvision.models.resnet50)
    of_torchvision("vgg11", {"width": 2, "hidden": 128}, 32, torchvision.models.vgg11)
    of_torchvision("squeezenet", {"width": 2}, 8, torchvision.models.squeezenet1_1)
    of_torchvision("mobilenet_v2", {"thin": 8}, 8, torchvision.models.mobilenet_v2)
    of_torchvision("densenet121", {"growth": 2}, 16, torchvision.models.densenet121)
    of_torchvision("googlenet", {"thin": 8}, 8, lambda: torchvision.models.googlenet(aux_logits=False, init_weights=False))


# Layers

LAYERS = File("layers")


def layer_case(layer, name, shape, statements, run, *, file=LAYERS, batch=2, x=None, spoil=None, evaluate=False):
    """A layer on a value that is itself a parameter: the model's input picks the sample, and a linear layer without bias gives that
    sample's column, so that the gradient by that weight is the one that the layer passes on. The loss is the mean squared error.

    `run` is a module, whose parameters are those of the layer called `l`, or a function; `spoil` changes some of the target."""
    torch.manual_seed(len(file.cases))
    module = run if isinstance(run, nn.Module) else None
    x = f32_values(torch.randn(batch, *shape)) if x is None else torch.tensor(x).reshape(batch, *shape)
    if module:
        with torch.no_grad():
            for value in module.parameters():
                value.copy_(f32_values(value + 0.1 * torch.randn_like(value)))
            for value in statistics(module).values():
                value.copy_(f32_values(value + torch.rand_like(value)))
    parts = {"input.0": torch.eye(batch), "param.x.weight": x.reshape(batch, -1).T}
    if module:
        parts |= {f"param.l.{name}": value.clone() for name, value in module.named_parameters()}
        parts |= {f"stat.l.{name}": value.clone() for name, value in statistics(module).items()}
        module.train(not evaluate)
    leaf = x.clone().requires_grad_()
    state = torch.get_rng_state()
    output = run(leaf)
    parts["output"] = output
    if not evaluate:
        target = f32_values(torch.randn_like(output))
        if spoil:
            spoil(target.view(-1))
        loss = F.mse_loss(output, target)
        loss.backward()
        parts |= {"target": target, "loss": loss.reshape(1), "grad.x.weight": leaf.grad.reshape(batch, -1).T}
        if module:
            parts |= {f"grad.l.{name}": value.grad for name, value in module.named_parameters()}
            parts |= {f"stat_after.l.{name}": value for name, value in statistics(module).items()}
    sizes = ", ".join(map(str, shape))
    count = x[0].numel()
    text = f"model Layer {{ input pick [{batch}]; linear({count}, bias = false) as x; view(-1, {sizes}) as v; {statements} }}"
    about = {"name": name, "layer": layer, "spec": text, "params": {}, "loss": None if evaluate else "mse", "lr": None}
    if layer in ("dropout", "channel_dropout") and not evaluate:
        # What was kept, unit by unit.
        torch.set_rng_state(state)
        units = shape[0] if layer == "channel_dropout" else count
        parts["kept"] = (run(torch.ones_like(x)).reshape(batch, units, -1) != 0).any(-1)
    file.add(about, parts)


def layers():
    case = layer_case
    case("conv", "conv1d", [2, 7], "conv(3, kernel = 3) as l;", nn.Conv1d(2, 3, 3))
    case("conv", "conv1d_dilated", [2, 9], "conv(4, kernel = 3, stride = 2, padding = 2, dilation = 2, bias = false) as l;",
         nn.Conv1d(2, 4, 3, stride=2, padding=2, dilation=2, bias=False))
    case("conv", "conv2d", [3, 6, 5], "conv(4, kernel = 3, padding = 1) as l;", nn.Conv2d(3, 4, 3, padding=1))
    case("conv", "conv2d_5x5", [2, 6, 6], "conv(3, kernel = 5, padding = 2) as l;", nn.Conv2d(2, 3, 5, padding=2))
    case("conv", "conv2d_uneven", [2, 6, 7], "conv(3, kernel = (1, 3), stride = (2, 1), padding = (0, 2), dilation = (1, 2)) as l;",
         nn.Conv2d(2, 3, (1, 3), stride=(2, 1), padding=(0, 2), dilation=(1, 2)))
    case("conv", "conv2d_stride", [3, 8, 8], "conv(5, kernel = 2, stride = 2) as l;", nn.Conv2d(3, 5, 2, stride=2))
    case("conv", "conv2d_grouped", [4, 5, 5], "conv(6, kernel = 3, padding = 1, groups = 2) as l;",
         nn.Conv2d(4, 6, 3, padding=1, groups=2))
    case("conv", "conv2d_depthwise", [4, 6, 5], "conv(8, kernel = 3, stride = 2, padding = 1, groups = 4, bias = false) as l;",
         nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=4, bias=False))
    case("conv", "conv2d_1x1", [5, 4, 4], "conv(3, kernel = 1) as l;", nn.Conv2d(5, 3, 1))
    case("conv", "conv2d_far_padding", [2, 3, 3], "conv(2, kernel = 2, padding = 3) as l;", nn.Conv2d(2, 2, 2, padding=3))
    case("conv", "conv3d", [2, 3, 4, 5], "conv(3, kernel = 3, padding = 1) as l;", nn.Conv3d(2, 3, 3, padding=1))
    case("conv", "conv3d_uneven", [4, 4, 5, 4], "conv(2, kernel = (1, 2, 3), stride = (1, 2, 1), padding = (0, 1, 2), groups = 2) as l;",
         nn.Conv3d(4, 2, (1, 2, 3), stride=(1, 2, 1), padding=(0, 1, 2), groups=2))

    case("linear", "linear", [6], "linear(4) as l;", nn.Linear(6, 4))
    case("linear", "linear_without_bias", [6], "linear(4, bias = false) as l;", nn.Linear(6, 4, bias=False))
    case("linear", "linear_on_rows", [2, 3, 5], "linear(5 -> 4) as l;", nn.Linear(5, 4))

    case("max_pool", "max_pool1d", [2, 7], "max_pool(2);", nn.MaxPool1d(2))
    case("max_pool", "max_pool2d", [2, 6, 6], "max_pool(2);", nn.MaxPool2d(2))
    case("max_pool", "max_pool2d_overlapping", [2, 6, 5], "max_pool(3, stride = 2, padding = 1);",
         nn.MaxPool2d(3, stride=2, padding=1))
    case("max_pool", "max_pool2d_ceil", [2, 6, 7], "max_pool(3, stride = 2, ceil_mode = true);",
         nn.MaxPool2d(3, stride=2, ceil_mode=True))
    case("max_pool", "max_pool2d_ceil_padding", [1, 5, 6], "max_pool((2, 3), stride = 2, padding = 1, ceil_mode = true);",
         nn.MaxPool2d((2, 3), stride=2, padding=1, ceil_mode=True))
    case("max_pool", "max_pool2d_dilated", [2, 6, 6], "max_pool(2, stride = 1, dilation = 3);",
         nn.MaxPool2d(2, stride=1, dilation=3))
    case("max_pool", "max_pool2d_dilated_padding", [1, 6, 5], "max_pool(2, stride = 2, padding = 1, dilation = 2);",
         nn.MaxPool2d(2, stride=2, padding=1, dilation=2))
    case("max_pool", "max_pool2d_ties", [1, 4, 4], "max_pool(2, stride = 1);", nn.MaxPool2d(2, stride=1),
         x=[float(i // 3 % 3) for i in range(32)])
    case("max_pool", "max_pool2d_below_zero", [1, 3, 3], "max_pool(3, stride = 1, padding = 1);",
         nn.MaxPool2d(3, stride=1, padding=1), x=[-1.0 - i for i in range(18)])
    nan = float("nan")
    case("max_pool", "max_pool2d_nan", [1, 3, 4], "max_pool(2, stride = 1);", nn.MaxPool2d(2, stride=1), batch=1,
         x=[1.0, 2.0, 5.0, 4.0, 3.0, nan, 1.0, 0.0, 2.0, 7.0, nan, 1.0])
    case("max_pool", "max_pool3d", [2, 3, 4, 5], "max_pool(2, stride = (1, 2, 1), padding = (1, 0, 1));",
         nn.MaxPool3d(2, stride=(1, 2, 1), padding=(1, 0, 1)))

    case("avg_pool", "avg_pool1d", [2, 7], "avg_pool(3, stride = 2, padding = 1);", nn.AvgPool1d(3, stride=2, padding=1))
    case("avg_pool", "avg_pool2d", [2, 6, 6], "avg_pool(2);", nn.AvgPool2d(2))
    case("avg_pool", "avg_pool2d_padding", [2, 5, 6], "avg_pool(3, stride = 2, padding = 1);",
         nn.AvgPool2d(3, stride=2, padding=1))
    case("avg_pool", "avg_pool2d_without_padding", [2, 5, 6], "avg_pool(3, stride = 2, padding = 1, count_include_pad = false);",
         nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False))
    case("avg_pool", "avg_pool2d_ceil", [1, 6, 6], "avg_pool((2, 3), stride = (3, 2), padding = (1, 1), ceil_mode = true);",
         nn.AvgPool2d((2, 3), stride=(3, 2), padding=(1, 1), ceil_mode=True))
    case("avg_pool", "avg_pool2d_ceil_without_padding", [2, 6, 7],
         "avg_pool(3, stride = 2, padding = 1, ceil_mode = true, count_include_pad = false);",
         nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True, count_include_pad=False))
    case("avg_pool", "avg_pool3d", [1, 3, 4, 5], "avg_pool(2, stride = (1, 2, 1), padding = (1, 0, 1));",
         nn.AvgPool3d(2, stride=(1, 2, 1), padding=(1, 0, 1)))

    case("batch_norm", "batch_norm_features", [5], "batch_norm as l;", nn.BatchNorm1d(5), batch=4)
    case("batch_norm", "batch_norm1d", [3, 4], "batch_norm(momentum = 0.3) as l;", nn.BatchNorm1d(3, momentum=0.3))
    case("batch_norm", "batch_norm2d", [3, 4, 2], "batch_norm(eps = 0.01) as l;", nn.BatchNorm2d(3, eps=0.01), batch=3)
    case("batch_norm", "batch_norm2d_not_affine", [2, 3, 3], "batch_norm(affine = false) as l;", nn.BatchNorm2d(2, affine=False))
    case("batch_norm", "batch_norm3d", [2, 2, 3, 2], "batch_norm as l;", nn.BatchNorm3d(2))
    case("batch_norm", "batch_norm2d_evaluated", [3, 4, 2], "batch_norm as l;", nn.BatchNorm2d(3), evaluate=True)
    case("batch_norm", "batch_norm_features_evaluated", [5], "batch_norm(affine = false, eps = 0.1) as l;",
         nn.BatchNorm1d(5, affine=False, eps=0.1), evaluate=True)

    case("dropout", "dropout", [4, 5], "dropout(0.3);", lambda x: F.dropout(x, 0.3))
    case("dropout", "dropout_evaluated", [4, 5], "dropout(0.3);", lambda x: F.dropout(x, 0.3, training=False), evaluate=True)
    case("channel_dropout", "dropout1d", [6, 4], "channel_dropout(0.4);", lambda x: F.dropout1d(x, 0.4))
    case("channel_dropout", "dropout2d", [6, 2, 3], "channel_dropout;", F.dropout2d)
    case("channel_dropout", "dropout3d", [6, 2, 1, 2], "channel_dropout(0.2);", lambda x: F.dropout3d(x, 0.2))
    case("channel_dropout", "dropout2d_evaluated", [4, 2, 3], "channel_dropout;", lambda x: F.dropout2d(x, training=False),
         evaluate=True)

    case("relu", "relu", [3, 4], "relu;", F.relu)
    case("relu", "relu_at_zero", [4], "relu;", F.relu, x=[0.0, -0.0, 1.0, -1.0, 0.0, 2.0, -2.0, 0.5])
    case("relu", "relu_nan", [3], "relu;", F.relu, batch=1, x=[nan, 1.0, -1.0])
    case("tanh", "tanh", [3, 4], "tanh;", torch.tanh)
    case("tanh", "tanh_far", [6], "tanh;", torch.tanh, x=[20.0, -20.0, 100.0, -100.0, 1e-6, -1e-6, 9.0, -9.0, 3.0, -3.0, 0.0, 1.0])
    case("tanh", "tanh_nan", [2], "tanh;", torch.tanh, batch=1, x=[nan, 1.0])
    case("sigmoid", "sigmoid", [3, 4], "sigmoid;", torch.sigmoid)
    case("sigmoid", "sigmoid_far", [4], "sigmoid;", torch.sigmoid, x=[30.0, -30.0, 100.0, -100.0, 1e-6, -1e-6, 9.0, -9.0])

    case("log_softmax", "log_softmax", [5], "log_softmax;", lambda x: F.log_softmax(x, 1))
    case("log_softmax", "log_softmax_of_channels", [3, 2, 4], "log_softmax;", lambda x: F.log_softmax(x, 1))
    case("log_softmax", "log_softmax_of_rows", [3, 2, 4], "log_softmax(dim = 2);", lambda x: F.log_softmax(x, 2))
    case("log_softmax", "log_softmax_of_columns", [3, 2, 4], "log_softmax(dim = 3);", lambda x: F.log_softmax(x, 3))
    case("log_softmax", "log_softmax_far", [3], "log_softmax;", lambda x: F.log_softmax(x, 1),
         x=[1000.0, 999.0, -1000.0, 88.0, 89.0, 90.0])

    case("view", "view", [2, 3, 4], "view(-1, 4, 6); max_pool(2);", lambda x: F.max_pool1d(x.view(-1, 4, 6), 2))
    case("flatten", "flatten", [2, 3, 4], "flatten;", lambda x: x.flatten(1))
    case("identity", "identity", [2, 3], "identity;", lambda x: x.clone())
    case("add", "add", [2, 3], "tanh as a; from v; sigmoid as b; add(a, b, a);", lambda x: 2 * torch.tanh(x) + torch.sigmoid(x))
    case("concat", "concat", [2, 3, 2], "tanh as a; from v; sigmoid as b; concat(b, a, b);",
         lambda x: torch.cat([torch.sigmoid(x), torch.tanh(x), torch.sigmoid(x)], 1))


# What is not finite

NONFINITE = File("nonfinite")

# What stands in one sample's value, by element; and in the target, so that the gradient that comes to the layer is not finite.
NAN, INF = float("nan"), float("inf")
SPOILT = {"nan": {1: NAN}, "inf": {2: INF}, "neg_inf": {2: -INF}, "infs": {0: -INF, 3: INF}}
SPOILT_TARGET = {0: INF, 1: NAN, 2: -INF}


def spoiling(numbers):
    def spoil(flat):
        for at, number in numbers.items():
            flat[at] = number

    return spoil


def nonfinite_case(layer, name, shape, statements, build, evaluate=False, file=NONFINITE):
    def case(what, **arguments):
        torch.manual_seed(len(file.cases))
        layer_case(layer, f"{name}_{what}", shape, statements, build(), batch=1, evaluate=evaluate, file=file, **arguments)

    for what, numbers in SPOILT.items():
        torch.manual_seed(len(file.cases))
        x = f32_values(torch.randn(torch.Size(shape).numel()))
        spoiling(numbers)(x)
        case(what, x=x.tolist())
    if not evaluate:
        case("grad", spoil=spoiling(SPOILT_TARGET))


def nonfinite():
    case = nonfinite_case
    case("conv", "conv", [2, 3, 4], "conv(2, kernel = 2) as l;", lambda: nn.Conv2d(2, 2, 2))
    case("conv", "conv_grouped", [2, 5], "conv(4, kernel = 3, groups = 2) as l;", lambda: nn.Conv1d(2, 4, 3, groups=2))
    case("linear", "linear", [4], "linear(3) as l;", lambda: nn.Linear(4, 3))
    case("max_pool", "max_pool", [2, 2, 4], "max_pool(2);", lambda: nn.MaxPool2d(2))
    case("max_pool", "max_pool_padded", [1, 3, 3], "max_pool(3, stride = 1, padding = 1);", lambda: nn.MaxPool2d(3, 1, 1))
    case("avg_pool", "avg_pool", [2, 2, 4], "avg_pool(2);", lambda: nn.AvgPool2d(2))
    case("avg_pool", "avg_pool_padded", [1, 3, 3], "avg_pool(2, stride = 1, padding = 1);", lambda: nn.AvgPool2d(2, 1, 1))
    case("batch_norm", "batch_norm", [2, 4], "batch_norm as l;", lambda: nn.BatchNorm1d(2))
    case("batch_norm", "batch_norm_evaluated", [2, 4], "batch_norm as l;", lambda: nn.BatchNorm1d(2), evaluate=True)
    case("dropout", "dropout", [6], "dropout;", lambda: F.dropout)
    case("channel_dropout", "channel_dropout", [4, 2], "channel_dropout;", lambda: F.dropout1d)
    case("relu", "relu", [6], "relu;", lambda: F.relu)
    case("tanh", "tanh", [6], "tanh;", lambda: torch.tanh)
    case("sigmoid", "sigmoid", [6], "sigmoid;", lambda: torch.sigmoid)
    case("log_softmax", "log_softmax", [5], "log_softmax;", lambda: lambda x: F.log_softmax(x, 1))
    case("log_softmax", "log_softmax_of_channels", [2, 3], "log_softmax;", lambda: lambda x: F.log_softmax(x, 1))
    case("view", "view", [2, 3], "view(-1, 3, 2);", lambda: lambda x: x.view(-1, 3, 2))
    case("flatten", "flatten", [2, 3], "flatten;", lambda: lambda x: x.flatten(1))
    case("identity", "identity", [5], "identity;", lambda: lambda x: x.clone())
    case("add", "add", [5], "relu as a; add(a, v);", lambda: lambda x: F.relu(x) + x)
    case("concat", "concat", [2, 2], "relu as a; concat(v, a);", lambda: lambda x: torch.cat([x, F.relu(x)], 1))


# Layers that move values or pool them

SPATIAL, NONFINITE_SPATIAL = File("layers_spatial"), File("nonfinite_spatial")


def gated(x):
    return torch.tanh(x) * torch.sigmoid(F.adaptive_avg_pool2d(x, 1))


class Padded(nn.Module):
    """A convolution behind zeros; its parameters are the convolution's."""

    def __init__(self, conv, padding):
        super().__init__()
        self.weight, self.bias, self.padding = conv.weight, conv.bias, padding
        self.stride = conv.stride

    def forward(self, x):
        return F.conv2d(F.pad(x, self.padding), self.weight, self.bias, self.stride)


def layers_spatial():
    def case(layer, name, shape, statements, run, **arguments):
        layer_case(layer, name, shape, statements, run, file=SPATIAL, **arguments)

    case("zero_pad", "zero_pad1d", [2, 4], "zero_pad((2, 1));", nn.ZeroPad1d((2, 1)))
    case("zero_pad", "zero_pad2d", [2, 3, 4], "zero_pad(2);", nn.ZeroPad2d(2))
    case("zero_pad", "zero_pad2d_uneven", [2, 3, 4], "zero_pad((1, 2, 3, 0));", nn.ZeroPad2d((1, 2, 3, 0)))
    case("zero_pad", "zero_pad3d", [1, 2, 3, 2], "zero_pad((1, 2, 0, 3, 2, 1));", nn.ZeroPad3d((1, 2, 0, 3, 2, 1)))
    case("zero_pad", "zero_pad2d_conv", [2, 5, 6], "zero_pad((0, 1, 0, 1)); conv(3, kernel = 2) as l;",
         Padded(nn.Conv2d(2, 3, 2), (0, 1, 0, 1)))
    case("zero_pad", "zero_pad2d_conv_even", [2, 5, 6], "zero_pad(1); conv(3, kernel = 3, stride = 2) as l;",
         Padded(nn.Conv2d(2, 3, 3, stride=2), (1, 1, 1, 1)))

    case("global_avg_pool", "global_avg_pool1d", [3, 7], "global_avg_pool;", nn.AdaptiveAvgPool1d(1))
    case("global_avg_pool", "global_avg_pool2d", [3, 4, 5], "global_avg_pool;", nn.AdaptiveAvgPool2d(1))
    case("global_avg_pool", "global_avg_pool3d", [2, 2, 3, 4], "global_avg_pool;", nn.AdaptiveAvgPool3d(1))
    case("global_max_pool", "global_max_pool1d", [3, 7], "global_max_pool;", nn.AdaptiveMaxPool1d(1))
    case("global_max_pool", "global_max_pool2d", [3, 4, 5], "global_max_pool;", nn.AdaptiveMaxPool2d(1))
    case("global_max_pool", "global_max_pool3d", [2, 2, 3, 4], "global_max_pool;", nn.AdaptiveMaxPool3d(1))
    case("adaptive_avg_pool", "adaptive_avg_pool1d", [2, 7], "adaptive_avg_pool(3);", nn.AdaptiveAvgPool1d(3))
    case("adaptive_avg_pool", "adaptive_avg_pool2d", [2, 7, 5], "adaptive_avg_pool((3, 4));", nn.AdaptiveAvgPool2d((3, 4)))
    case("adaptive_avg_pool", "adaptive_avg_pool2d_even", [2, 6, 4], "adaptive_avg_pool(2);", nn.AdaptiveAvgPool2d(2))
    case("adaptive_avg_pool", "adaptive_avg_pool2d_larger", [2, 3, 4], "adaptive_avg_pool((7, 2));", nn.AdaptiveAvgPool2d((7, 2)))
    case("adaptive_avg_pool", "adaptive_avg_pool3d", [1, 3, 4, 5], "adaptive_avg_pool((2, 3, 4));", nn.AdaptiveAvgPool3d((2, 3, 4)))

    case("upsample", "upsample1d_nearest", [2, 5], "upsample(2);", nn.Upsample(scale_factor=2))
    case("upsample", "upsample2d_nearest", [2, 3, 4], "upsample((2, 3));", nn.Upsample(scale_factor=(2, 3)))
    case("upsample", "upsample2d_nearest_size", [2, 3, 5], "upsample(size = (7, 3));", nn.Upsample(size=(7, 3)))
    case("upsample", "upsample3d_nearest", [1, 2, 3, 2], "upsample(2);", nn.Upsample(scale_factor=2))
    case("upsample", "upsample1d_linear", [2, 5], "upsample(3, mode = linear);", nn.Upsample(scale_factor=3, mode="linear"))
    case("upsample", "upsample1d_linear_corners", [2, 5], "upsample(size = 8, mode = linear, align_corners = true);",
         nn.Upsample(size=8, mode="linear", align_corners=True))
    case("upsample", "upsample2d_bilinear", [2, 3, 4], "upsample(2, mode = bilinear);", nn.Upsample(scale_factor=2, mode="bilinear"))
    case("upsample", "upsample2d_bilinear_smaller", [2, 7, 5], "upsample(size = (3, 2), mode = bilinear);",
         nn.Upsample(size=(3, 2), mode="bilinear"))
    case("upsample", "upsample2d_bilinear_one_axis", [2, 3, 4], "upsample((1, 3), mode = bilinear);",
         nn.Upsample(size=(3, 12), mode="bilinear"))
    case("upsample", "upsample2d_bilinear_corners", [2, 3, 4], "upsample(size = (5, 7), mode = bilinear, align_corners = true);",
         nn.Upsample(size=(5, 7), mode="bilinear", align_corners=True))
    case("upsample", "upsample2d_bilinear_corners_to_one", [2, 3, 4], "upsample(size = (1, 6), mode = bilinear, align_corners = true);",
         nn.Upsample(size=(1, 6), mode="bilinear", align_corners=True))
    case("upsample", "upsample3d_trilinear", [1, 2, 3, 2], "upsample(2, mode = trilinear);", nn.Upsample(scale_factor=2, mode="trilinear"))
    case("upsample", "upsample3d_trilinear_corners", [1, 2, 3, 2], "upsample(size = (3, 5, 4), mode = trilinear, align_corners = true);",
         nn.Upsample(size=(3, 5, 4), mode="trilinear", align_corners=True))

    case("narrow", "narrow_features", [7], "narrow(1, start = 2, length = 4);", lambda x: torch.narrow(x, 1, 2, 4))
    case("narrow", "narrow_channels", [5, 2, 3], "narrow(1, start = 1, length = 3);", lambda x: torch.narrow(x, 1, 1, 3))
    case("narrow", "narrow_lines", [2, 5, 3], "narrow(2, start = 3, length = 2);", lambda x: torch.narrow(x, 2, 3, 2))
    case("narrow", "narrow_columns", [2, 3, 5], "narrow(3, start = 0, length = 4);", lambda x: torch.narrow(x, 3, 0, 4))
    case("narrow", "narrow_of_five", [2, 1, 3, 2, 2], "narrow(3, start = 1, length = 2);", lambda x: torch.narrow(x, 3, 1, 2))
    case("permute", "permute_rows", [3, 4], "permute(0, 2, 1);", lambda x: x.permute(0, 2, 1))
    case("permute", "permute_map", [2, 3, 4], "permute(0, 2, 3, 1);", lambda x: x.permute(0, 2, 3, 1))
    case("permute", "permute_map_back", [2, 3, 4], "permute(0, 3, 1, 2);", lambda x: x.permute(0, 3, 1, 2))
    case("permute", "permute_volume", [2, 3, 2, 4], "permute(0, 4, 2, 1, 3);", lambda x: x.permute(0, 4, 2, 1, 3))
    case("channel_shuffle", "channel_shuffle_line", [6, 3], "channel_shuffle(2);", lambda x: F.channel_shuffle(x, 2))
    case("channel_shuffle", "channel_shuffle_map", [12, 2, 3], "channel_shuffle(3);", lambda x: F.channel_shuffle(x, 3))
    case("channel_shuffle", "channel_shuffle_volume", [8, 2, 1, 2], "channel_shuffle(4);", lambda x: F.channel_shuffle(x, 4))
    case("multiply", "multiply", [2, 3], "tanh as a; from v; sigmoid as b; multiply(a, b, a);",
         lambda x: torch.tanh(x) * torch.sigmoid(x) * torch.tanh(x))
    case("multiply", "multiply_by_channel", [4, 3, 2], "tanh as a; from v; global_avg_pool; sigmoid as gate; multiply(a, gate);", gated)
    case("multiply", "multiply_by_position", [4, 3, 2], "tanh as a; from v; narrow(1, start = 1, length = 1); sigmoid as gate; multiply(gate, a);",
         lambda x: torch.tanh(x) * torch.sigmoid(x[:, 1:2]))
    case("multiply", "multiply_by_line", [2, 3, 4], "tanh as a; from v; narrow(3, start = 2, length = 1) as line; multiply(a, line);",
         lambda x: torch.tanh(x) * x[:, :, :, 2:3])


def nonfinite_spatial():
    def case(layer, name, shape, statements, build):
        nonfinite_case(layer, name, shape, statements, build, file=NONFINITE_SPATIAL)

    case("zero_pad", "zero_pad", [1, 2, 3], "zero_pad((1, 0, 0, 2));", lambda: nn.ZeroPad2d((1, 0, 0, 2)))
    case("global_avg_pool", "global_avg_pool", [3, 2, 2], "global_avg_pool;", lambda: nn.AdaptiveAvgPool2d(1))
    case("global_max_pool", "global_max_pool", [3, 2, 2], "global_max_pool;", lambda: nn.AdaptiveMaxPool2d(1))
    case("adaptive_avg_pool", "adaptive_avg_pool", [2, 5], "adaptive_avg_pool(3);", lambda: nn.AdaptiveAvgPool1d(3))
    case("upsample", "upsample_nearest", [1, 2, 2], "upsample(2);", lambda: nn.Upsample(scale_factor=2))
    case("upsample", "upsample_linear", [2, 4], "upsample(2, mode = linear);", lambda: nn.Upsample(scale_factor=2, mode="linear"))
    case("upsample", "upsample_bilinear", [1, 2, 3], "upsample(2, mode = bilinear);", lambda: nn.Upsample(scale_factor=2, mode="bilinear"))
    case("upsample", "upsample_corners", [1, 2, 3], "upsample(size = (3, 5), mode = bilinear, align_corners = true);",
         lambda: nn.Upsample(size=(3, 5), mode="bilinear", align_corners=True))
    case("narrow", "narrow", [4, 2], "narrow(1, start = 0, length = 3);", lambda: lambda x: torch.narrow(x, 1, 0, 3))
    case("narrow", "narrow_lines", [1, 4], "narrow(2, start = 1, length = 3);", lambda: lambda x: torch.narrow(x, 2, 1, 3))
    case("permute", "permute", [2, 3], "permute(0, 2, 1);", lambda: lambda x: x.permute(0, 2, 1).contiguous())
    case("channel_shuffle", "channel_shuffle", [4, 2], "channel_shuffle(2);", lambda: lambda x: F.channel_shuffle(x, 2))
    case("multiply", "multiply", [5], "relu as a; multiply(a, v);", lambda: lambda x: F.relu(x) * x)
    case("multiply", "multiply_by_channel", [2, 2, 2], "relu as a; from v; global_avg_pool as gate; multiply(a, gate);",
         lambda: lambda x: F.relu(x) * F.adaptive_avg_pool2d(x, 1))
# Convolutions: groups, paddings, transposed ones

LAYERS_CONV, NONFINITE_CONV = File("layers_conv"), File("nonfinite_conv")


def layers_conv():
    def case(*arguments, **more):
        layer_case(*arguments, file=LAYERS_CONV, **more)

    def up(name, shape, statements, module):
        case("conv_transpose", f"conv_transpose{name}", shape, f"conv_transpose({statements}) as l;", module)

    case("conv", "conv1d_depthwise", [5, 7], "conv(5, kernel = 3, padding = 1, groups = 5) as l;", nn.Conv1d(5, 5, 3, padding=1, groups=5))
    case("conv", "conv2d_depthwise_stride", [3, 6, 5], "conv(3, kernel = 3, stride = 2, padding = 1, groups = 3, bias = false) as l;",
         nn.Conv2d(3, 3, 3, stride=2, padding=1, groups=3, bias=False))
    case("conv", "conv3d_depthwise", [2, 3, 4, 3], "conv(2, kernel = (1, 3, 2), padding = (0, 1, 1), groups = 2) as l;",
         nn.Conv3d(2, 2, (1, 3, 2), padding=(0, 1, 1), groups=2))
    case("conv", "conv2d_groups_of_8", [16, 3, 4], "conv(16, kernel = 2, groups = 2) as l;", nn.Conv2d(16, 16, 2, groups=2))
    case("conv", "conv1d_same", [2, 7], "conv(3, kernel = 5, padding = same) as l;", nn.Conv1d(2, 3, 5, padding="same"))
    case("conv", "conv2d_same_even", [2, 5, 4], "conv(3, kernel = (2, 4), padding = same) as l;", nn.Conv2d(2, 3, (2, 4), padding="same"))
    case("conv", "conv2d_same_dilated", [2, 5, 6], "conv(2, kernel = (3, 2), dilation = (2, 3), padding = same, groups = 2) as l;",
         nn.Conv2d(2, 2, (3, 2), dilation=(2, 3), padding="same", groups=2))
    case("conv", "conv3d_same", [1, 3, 2, 3], "conv(2, kernel = 2, padding = same) as l;", nn.Conv3d(1, 2, 2, padding="same"))
    case("conv", "conv2d_valid", [2, 4, 4], "conv(2, kernel = 3, stride = 2, padding = valid) as l;",
         nn.Conv2d(2, 2, 3, stride=2, padding="valid"))
    up("1d", [3, 5], "2, kernel = 3", nn.ConvTranspose1d(3, 2, 3))
    up("1d_stride", [2, 4], "3, kernel = 4, stride = 3, padding = 1, output_padding = 2, bias = false",
       nn.ConvTranspose1d(2, 3, 4, stride=3, padding=1, output_padding=2, bias=False))
    up("2d", [3, 3, 4], "2, kernel = 2, stride = 2", nn.ConvTranspose2d(3, 2, 2, stride=2))
    up("2d_uneven", [2, 3, 4], "3, kernel = (3, 2), stride = (2, 1), padding = (1, 0), output_padding = (1, 0), dilation = (1, 2)",
       nn.ConvTranspose2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 0), output_padding=(1, 0), dilation=(1, 2)))
    up("2d_far_output_padding", [2, 3, 3], "2, kernel = 2, dilation = 3, output_padding = 2",
       nn.ConvTranspose2d(2, 2, 2, dilation=3, output_padding=2))
    up("2d_far_padding", [2, 4, 4], "2, kernel = 2, stride = 2, padding = 2", nn.ConvTranspose2d(2, 2, 2, stride=2, padding=2))
    up("2d_grouped", [4, 3, 3], "6, kernel = 3, stride = 2, padding = 1, output_padding = 1, groups = 2",
       nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2))
    up("2d_depthwise", [3, 3, 4], "3, kernel = 4, stride = 2, padding = 1, groups = 3", nn.ConvTranspose2d(3, 3, 4, 2, 1, groups=3))
    up("3d", [2, 2, 3, 2], "1, kernel = (1, 2, 2), stride = (1, 2, 1)", nn.ConvTranspose3d(2, 1, (1, 2, 2), stride=(1, 2, 1)))


def nonfinite_conv():
    def case(*arguments):
        nonfinite_case(*arguments, file=NONFINITE_CONV)

    case("conv", "conv_depthwise", [3, 4], "conv(3, kernel = 3, groups = 3) as l;", lambda: nn.Conv1d(3, 3, 3, groups=3))
    case("conv", "conv_same", [2, 5], "conv(2, kernel = 2, padding = same) as l;", lambda: nn.Conv1d(2, 2, 2, padding="same"))
    case("conv_transpose", "conv_transpose", [2, 2, 3], "conv_transpose(2, kernel = 3, stride = 2) as l;",
         lambda: nn.ConvTranspose2d(2, 2, 3, stride=2))


# Losses: `output`, `target`, and of the batch's mean loss `loss` and its `gradient` by the output. The cases of tests/tests/losses.rs,
# which has the same numbers; `cases` lists none, for there are no layers.

LOSSES = File("losses")
CLASS_WEIGHTS = [0.5, 2.0, 0.0, 1.25]


def loss_case(name, output, target, loss):
    y = f32_values(output).requires_grad_()
    value = loss(y, target)
    value.backward()
    parts = {"output": y, "target": target, "loss": value.reshape(1), "gradient": y.grad}
    for part, tensor in parts.items():
        LOSSES.tensors[f"{name}/{part}"] = tensor.detach().to(torch.float32).contiguous().clone()


def losses():
    weights = torch.tensor(CLASS_WEIGHTS)
    label_losses = {
        "cross_entropy": nn.CrossEntropyLoss(),
        "cross_entropy_smoothed": nn.CrossEntropyLoss(label_smoothing=0.25),
        "cross_entropy_weighted": nn.CrossEntropyLoss(weight=weights),
        "cross_entropy_both": nn.CrossEntropyLoss(weight=weights, label_smoothing=0.25),
        "nll": lambda y, t: nn.NLLLoss()(F.log_softmax(y, 1), t),
        "nll_weighted": lambda y, t: nn.NLLLoss(weight=weights)(F.log_softmax(y, 1), t),
    }
    for name, loss in label_losses.items():
        labels = torch.tensor([0, 3, 1, 1, 2, 3])
        loss_case(name, 3 * torch.randn(6, 4), labels, loss)
        loss_case(f"{name}_of_map", 3 * torch.randn(6, 4, 2, 3), torch.randint(0, 4, (6, 2, 3)), loss)
    value_losses = {
        "mse": nn.MSELoss(),
        "l1": nn.L1Loss(),
        "smooth_l1": nn.SmoothL1Loss(beta=0.75),
        "smooth_l1_of_zero": nn.SmoothL1Loss(beta=0.0),
        "huber": nn.HuberLoss(delta=1.5),
    }
    for name, loss in value_losses.items():
        y, target = torch.randn(6, 4, 2, 3), f32_values(torch.randn(6, 4, 2, 3))
        # Where they are equal, L1 has no derivative.
        y[0, 0] = target[0, 0]
        loss_case(name, y, target, loss)
    parts = f32_values(torch.rand(6, 4, 2, 3))
    parts[1], parts[2] = 0.0, 1.0
    loss_case("bce_with_logits", 4 * torch.randn(6, 4, 2, 3), parts, nn.BCEWithLogitsLoss())
    loss_case("bce_with_logits_weighted", 4 * torch.randn(6, 4, 2, 3), parts, nn.BCEWithLogitsLoss(pos_weight=torch.tensor(2.5)))
    each = torch.tensor([0.5, 2.0, 1.0, 3.0])
    far = torch.tensor([[200.0, -200.0, 30.0, -30.0]]).repeat(6, 1) * torch.randn(6, 1)
    loss_case("bce_with_logits_each", 4 * torch.randn(6, 4), parts[:, :, 0, 0], nn.BCEWithLogitsLoss(pos_weight=each))
    loss_case("bce_with_logits_far", far, parts[:, :, 0, 0].round(), nn.BCEWithLogitsLoss())

    # Two outputs, next to each other in `output`, with one target.
    def both(y, target):
        return nn.CrossEntropyLoss()(y[:, :4], target) + 0.3 * nn.CrossEntropyLoss(weight=weights)(y[:, 4:], target)

    loss_case("several", torch.randn(6, 8), torch.tensor([0, 3, 1, 1, 2, 3]), both)


# Activations, and norms of one sample


def layers_activations(file, case):
    def act(layer, name, statements, run, shape=(2, 3, 2), **arguments):
        case(layer, name, list(shape), statements, run, file=file, **arguments)

    # Values on both sides of every bend, and on it.
    bends = [-30.0, -6.0, -3.0, -2.0, -1.0, -0.5, 0.0, 0.25, 1.0, 2.0, 3.0, 4.0, 6.0, 7.0, 20.0, 30.0]

    def both(layer, name, statements, run):
        act(layer, name, statements, run)
        act(layer, f"{name}_bends", statements, run, shape=(16,), batch=1, x=bends)

    both("leaky_relu", "leaky_relu", "leaky_relu;", F.leaky_relu)
    both("leaky_relu", "leaky_relu_steep", "leaky_relu(negative_slope = 0.25);", lambda x: F.leaky_relu(x, 0.25))
    both("elu", "elu", "elu;", F.elu)
    both("elu", "elu_flat", "elu(alpha = 0.5);", lambda x: F.elu(x, 0.5))
    both("gelu", "gelu", "gelu;", F.gelu)
    both("gelu", "gelu_tanh", "gelu(approximate = tanh);", lambda x: F.gelu(x, approximate="tanh"))
    both("silu", "silu", "silu;", F.silu)
    both("hardtanh", "hardtanh", "hardtanh;", F.hardtanh)
    both("hardtanh", "hardtanh_of_two", "hardtanh(min = -2, max = 0.25);", lambda x: F.hardtanh(x, -2.0, 0.25))
    both("relu6", "relu6", "relu6;", F.relu6)
    both("hardswish", "hardswish", "hardswish;", F.hardswish)
    both("hardsigmoid", "hardsigmoid", "hardsigmoid;", F.hardsigmoid)
    both("softplus", "softplus", "softplus;", F.softplus)
    both("softplus", "softplus_sharp", "softplus(beta = 2.5);", lambda x: F.softplus(x, beta=2.5))
    both("softplus", "softplus_line", "softplus(beta = 2, threshold = 1);", lambda x: F.softplus(x, beta=2, threshold=1))
    act("softmax", "softmax", "softmax;", lambda x: F.softmax(x, 1), shape=(5,))
    act("softmax", "softmax_of_channels", "softmax;", lambda x: F.softmax(x, 1))
    act("softmax", "softmax_last", "softmax(dim = 3);", lambda x: F.softmax(x, 3))


def layers_norms(file, case):
    def norm(layer, name, shape, arguments, build, **others):
        case(layer, name, shape, f"{layer}({arguments}) as l;", build, file=file, **others)

    norm("layer_norm", "layer_norm_flat", [7], "", nn.LayerNorm(7))
    norm("layer_norm", "layer_norm_all", [2, 3, 4], "eps = 0.01", nn.LayerNorm([2, 3, 4], eps=0.01))
    norm("layer_norm", "layer_norm_last", [3, 5], "dims = 1", nn.LayerNorm(5))
    norm("layer_norm", "layer_norm_last_two", [3, 2, 4], "2, affine = false", nn.LayerNorm([2, 4], elementwise_affine=False))
    norm("layer_norm", "layer_norm_plain", [3, 2, 4], "affine = false", nn.LayerNorm([3, 2, 4], elementwise_affine=False))
    norm("group_norm", "group_norm_of_two", [4, 3, 2], "2", nn.GroupNorm(2, 4))
    norm("group_norm", "group_norm_of_one", [3, 2, 2, 2], "1, eps = 0.1", nn.GroupNorm(1, 3, eps=0.1))
    norm("group_norm", "group_norm_each", [3, 5], "3", nn.GroupNorm(3, 3))
    norm("group_norm", "group_norm_features", [6], "2", nn.GroupNorm(2, 6))
    norm("group_norm", "group_norm_plain", [4, 3], "2, affine = false", nn.GroupNorm(2, 4, affine=False))
    norm("instance_norm", "instance_norm1d", [3, 4], "", nn.InstanceNorm1d(3))
    norm("instance_norm", "instance_norm2d", [3, 4, 2], "affine = true", nn.InstanceNorm2d(3, affine=True))
    norm("instance_norm", "instance_norm3d", [2, 2, 3, 2], "eps = 0.01, affine = true", nn.InstanceNorm3d(2, eps=0.01, affine=True))


def nonfinite_activations(case):
    # PyTorch's vectors and the elements behind the last of them differ in what they make of NaN: 16 are vectors on any machine.
    for layer, statements, run in [
        ("leaky_relu", "leaky_relu;", F.leaky_relu),
        ("elu", "elu;", F.elu),
        ("gelu", "gelu;", F.gelu),
        ("gelu", "gelu(approximate = tanh);", lambda x: F.gelu(x, approximate="tanh")),
        ("silu", "silu;", F.silu),
        ("hardtanh", "hardtanh;", F.hardtanh),
        ("relu6", "relu6;", F.relu6),
        ("hardswish", "hardswish;", F.hardswish),
        ("hardsigmoid", "hardsigmoid;", F.hardsigmoid),
        ("softplus", "softplus;", F.softplus),
        ("softplus", "softplus(threshold = 1);", lambda x: F.softplus(x, threshold=1)),
    ]:
        name = layer + ("" if statements == f"{layer};" else "_other")
        case(layer, name, [16], statements, lambda run=run: run)
    case("softmax", "softmax", [5], "softmax;", lambda: lambda x: F.softmax(x, 1))
    case("softmax", "softmax_of_channels", [2, 3], "softmax;", lambda: lambda x: F.softmax(x, 1))


def nonfinite_norms(case):
    case("layer_norm", "layer_norm", [2, 3], "layer_norm(dims = 1) as l;", lambda: nn.LayerNorm(3))
    case("layer_norm", "layer_norm_all", [2, 3], "layer_norm as l;", lambda: nn.LayerNorm([2, 3]))
    case("group_norm", "group_norm", [4, 3], "group_norm(2) as l;", lambda: nn.GroupNorm(2, 4))
    case("instance_norm", "instance_norm", [2, 3], "instance_norm(affine = true) as l;", lambda: nn.InstanceNorm1d(2, affine=True))


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
