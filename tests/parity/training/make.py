#!/usr/bin/env python3
"""Writes `optimizers.safetensors` beside this file: what PyTorch's optimizers, schedules, penalties and clipping make of one small model.

    pip install torch safetensors numpy
    python tests/parity/training/make.py

The model is `linear(8) as fc1; tanh; linear(3) as fc2;` of six inputs, with cross-entropy. Everything is computed in f64 from weights and
inputs that f32 can hold. The figures there now are PyTorch 2.15.0's.

`input` and `label` are 20 batches of 4 samples, `param.NAME` the weights before the first step. `CASE/NAME` are the weights after 20 steps, one
a batch, and `CASE/loss` the mean loss of each batch before its step, with the penalty. With accumulation a step takes several batches, in
groups of 4 and, of the last two of six, 2; then a loss is still a batch's own. `rates/NAME` are the learning rates of 24 steps, in f64.
"""

import pathlib

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler as schedules

HERE = pathlib.Path(__file__).parent
BATCHES, SAMPLES = 20, 4
torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
torch.manual_seed(0)
TENSORS = {}


def f32_values(tensor):
    """The nearest values that f32 holds, in f64."""
    return tensor.detach().to(torch.float32).to(torch.float64)


def store(name, tensor):
    TENSORS[name] = tensor.detach().to(torch.float32).contiguous().clone()


INPUT = f32_values(torch.randn(BATCHES, SAMPLES, 6))
LABEL = torch.randint(0, 3, (BATCHES, SAMPLES))
START = nn.Sequential()
START.add_module("fc1", nn.Linear(6, 8))
START.add_module("tanh", nn.Tanh())
START.add_module("fc2", nn.Linear(8, 3))
for parameter in START.parameters():
    parameter.data = f32_values(parameter)
STATE = {name: tensor.clone() for name, tensor in START.state_dict().items()}


def fresh():
    net = nn.Sequential()
    net.add_module("fc1", nn.Linear(6, 8))
    net.add_module("tanh", nn.Tanh())
    net.add_module("fc2", nn.Linear(8, 3))
    net.load_state_dict(STATE)
    return net


def case(name, optimizer, penalty=None, clip=None, freeze=(), schedule=None, groups=None):
    """`groups`: how many batches each step takes; one, without."""
    net = fresh()
    for frozen in freeze:
        for parameter in getattr(net, frozen).parameters():
            parameter.requires_grad = False
    steps = optimizer([parameter for parameter in net.parameters() if parameter.requires_grad])
    rates = schedule(steps) if schedule else None
    losses, batch = [], 0
    for group in groups or [1] * BATCHES:
        steps.zero_grad()
        for _ in range(group):
            loss = F.cross_entropy(net(INPUT[batch]), LABEL[batch])
            if penalty:
                loss = loss + penalty(net)
            losses.append(loss.detach())
            (loss / group).backward()
            batch += 1
        if clip:
            clip(net.parameters())
        steps.step()
        if rates:
            rates.step()
    for parameter, tensor in net.named_parameters():
        store(f"{name}/{parameter}", tensor)
    store(f"{name}/loss", torch.stack(losses))


def l1(net, factor, names=None):
    return factor * sum(p.abs().sum() for n, p in net.named_parameters() if names is None or n in names)


def l2(net, factor, names=None):
    return factor * sum(p.pow(2).sum() for n, p in net.named_parameters() if names is None or n in names)


def rates(name, schedule, steps=24, lr=0.1):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr)
    course = schedule(optimizer)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        course.step()
    TENSORS[f"rates/{name}"] = torch.tensor(found)


O = torch.optim
store("input", INPUT)
TENSORS["label"] = LABEL
for name, tensor in STATE.items():
    store(f"param.{name}", tensor)

case("sgd", lambda p: O.SGD(p, 0.1))
case("sgd_momentum", lambda p: O.SGD(p, 0.1, momentum=0.9, dampening=0.1, weight_decay=0.01))
case("sgd_nesterov", lambda p: O.SGD(p, 0.1, momentum=0.9, nesterov=True))
case("adam", lambda p: O.Adam(p, 0.01, betas=(0.8, 0.99), weight_decay=0.01))
case("adamw", lambda p: O.AdamW(p, 0.01))
case("adamw_decay", lambda p: O.AdamW(p, 0.02, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.5))
case("rmsprop", lambda p: O.RMSprop(p, 0.01))
case("rmsprop_momentum", lambda p: O.RMSprop(p, 0.01, alpha=0.9, eps=1e-6, momentum=0.8, weight_decay=0.01))
case("rmsprop_centered", lambda p: O.RMSprop(p, 0.01, alpha=0.9, centered=True))
case("rmsprop_all", lambda p: O.RMSprop(p, 0.01, alpha=0.9, momentum=0.8, centered=True, weight_decay=0.01))

SGD = lambda p: O.SGD(p, 0.1)  # noqa: E731
case("l1", SGD, penalty=lambda net: l1(net, 0.01))
case("l2", SGD, penalty=lambda net: l2(net, 0.02))
case("l2_weights", SGD, penalty=lambda net: l2(net, 0.02, ("fc1.weight", "fc2.weight")))
case("l2_fc1", SGD, penalty=lambda net: l2(net, 0.02, ("fc1.weight", "fc1.bias")))
case("elastic", SGD, penalty=lambda net: l1(net, 0.01) + l2(net, 0.02))
case("clip_norm", SGD, clip=lambda p: nn.utils.clip_grad_norm_(p, 0.5))
case("clip_value", SGD, clip=lambda p: nn.utils.clip_grad_value_(p, 0.05))
case("freeze", lambda p: O.Adam(p, 0.01, weight_decay=0.1), freeze=["fc1"], clip=lambda p: nn.utils.clip_grad_norm_(p, 0.3))
case("accumulate", lambda p: O.SGD(p, 0.1, momentum=0.9), penalty=lambda net: l2(net, 0.02), groups=[4, 2, 4, 4, 4, 2])
case(
    "all",
    lambda p: O.AdamW(p, 0.02),
    penalty=lambda net: l1(net, 0.001),
    clip=lambda p: nn.utils.clip_grad_norm_(p, 0.5),
    schedule=lambda o: schedules.SequentialLR(
        o, [schedules.LinearLR(o, 0.1, total_iters=5), schedules.CosineAnnealingLR(o, 15, 0.001)], [5]
    ),
)

rates("step", lambda o: schedules.StepLR(o, 5, 0.3))
rates("exponential", lambda o: schedules.ExponentialLR(o, 0.9))
rates("cosine", lambda o: schedules.CosineAnnealingLR(o, 24, 0.01))
rates("cosine_again", lambda o: schedules.CosineAnnealingLR(o, 8))
rates("one_cycle", lambda o: schedules.OneCycleLR(o, 0.1, total_steps=25, cycle_momentum=False))
rates(
    "one_cycle_slow",
    lambda o: schedules.OneCycleLR(
        o, 0.1, total_steps=25, pct_start=0.55, div_factor=5, final_div_factor=100, cycle_momentum=False
    ),
)
rates(
    "warm_up",
    lambda o: schedules.SequentialLR(o, [schedules.LinearLR(o, 0.2, total_iters=6), schedules.StepLR(o, 4, 0.5)], [6]),
)

save_file(TENSORS, HERE / "optimizers.safetensors")
path = HERE / "optimizers.safetensors"
path.chmod(0o644)
print(f"PyTorch {torch.__version__}: {len(TENSORS)} tensors, {path.stat().st_size:,} bytes")
