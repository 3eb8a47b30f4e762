"""What a model costs a build: the macro's expansion, the release build around it, a program of `netc`, and its size.

    cargo build --release --bin netc
    python tests/bench/compile_time.py

It needs cargo, and nothing from the network but what the workspace was built with. Crates are written to a folder of their own under
`target/`; what they depend on is built there first, which takes minutes once and is not measured.

Seconds are processor time of all processes of a build (the least of the rounds): they hold on a machine with other work, where those of
a wall clock do not. A build of one crate is mostly one thread, so on an idle machine a wall clock shows no more.

The expansion is `netc expand` whole: reading, proving, planning and printing, in an optimised build. Cargo builds macros unoptimised,
so `check` tells what the macro and rustc's reading of its text add to `cargo check` of a crate.
"""

import argparse
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "target" / "compile_time"
NETC = ROOT / "target" / "release" / "netc"
MIB = 1 << 20
# Issue by issue: seconds, and bytes.
MOST_EXPANSION = 0.050
MOST_ADDED = 2.0
MOST_PROGRAM = 5.0
MOST_BYTES = 4 * MIB

MAIN = """fn main() {{
    let text = std::env::args().nth(1).unwrap_or_default();
{model}
    println!("{{text}}");
}}
"""
MODEL = """    netspec::netspec!(Model = "{spec}", n_blocks = {blocks});
    type Input = <Model as netspec::Model>::Input;
    let mut model = Model::new(0);
    let mut workspace = netspec::Workspace::new();
    let inputs = netspec::samples::<Model>(&[0.5; 8 * 3 * 32 * 32]).expect("whole samples");
    let _: &[Input] = inputs;
    let mut sgd = netspec::Sgd::new(1e-2);
    model.step(&mut workspace, inputs, &[0; 8], &netspec::CrossEntropy, &mut sgd).expect("a batch");
    let mut outputs = [[0.0; 2]; 8];
    model.infer(&mut workspace, inputs, &mut outputs).expect("as many outputs");
    println!("{{outputs:?}}");"""


def seconds(command, **more):
    """Processor time of a command and of all that it starts, which must succeed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, **more)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def crate(name, model):
    """A crate with this in its `main`."""
    folder = WORK / name
    (folder / "src").mkdir(parents=True, exist_ok=True)
    (folder / "Cargo.toml").write_text(
        f'[package]\nname = "{name}"\nversion = "0.0.0"\nedition = "2024"\n\n'
        f'[dependencies]\nnetspec = {{ path = "{ROOT / "runtime"}" }}\n\n[workspace]\n'
    )
    shutil.copy(ROOT / "Cargo.lock", folder / "Cargo.lock")
    (folder / "src" / "main.rs").write_text(MAIN.format(model=model))
    return folder


def build(folder, command):
    """Processor time of building the crate alone, once more."""
    (folder / "src" / "main.rs").touch()
    environment = {**os.environ, "CARGO_TARGET_DIR": str(WORK / "target"), "CARGO_INCREMENTAL": "0"}
    return seconds(["cargo", *command, "--offline", "--quiet"], cwd=folder, env=environment)


def least(rounds, measure):
    return min(measure() for _ in range(rounds))


def macro(rounds, spec):
    """What the macro adds to a check and to a release build, for 100 and 1,000 blocks."""
    found = []
    empty = crate("empty", "    let _ = netspec::Workspace::new();")
    for command in (["check"], ["build", "--release"]):
        build(empty, command)
    for blocks in (100, 1_000):
        expand = [NETC, "expand", spec, "-p", f"n_blocks={blocks}"]
        found.append((f"netc expand, {blocks} blocks", least(3 * rounds, lambda: seconds(expand)), MOST_EXPANSION))
        folder = crate(f"blocks_{blocks}", MODEL.format(spec=spec, blocks=blocks))
        for what, command in (("check", ["check"]), ("release build", ["build", "--release"])):
            build(folder, command)
            added = least(rounds, lambda: build(folder, command)) - least(rounds, lambda: build(empty, command))
            found.append((f"added to a {what}, {blocks} blocks", added, MOST_ADDED))
    return found


def program(rounds, spec):
    """A changed spec as a program of `netc`, when the cache is warm; and the size of one, stripped."""
    target = WORK / "net"
    text = Path(spec).read_text()
    changed, number = WORK / "changed.yaml", 1
    # `netc` builds the runtime into the user's cache: once, which is not measured.
    command = [NETC, "build", changed, "-o", target]

    def once():
        nonlocal number
        number += 1
        # Another number of channels is another program: nothing of the last one is left to use.
        changed.write_text(re.sub(r"out: 32\b", f"out: {32 + number}", text).replace("in: 32,", f"in: {32 + number},"))
        begin = time.monotonic()
        used = seconds(command)
        return used, time.monotonic() - begin

    once()
    times = [once() for _ in range(rounds)]
    changed.write_text(text)
    seconds(command)
    stripped = WORK / "net.stripped"
    subprocess.run(["strip", "-o", stripped, target], check=True)
    return min(used for used, _ in times), min(wall for _, wall in times), stripped.stat().st_size


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=3, help="builds of each figure; the least counts")
    parser.add_argument("--only", choices=["macro", "program"], help="a half of it")
    arguments = parser.parse_args()
    if not NETC.exists():
        sys.exit("target/release/netc is not there: cargo build --release --bin netc")
    WORK.mkdir(parents=True, exist_ok=True)
    missed = 0
    if arguments.only != "program":
        for what, used, most in macro(arguments.rounds, ROOT / "specs" / "res_deep.yaml"):
            missed += used > most
            print(f"{what:35} {used:7.3f} s of processor time, at most {most:.3f}{'' if used <= most else ': MISSED'}")
    if arguments.only != "macro":
        used, wall, size = program(arguments.rounds, ROOT / "specs" / "net.yaml")
        missed += (used > MOST_PROGRAM) + (size > MOST_BYTES)
        what = "a program of a changed spec"
        print(f"{what:35} {used:7.3f} s of processor time, at most {MOST_PROGRAM:.3f} ({wall:.2f} s by the wall)")
        print(f"{'a program of net, stripped':35} {size / MIB:7.2f} MiB, at most {MOST_BYTES / MIB:.2f}")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
