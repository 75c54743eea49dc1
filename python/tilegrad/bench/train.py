"""Training steps beside PyTorch and JAX: the same networks, weights, data and thread count.

A workload is written once, over a library that is tilegrad or torch: they have the same names. Each
starts from the same weights, and the losses of its first steps are compared before it is timed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import tilegrad as tg
from tilegrad.bench.measure import (
    geometric_mean,
    interleave,
    paired_ratio,
    progress,
    save_json,
    set_threads,
    table,
)
from tilegrad.bench.overview import optional
from tilegrad.bench.train_jax import RATE, jax_step
from tilegrad.cli.arguments import add_measuring_arguments, output_file

HELP = """\
Time whole training steps (forward, loss, backward, optimizer) of small networks, eager and compiled
with tg.compile, beside PyTorch eager and, where asked for, torch.compile and JAX's jit. All start
from the same weights and data, and must agree on their losses before they are timed."""

PEERS = ("torch", "torch.compile", "jax")
SAME_LOSS = 1e-3  # float32 after two steps; a different network is further away
#: While a step is timed it goes over one batch thousands of times. At the rate it was checked with
#: the network learns that batch by heart, gradients and momenta sink below 1e-38, and what is timed
#: is how the processor deals with subnormal numbers. So small a rate leaves the network as it is.
QUIET_RATE = 1e-9

Step = Callable[[], object]
#: One step as a function of inputs and labels, made of library, model and optimizer.
Steps = Callable[[Any, Any, Any], Callable[[Any, Any], Any]]


# ---- the same steps in every library -------------------------------------------------------------


def training(lib: Any, model: Any, optimizer: Any) -> Callable[[Any, Any], Any]:
    """One training step as its user writes it."""
    cross_entropy = lib.nn.functional.cross_entropy

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def gradients(lib: Any, model: Any, optimizer: Any) -> Callable[[Any, Any], Any]:
    """Forward and backward of the mean of the result."""

    def step(x: Any, y: Any) -> Any:
        model.zero_grad()
        result = model(x)
        loss = (result[0] if isinstance(result, tuple) else result).mean()
        loss.backward()
        return loss

    return step


def inference(lib: Any, model: Any, optimizer: Any) -> Callable[[Any, Any], Any]:
    """Forward alone."""

    def step(x: Any, y: Any) -> Any:
        with lib.no_grad():
            return model(x).mean()

    return step


@dataclass(frozen=True)
class Workload:
    """A step to be timed: how a library builds it, on how many rows."""

    name: str
    build: Callable[[Any, int], tuple[Any, Any, Any, Any]]  # model, optimizer, x, y
    batch: int
    steps: Steps = training


# ---- the networks --------------------------------------------------------------------------------


def _numbers(shape: tuple[int, ...]) -> Any:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def _labels(classes: int, batch: int) -> Any:
    return np.random.default_rng(2).integers(0, classes, batch)


def _tensor(lib: Any, array: Any) -> Any:
    return tg.tensor(array) if lib is tg else lib.from_numpy(array)


def mlp(lib: Any, batch: int) -> tuple[Any, Any, Any, Any]:
    """784-128-64-10 with SGD and momentum."""
    nn = lib.nn
    model = nn.Sequential(
        nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    optimizer = lib.optim.SGD(model.parameters(), lr=RATE, momentum=0.9)
    return model, optimizer, _numbers((batch, 784)), _labels(10, batch)


def cnn(lib: Any, batch: int) -> tuple[Any, Any, Any, Any]:
    """Two convolutions with pooling and a linear layer, 28 x 28 pixels, SGD with momentum."""
    nn = lib.nn
    model = nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 7 * 7, 10),
    )
    optimizer = lib.optim.SGD(model.parameters(), lr=RATE, momentum=0.9)
    return model, optimizer, _numbers((batch, 1, 28, 28)), _labels(10, batch)


def policy(lib: Any, batch: int) -> tuple[Any, Any, Any, Any]:
    """10-32-32-2 with Adam: a reinforcement-learning size."""
    nn = lib.nn
    model = nn.Sequential(
        nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 2)
    )
    optimizer = lib.optim.Adam(model.parameters(), lr=RATE)
    return model, optimizer, _numbers((batch, 10)), _labels(2, batch)


def lstm(lib: Any, batch: int) -> tuple[Any, Any, Any, Any]:
    """64 features, 64 hidden, 50 steps."""
    return lib.nn.LSTM(64, 64), None, _numbers((50, batch, 64)), _labels(2, batch)


def block(lib: Any, batch: int) -> tuple[Any, Any, Any, Any]:
    """One transformer block: 64 features, 4 heads, 64 steps."""
    model = lib.nn.TransformerEncoderLayer(64, 4, 256, dropout=0.0, batch_first=True)
    return model, None, _numbers((batch, 64, 64)), _labels(2, batch)


def chain(lib: Any, batch: int) -> tuple[Any, Any, Any, Any]:
    """Forty small elementwise operations on a parameter."""

    class Chain(lib.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.start = lib.nn.Parameter(_tensor(lib, _numbers((batch,))))

        def forward(self, x: Any) -> Any:
            value = self.start
            for _ in range(10):
                value = lib.tanh(value * 1.01 + x) * 0.99
            return value

    return Chain(), None, _numbers((batch,)), _labels(2, batch)


def narrow(width: int) -> Callable[[Any, int], tuple[Any, Any, Any, Any]]:
    """A perceptron so narrow that threads can only harm."""

    def build(lib: Any, batch: int) -> tuple[Any, Any, Any, Any]:
        nn = lib.nn
        model = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
            nn.Linear(width, 10),
        )  # fmt: skip
        optimizer = lib.optim.SGD(model.parameters(), lr=RATE, momentum=0.9)
        return model, optimizer, _numbers((batch, width)), _labels(10, batch)

    return build


WORKLOADS = [
    *[Workload(f"MLP 784-128-64-10, batch {batch}", mlp, batch) for batch in (1, 32, 128)],
    *[Workload(f"CNN 28 x 28, batch {batch}", cnn, batch) for batch in (1, 32, 128)],
    Workload("MLP 10-32-32-2, Adam, batch 16", policy, 16),
    *[Workload(f"MLP width {width}, batch 32", narrow(width), 32) for width in (32, 64)],
    Workload("LSTM 64, 50 steps, batch 32, gradients", lstm, 32, gradients),
    Workload("transformer block, batch 8, gradients", block, 8, gradients),
    Workload("40 elementwise operations, gradients", chain, 3, gradients),
    Workload("MLP 784-128-64-10, batch 1, inference", mlp, 1, inference),
]


# ---- ready to run --------------------------------------------------------------------------------


def _ready(lib: Any, work: Workload, weights: dict[str, Any] | None) -> tuple[Any, ...]:
    """Step, inputs, weights and optimizer of a library's network, started from ``weights``."""
    model, optimizer, x, y = work.build(lib, work.batch)
    if weights is None:
        weights = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    tensors = {name: _tensor(lib, value.copy()) for name, value in weights.items()}
    model.load_state_dict(tensors)
    step = work.steps(lib, model, optimizer)
    return step, _tensor(lib, x), _tensor(lib, y), weights, optimizer


def contenders(work: Workload, peers: Sequence[str]) -> dict[str, Step]:
    """Everyone's step as a function without arguments, checked to compute the same losses."""
    step, x, y, weights, optimizer = _ready(tg, work, None)
    built: dict[str, tuple[Step, Callable[[], float]]] = {}
    optimizers = [optimizer]

    def add(name: str, run: Callable[[Any, Any], Any], x: Any, y: Any) -> None:
        built[name] = (lambda: run(x, y), lambda: float(run(x, y).item()))

    add("eager", step, x, y)
    step, x, y, _, optimizer = _ready(tg, work, weights)
    optimizers.append(optimizer)
    add("compiled", tg.compile(step), x, y)
    torch = optional("torch") if {"torch", "torch.compile"} & set(peers) else None
    for peer in ("torch", "torch.compile"):
        if torch is not None and peer in peers:
            run, x, y, _, optimizer = _ready(torch, work, weights)
            optimizers.append(optimizer)
            if peer == "torch.compile":
                run = torch.compile(run)
            add(peer, run, x, y)
    jax: ModuleType | None = optional("jax") if "jax" in peers else None
    rate = [RATE]
    if jax is not None:
        model, _, x, y = work.build(tg, work.batch)
        built["jax"] = jax_step(jax, model, work.steps.__name__, weights, x, y, rate)
    losses = {name: [loss() for _ in range(4)] for name, (_, loss) in built.items()}
    for name, values in losses.items():
        if not np.allclose(values, losses["eager"], rtol=SAME_LOSS, atol=SAME_LOSS):
            raise AssertionError(f"{work.name}: losses of {name} {values}, eager {losses['eager']}")
    rate[0] = QUIET_RATE
    for group in (group for o in optimizers if o is not None for group in o.param_groups):
        group["lr"] = QUIET_RATE
    return {name: run for name, (run, _) in built.items()}


# ---- the command ---------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--vs", default="torch", help=f"of {','.join(PEERS)}, those installed; default: torch"
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="workloads whose name has TEXT")
    parser.add_argument(
        "--plot", type=output_file, metavar="FILE", help="also draw the MLP's step over the batch"
    )
    add_measuring_arguments(parser, rounds=30)


def measure(work: Workload, peers: Sequence[str], rounds: int) -> dict[str, Any]:
    """Microseconds of a step for everyone, and the ratios to each peer."""
    times = interleave(contenders(work, peers), rounds=rounds)
    ratios = {
        f"{ours} / {peer}": paired_ratio(times[peer], times[ours])
        for ours in ("eager", "compiled")
        for peer in times
        if peer not in ("eager", "compiled")
    }
    micro = {name: float(np.median(values)) * 1e6 for name, values in times.items()}
    return {"work": work.name, "microseconds": micro, "ratios": ratios}


#: Batches of the plot.
BATCHES = (1, 4, 16, 64, 256)


def plot(path: Path, peers: Sequence[str], rounds: int) -> None:
    """Draw microseconds of the MLP's step over the batch, one line for everyone."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    lines: dict[str, list[float]] = {}
    for batch in progress(BATCHES, "plot"):
        result = measure(Workload(f"MLP, batch {batch}", mlp, batch), peers, rounds)
        for name, value in result["microseconds"].items():
            lines.setdefault(name, []).append(value)
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for name, values in lines.items():
        ours = name in ("eager", "compiled")
        axes.plot(
            BATCHES, values, marker="o", linestyle="-" if ours else "--",
            label=f"tilegrad {name}" if ours else name,
        )  # fmt: skip
    axes.set(
        xlabel="batch", ylabel="microseconds a step", yscale="log", ylim=(10, None),
        title="MLP 784-128-64-10: forward, loss, backward, SGD with momentum",
    )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def report(results: Sequence[dict[str, Any]]) -> str:
    """The table: microseconds of a step, and how many times faster than each peer."""
    names = list(dict.fromkeys(name for result in results for name in result["microseconds"]))
    ratios = list(dict.fromkeys(ratio for result in results for ratio in result["ratios"]))

    def cells(result: dict[str, Any]) -> list[str]:
        times, found = result["microseconds"], result["ratios"]
        return [
            result["work"],
            *[f"{times[name]:.0f}" if name in times else "-" for name in names],
            *[f"{found[ratio].median:.2f}" if ratio in found else "-" for ratio in ratios],
        ]

    rows = [cells(result) for result in results]
    header = ["microseconds a step", *names, *[f"x {ratio}" for ratio in ratios]]
    found = [result["ratios"] for result in results]
    means = [
        f"{ratio}: {geometric_mean([r[ratio].median for r in found if ratio in r]):.2f}"
        for ratio in ratios
    ]
    return table(header, rows) + (f"\n\ngeometric means: {', '.join(means)}" if means else "")


def run(options: argparse.Namespace) -> int:
    peers = [peer for peer in options.vs.split(",") if peer]
    works = [work for work in WORKLOADS if options.only in work.name]
    for peer in peers:
        if peer not in PEERS:
            raise ValueError(f"--vs {peer} is none of {', '.join(PEERS)}")
    if not works:
        names = ", ".join(work.name for work in WORKLOADS)
        raise ValueError(f"--only {options.only} is in none of: {names}")
    optional("torch")  # before the threads are set, so that they are set for it, too
    set_threads(options.threads)
    results = [measure(work, peers, options.rounds) for work in progress(works, "bench train")]
    print(f"{options.threads} threads\n\n{report(results)}")
    if options.json:
        for result in results:
            result["ratios"] = {name: ratio.median for name, ratio in result["ratios"].items()}
        save_json(options.json, {"train": results, "threads": options.threads})
    if options.plot:
        plot(options.plot, peers, options.rounds)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    return run(parser.parse_args(argv))
