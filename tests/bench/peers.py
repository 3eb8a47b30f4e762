"""How netspec compares with PyTorch and others: both train and infer the same models, in turns, and the ratio is told.

    cargo build --release --bin netspec-bench
    python tests/bench/peers.py

It builds nothing. It needs PyTorch (`torch`); with `--compile` also a C++ compiler, with `--onnx` also the packages
`onnx`, `onnxscript` and `onnxruntime`, with `--burn` and `--candle` what `cargo build --release` makes in
`tests/bench/burn` and in `tests/bench/candle`.

With `--device cuda` both run on the first graphics card, and what is told is images a second by the wall's clock: a data set of
eight batches lies on the card, calls follow each other without waiting, and one wait ends them. PyTorch's is eager, and the
same step captured as one CUDA graph, with cuDNN's choice by trial; its images are channels last in `--precision tf32` and
`bf16`, which is autocast's.

Of processors: one thread each, processor time of the process, random input made before the clock, ten calls to warm up; a training
step is forward, loss, backward, update. A round is a process of ours and one of each peer's, one behind the other, so
that what slows the machine slows both; the figure is the median of the rounds' ratios. A round whose probe of the
processor's peak, before or behind any process, is under 95 % of the best of all is measured again. Of a batch of 1
the times of calls are told too, the first one apart.
"""

import argparse
import datetime
import importlib.metadata
import importlib.util
import itertools
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Parameters of each model, as `netc summary` tells them.
PARAMETERS = {
    "net": 18_090,
    "width": 38_386,
    "batch_norm": 38_482,
    "res": 16_130,
    "res_deep_10": 159_330,
    "res_deep_100": 994_530,
    "lenet_mnist": 431_080,
    "fully_connected": 3_737_474,
    "resnet18_cifar": 11_173_962,
}
CRATES = ("burn", "candle")
OF_CRATES = ("net", "res_deep_10")
WARM_UP = 10
# Calls of one image whose times are told, if they take no longer than so many rounds: as in netspec-bench.
CALLS = 10_000
MOST_ROUNDS = 4
STEADY = 0.95
TRIES = 4


# --- A child: one measurement of a peer that runs in Python.


def model(name):
    """The model of the spec of this name, and the shape of its input."""
    import torch.nn.functional as F
    from torch import nn

    def conv3(inputs, outputs, **more):
        return nn.Conv2d(inputs, outputs, 3, padding=1, **more)

    class ResBlock(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.conv, self.batch_norm = conv3(n, n, bias=False), nn.BatchNorm2d(n)

        def forward(self, x):
            return F.relu(self.batch_norm(self.conv(x))) + x

    class Res(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.conv2, self.conv3 = conv3(3, 32), conv3(32, 16), conv3(16, 16)
            self.fc1, self.fc2 = nn.Linear(4 * 4 * 16, 32), nn.Linear(32, 2)

        def forward(self, x):
            x = F.max_pool2d(F.relu(self.conv1(x)), 2)
            x = F.max_pool2d(F.relu(self.conv2(x)), 2)
            x = F.max_pool2d(F.relu(self.conv3(x)) + x, 2)
            return self.fc2(F.relu(self.fc1(x.flatten(1))))

    class Basic(nn.Module):
        def __init__(self, inputs, n, stride):
            super().__init__()
            self.conv1, self.bn1 = conv3(inputs, n, stride=stride, bias=False), nn.BatchNorm2d(n)
            self.conv2, self.bn2 = conv3(n, n, bias=False), nn.BatchNorm2d(n)
            projection = nn.Sequential(nn.Conv2d(inputs, n, 1, stride=stride, bias=False), nn.BatchNorm2d(n))
            self.project = projection if stride > 1 else nn.Identity()

        def forward(self, x):
            y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
            return F.relu(y + self.project(x))

    def tanh_net(first, second, norm):
        return nn.Sequential(
            conv3(3, first), norm(first), nn.Tanh(), nn.MaxPool2d(2),
            conv3(first, second), norm(second), nn.Tanh(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(8 * 8 * second, 32), nn.Tanh(), nn.Linear(32, 2),
        )  # fmt: skip

    def res_deep(blocks):
        return nn.Sequential(
            conv3(3, 32), nn.ReLU(), nn.MaxPool2d(2), *(ResBlock(32) for _ in range(blocks)), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(8 * 8 * 32, 32), nn.ReLU(), nn.Linear(32, 2),
        )  # fmt: skip

    def resnet18():
        stages = [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)]
        blocks = [block for inputs, n, stride in stages for block in (Basic(inputs, n, stride), Basic(n, n, 1))]
        stem = [conv3(3, 64, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
        return nn.Sequential(*stem, *blocks, nn.AvgPool2d(4), nn.Flatten(), nn.Linear(512, 10))

    def no_norm(_):
        return nn.Identity()

    made = {
        "net": lambda: tanh_net(16, 8, no_norm),
        "width": lambda: tanh_net(32, 16, no_norm),
        "batch_norm": lambda: tanh_net(32, 16, nn.BatchNorm2d),
        "res": Res,
        "res_deep_10": lambda: res_deep(10),
        "res_deep_100": lambda: res_deep(100),
        "lenet_mnist": lambda: nn.Sequential(
            nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10),
        ),
        "fully_connected": lambda: nn.Sequential(
            nn.Flatten(), nn.Linear(3072, 1024), nn.Tanh(), nn.Linear(1024, 512), nn.Tanh(),
            nn.Linear(512, 128), nn.Tanh(), nn.Linear(128, 2),
        ),
        "resnet18_cifar": resnet18,
    }[name]()  # fmt: skip
    found = sum(parameter.numel() for parameter in made.parameters())
    assert found == PARAMETERS[name], f"{name} has {found} parameters, not {PARAMETERS[name]}"
    return made, (1, 28, 28) if name == "lenet_mnist" else (3, 32, 32)


def onnx_call(net, images):
    """A call of ONNX Runtime's inference."""
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/model.onnx"
        torch.onnx.export(net, (images,), file, input_names=["image"], dynamo=True, verbose=False)
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    images = {session.get_inputs()[0].name: images.numpy()}
    return lambda: session.run(None, images)


def torch_call(peer, name, training, batch):
    """A call of a model's step or inference."""
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(1)
    torch.manual_seed(0)
    net, shape = model(name)
    images = torch.rand(batch, *shape) * 2 - 1
    net.train(training)
    if peer == "onnx":
        return onnx_call(net, images)
    run = torch.compile(net) if peer == "compile" else net
    if not training:

        def infer():
            with torch.inference_mode():
                return run(images)

        return infer
    classes = run(images).shape[1]
    labels = torch.arange(batch) % classes
    sgd = torch.optim.SGD(net.parameters(), lr=1e-3)

    def step():
        sgd.zero_grad()
        loss = F.cross_entropy(run(images), labels)
        loss.backward()
        sgd.step()

    return step


def card_call(peer, name, pass_, batch, precision):
    """A call of a model's step or inference on a card, and what waits for it. Each takes the next of eight batches that lie there."""
    import torch
    import torch.nn.functional as F

    # Each model is compiled anew: what is known of those before counts to a limit.
    torch._dynamo.reset()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(0)
    net, shape = model(name)
    layout = torch.contiguous_format if precision == "f32" else torch.channels_last
    net = net.cuda().to(memory_format=layout).train(pass_ == "train")
    images = (torch.rand(8, batch, *shape, device="cuda") * 2 - 1).unbind()
    images = [image.contiguous(memory_format=layout) for image in images]
    run = torch.compile(net) if peer == "compile" else net
    sgd = torch.optim.SGD(net.parameters(), lr=1e-3)
    labels = torch.arange(batch, device="cuda") % net(images[0]).shape[1]

    def scores(image):
        # What it has rounded is rounded again in each step, in which it has changed.
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16", cache_enabled=peer != "graph"):
            return run(image)

    def infer(image):
        with torch.inference_mode():
            return scores(image)

    def step(image):
        sgd.zero_grad()
        F.cross_entropy(scores(image).float(), labels).backward()
        sgd.step()

    one, turn = step if pass_ == "train" else infer, itertools.cycle(images)
    if peer == "graph":
        fed, graph, stream = images[0].clone(), torch.cuda.CUDAGraph(), torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                one(fed)
        torch.cuda.current_stream().wait_stream(stream)
        with torch.cuda.graph(graph):
            one(fed)

        def replay(image):
            fed.copy_(image)
            graph.replay()

        return lambda: replay(next(turn)), torch.cuda.synchronize
    return lambda: one(next(turn)), torch.cuda.synchronize


def calls_a_second(call, wait, seconds):
    """As netspec-bench takes them."""
    for _ in range(WARM_UP):
        call()
    wait()
    calls = 1
    while True:
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        wait()
        took = time.perf_counter() - begin
        if took >= seconds:
            return calls / took
        calls = min(max(int(1.1 * seconds / took * calls), calls + 1), 10 * calls)


def child(peer, name, pass_, batch, seconds):
    call = torch_call(peer, name, pass_ == "train", batch)
    clock = time.process_time

    def timed():
        begin = clock()
        call()
        return clock() - begin

    if batch == 1:
        first, times, end = timed(), [], time.monotonic() + MOST_ROUNDS * seconds
        while not times or (len(times) < CALLS and time.monotonic() < end):
            times.append(timed())
        rate, calls = len(times) / sum(times), len(times)
        times.sort()
        percentile = {f"p{percent}": times[(calls - 1) * percent // 100] * 1e6 for percent in (50, 99)}
        print(json.dumps({
            "images_per_cpu_second": rate, "calls": calls,
            "microseconds": {**percentile, "first": first * 1e6, "calls": calls},
        }))  # fmt: skip
        return
    for _ in range(WARM_UP):
        call()
    begin, calls = clock(), 0
    while clock() - begin < seconds:
        call()
        calls += 1
    print(json.dumps({"images_per_cpu_second": calls * batch / (clock() - begin), "calls": calls}))


# --- The parent: rounds of ours and of the peers.


def output(command):
    """The last line that a process prints."""
    ones = {f"{what}_NUM_THREADS": "1" for what in ("OMP", "MKL", "OPENBLAS", "RAYON")}
    ones["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **ones}, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr}")
    return done.stdout.splitlines()[-1]


class Bench:
    """Rounds on the processor."""

    unit = "images_per_cpu_second"

    def __init__(self, options):
        self.options, self.best_probe = options, 0.0
        self.target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))

    def ours(self):
        return self.options.bench or self.target / "release" / "netspec-bench"

    def crate(self, peer):
        """Where the program of a crate of ours that uses another library is."""
        given = getattr(self.options, peer)
        return Path(given) if given else ROOT / "tests/bench" / peer / "target/release" / f"{peer}-peer"

    def probe(self):
        probe = float(output([self.ours(), "--probe"]))
        self.best_probe = max(self.best_probe, probe)
        return probe

    def measure(self, peer, name, pass_, batch):
        seconds = str(self.options.seconds)
        if peer == "netspec":
            command = [self.ours(), "--one", name, f"--{pass_}", "--batch", str(batch), "--seconds", seconds]
        elif peer in CRATES:
            command = [self.crate(peer), name, pass_, str(batch), seconds]
        else:
            command = [sys.executable, __file__, "--child", peer, name, pass_, str(batch), seconds]
        return json.loads(output(command))

    def round(self, peers, name, pass_, batch):
        """One measurement of each, with the least probe before, between and behind them."""
        probes, samples = [self.probe()], {}
        for peer in peers:
            samples[peer] = self.measure(peer, name, pass_, batch)
            probes.append(self.probe())
        return {"probe": min(probes), "load": os.getloadavg()[0], "samples": samples}

    def rounds(self, peers, name, pass_, batch):
        """Rounds until enough were steady; when that does not come, those with the best probes."""
        count, rounds = self.options.rounds, []
        while len(rounds) < TRIES * count:
            if sum(of["probe"] >= STEADY * self.best_probe for of in rounds) == count:
                break
            rounds.append(self.round(peers, name, pass_, batch))
        return sorted(rounds, key=lambda of: -of["probe"])[:count], len(rounds)

    def figure(self, name, pass_, batch):
        peers = ["netspec", *peers_of(self.options, name, pass_)]
        rounds, tries = self.rounds(peers, name, pass_, batch)
        rates = {peer: [of["samples"][peer][self.unit] for of in rounds] for peer in peers}
        figure = {"model": name, "pass": pass_, "batch": batch, "tries": tries, "rounds": rounds, "peers": {}}
        for peer in peers:
            ratios = [ours / theirs for ours, theirs in zip(rates["netspec"], rates[peer], strict=True)]
            figure["peers"][peer] = {
                "best": max(rates[peer]), "median": statistics.median(rates[peer]),
                "ratio": statistics.median(ratios), "ratios": ratios,
            }  # fmt: skip
        return figure


class CardBench(Bench):
    """Rounds on a card: ours in a process, PyTorch's in this one."""

    unit = "images_per_second"

    def probe(self):
        return 0.0

    def measure(self, peer, name, pass_, batch):
        options = self.options
        if peer == "netspec":
            command = [self.ours(), "--device", "cuda", "--precision", options.precision, "--one", name, f"--{pass_}"]
            return json.loads(output([*command, "--batch", str(batch), "--seconds", str(options.seconds)]))
        call, wait = card_call(peer, name, pass_, batch, options.precision)
        return {self.unit: batch * calls_a_second(call, wait, options.seconds)}


def peers_of(options, name, pass_):
    asked = [
        ("eager", True),
        ("graph", options.device == "cuda"),
        ("compile", options.compile),
        ("onnx", options.onnx and pass_ == "infer"),
        *((crate, getattr(options, crate) is not None and name in OF_CRATES) for crate in CRATES),
    ]
    return [peer for peer, is_asked in asked if is_asked]


TITLES = {
    "eager": "PyTorch eager",
    "graph": "PyTorch, one CUDA graph",
    "compile": "torch.compile",
    "onnx": "ONNX Runtime",
    "burn": "burn",
    "candle": "candle",
}


def markdown(figures, facts):
    """A table: images a second, of processor time or by the wall's clock, and how many times as many ours are."""
    peers = [peer for peer in TITLES if any(peer in figure["peers"] for figure in figures)]
    rows = [["model", "pass", "batch", "netspec", *(TITLES[peer] for peer in peers)]]
    rows.append(["---"] * len(rows[0]))
    for figure in figures:
        row = [figure["model"], figure["pass"], str(figure["batch"]), f"{figure['peers']['netspec']['median']:,.0f}"]
        for peer in peers:
            of = figure["peers"].get(peer)
            row.append(f"{of['median']:,.0f} ({of['ratio']:.2f}x)" if of else "")
        rows.append(row)
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    times = [
        f"- {figure['model']}, {figure['pass']}: "
        + "; ".join(
            f"{peer} p50 {of['p50']:.1f}, p99 {of['p99']:.1f}, first {of['first']:.0f}"
            for peer, sample in figure["rounds"][0]["samples"].items()
            if (of := sample.get("microseconds"))
        )
        for figure in figures
        if figure["batch"] == 1 and any("microseconds" in sample for sample in figure["rounds"][0]["samples"].values())
    ]
    if times:
        lines += ["", "Microseconds of a call of one image, in the steadiest round:", "", *times]
    versions = ", ".join(f"{key} {value}" for key, value in facts["versions"].items())
    if facts["card"]:
        lines += [
            "",
            f"Images a second by the wall's clock, products in {facts['precision']}, data on the card: the median of the rounds, and in",
            f"brackets the median of the rounds' ratios, ours to theirs. {facts['rounds']} rounds of {facts['seconds']} s; "
            f"{facts['card']}; {versions}.",
        ]
        return "\n".join(lines) + "\n"
    lines += [
        "",
        "Images a second of processor time, one thread, f32: the median of the rounds, and in brackets the median of",
        f"the rounds' ratios, ours to theirs. {facts['rounds']} rounds of {facts['seconds']} s; {facts['cpu']}; peak "
        f"{facts['probe']:.1f} GFLOP/s; load {facts['load']}; {versions}.",
    ]
    return "\n".join(lines) + "\n"


def facts(bench):
    """What the figures depend on."""
    versions = {"netspec": output([bench.ours(), "--version"]).split()[-1], "Python": platform.python_version()}
    for package in ("torch", *(("onnxruntime",) if bench.options.onnx else ())):
        versions[package] = importlib.metadata.version(package)
    for crate, package in zip(CRATES, ("burn", "candle-core"), strict=True):
        if getattr(bench.options, crate) is not None:
            lock = (ROOT / "tests/bench" / crate / "Cargo.lock").read_text()
            versions[package] = re.search(rf'name = "{package}"\nversion = "(.*?)"', lock)[1]
    commands = {"rustc": ["rustc", "--version"], "commit": ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]}
    for name, command in commands.items():
        try:
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            versions[name] = said.strip().removeprefix(f"{name} ")
        except (OSError, subprocess.CalledProcessError):
            versions[name] = "unknown"
    cpu = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*: (.*)", cpu.read_text()) if cpu.exists() else None
    card = None
    if bench.options.device == "cuda":
        import torch

        card = torch.cuda.get_device_name()
        versions["CUDA"], versions["cuDNN"] = torch.version.cuda, torch.backends.cudnn.version()
    return {
        "card": card,
        "precision": bench.options.precision,
        "cpu": named[1] if named else platform.processor(),
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "versions": versions,
        "probe": bench.best_probe,
        "rounds": bench.options.rounds,
        "seconds": bench.options.seconds,
    }


def missing(options, bench):
    """What is needed and not there, as a sentence; None when all is there."""

    def lacks(package):
        return importlib.util.find_spec(package) is None

    if lacks("torch"):
        return f"this needs PyTorch, which {sys.executable} does not have: pip install torch"
    if options.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            return "--device cuda needs a graphics card that PyTorch can use"
    if not Path(bench.ours()).exists():
        return f"{bench.ours()} is not there: cargo build --release --bin netspec-bench"
    packages = [package for package in ("onnx", "onnxscript", "onnxruntime") if options.onnx and lacks(package)]
    if packages:
        return f"--onnx needs packages that are not there: pip install {' '.join(packages)}"
    for crate in CRATES:
        if getattr(options, crate) is not None and not bench.crate(crate).exists():
            return f"{bench.crate(crate)} is not there: (cd tests/bench/{crate} && cargo build --release)"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(PARAMETERS), help="with commas between")
    parser.add_argument("--passes", default="train,infer")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where models run (cpu)")
    parser.add_argument("--precision", choices=["f32", "tf32", "bf16"], default="f32", help="of products on a card (f32)")
    parser.add_argument("--seconds", type=float, default=5, help="of each process (5)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compile", action="store_true", help="torch.compile too")
    parser.add_argument("--onnx", action="store_true", help="ONNX Runtime's inference too")
    for crate in CRATES:
        built = f"tests/bench/{crate}/target/release/{crate}-peer"
        parser.add_argument(f"--{crate}", nargs="?", const="", metavar="PROGRAM", help=f"{crate} too ({built})")
    parser.add_argument("--bench", metavar="PROGRAM", help="netspec-bench (target/release/netspec-bench)")
    parser.add_argument("--json", type=Path, help="writes every sample to this file")
    parser.add_argument("--markdown", type=Path, help="writes the table to this file too")
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        peer, name, pass_, batch, seconds = options.child
        return child(peer, name, pass_, int(batch), float(seconds))
    if options.device == "cpu" and options.precision != "f32":
        parser.error(f"--precision {options.precision} is for graphics cards: --device cuda")
    if options.device == "cuda" and (options.onnx or options.burn is not None or options.candle is not None):
        parser.error("--onnx, --burn and --candle are for the processor")
    bench = (CardBench if options.device == "cuda" else Bench)(options)
    if (what := missing(options, bench)) is not None:
        print(what, file=sys.stderr)
        sys.exit(2)
    figures = []
    for name in options.models.split(","):
        for pass_ in options.passes.split(","):
            figures.append(bench.figure(name, pass_, options.batch))
            told = {peer: f"{of['median']:.0f} ({of['ratio']:.2f}x)" for peer, of in figures[-1]["peers"].items()}
            print(name, pass_, *(f"{peer} {rate}" for peer, rate in told.items()), sep="  ", file=sys.stderr)
    what = facts(bench)
    table = markdown(figures, what)
    print(table, end="")
    if options.markdown:
        options.markdown.write_text(table)
    if options.json:
        options.json.write_text(json.dumps({**what, "figures": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
