"""Training steps beside PyTorch and JAX: the same networks, weights, data and thread count.

A workload is written once, over a library that is tilegrad or torch: they have the same names. Each
starts from the same weights, and the losses of its first steps are compared before it is timed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from tilegrad.cli.arguments import add_measuring_arguments

HELP = """\
Time whole training steps (forward, loss, backward, optimizer) of small networks, eager and compiled
with tg.compile, beside PyTorch eager and, where asked for, torch.compile and JAX's jit. All start
from the same weights and data, and must agree on their losses before they are timed."""

PEERS = ("torch", "torch.compile", "jax")
SAME_LOSS = 1e-3  # float32 after two steps; a different network is further away

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
    optimizer = lib.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
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
    optimizer = lib.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    return model, optimizer, _numbers((batch, 1, 28, 28)), _labels(10, batch)


def policy(lib: Any, batch: int) -> tuple[Any, Any, Any, Any]:
    """10-32-32-2 with Adam: a reinforcement-learning size."""
    nn = lib.nn
    model = nn.Sequential(
        nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 2)
    )
    optimizer = lib.optim.Adam(model.parameters(), lr=1e-3)
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
        optimizer = lib.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
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


def _ready(lib: Any, work: Workload, weights: dict[str, Any] | None) -> tuple[Any, Any, Any, Any]:
    """Step function, inputs and weights of a library's network, started from ``weights``."""
    model, optimizer, x, y = work.build(lib, work.batch)
    if weights is None:
        weights = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    tensors = {name: _tensor(lib, value.copy()) for name, value in weights.items()}
    model.load_state_dict(tensors)
    step = work.steps(lib, model, optimizer)
    return step, _tensor(lib, x), _tensor(lib, y), weights


def _jax_step(
    jax: Any, work: Workload, weights: dict[str, Any]
) -> tuple[Step, Callable[[], float]]:
    """The step as a jitted JAX function, and its loss. The layers are read off the weights."""
    jnp, lax = jax.numpy, jax.lax
    _, _, x, y = work.build(tg, work.batch)
    names = sorted({int(name.split(".")[0]) for name in weights})
    adam = work.build is policy
    squash = jnp.tanh if adam else jax.nn.relu

    def network(p: Any, x: Any) -> Any:
        for i, name in enumerate(names):
            w, b = p[f"{name}.weight"], p[f"{name}.bias"]
            if w.ndim == 4:
                x = lax.conv(x, w, (1, 1), "SAME") + b[:, None, None]
                x = lax.reduce_window(
                    squash(x), -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID"
                )
            else:
                x = x.reshape(x.shape[0], -1) @ w.T + b
                x = squash(x) if i + 1 < len(names) else x
        return x

    def loss(p: Any, x: Any, y: Any) -> Any:
        return -jax.nn.log_softmax(network(p, x))[jnp.arange(x.shape[0]), y].mean()

    def update(p: Any, s: Any, t: Any, x: Any, y: Any) -> Any:
        value, g = jax.value_and_grad(loss)(p, x, y)
        tree = jax.tree_util.tree_map
        if not adam:
            m = tree(lambda m, g: 0.9 * m + g, s[0], g)
            return value, tree(lambda p, m: p - 0.01 * m, p, m), (m, s[1]), t + 1
        m = tree(lambda m, g: 0.9 * m + 0.1 * g, s[0], g)
        v = tree(lambda v, g: 0.999 * v + 0.001 * g * g, s[1], g)
        t = t + 1
        new = tree(
            lambda p, m, v: p
            - 1e-3 * (m / (1 - 0.9**t)) / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8),
            p, m, v,
        )  # fmt: skip
        return value, new, (m, v), t

    jitted = jax.jit(update, donate_argnums=(0, 1))
    p = {name: jnp.asarray(value) for name, value in weights.items()}
    zeros = {name: jnp.zeros_like(value) for name, value in p.items()}
    state: list[Any] = [p, (zeros, {name: value + 0 for name, value in zeros.items()}), 0.0]
    jx, jy = jnp.asarray(x), jnp.asarray(y)

    def step() -> Any:
        value, *state[:] = jitted(*state, jx, jy)
        return value.block_until_ready()

    return step, lambda: float(step())


def contenders(work: Workload, peers: Sequence[str]) -> dict[str, Step]:
    """Everyone's step as a function without arguments, checked to compute the same losses."""
    step, x, y, weights = _ready(tg, work, None)
    built: dict[str, tuple[Step, Callable[[], float]]] = {}

    def add(name: str, run: Callable[[Any, Any], Any], x: Any, y: Any) -> None:
        built[name] = (lambda: run(x, y), lambda: float(run(x, y).item()))

    add("eager", step, x, y)
    step, x, y, _ = _ready(tg, work, weights)
    add("compiled", tg.compile(step), x, y)
    torch = optional("torch") if {"torch", "torch.compile"} & set(peers) else None
    for peer in ("torch", "torch.compile"):
        if torch is not None and peer in peers:
            run, x, y, _ = _ready(torch, work, weights)
            if peer == "torch.compile":
                run = torch.compile(run)
            add(peer, run, x, y)
    wanted = "jax" in peers and work.steps is training
    jax: ModuleType | None = optional("jax") if wanted else None
    if jax is not None:
        built["jax"] = _jax_step(jax, work, weights)
    losses = {name: [loss() for _ in range(4)] for name, (_, loss) in built.items()}
    for name, values in losses.items():
        if not np.allclose(values, losses["eager"], rtol=SAME_LOSS, atol=SAME_LOSS):
            raise AssertionError(f"{work.name}: losses of {name} {values}, eager {losses['eager']}")
    return {name: run for name, (run, _) in built.items()}


# ---- the command ---------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--vs", default="torch", help=f"of {','.join(PEERS)}, those installed; default: torch"
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="workloads whose name has TEXT")
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
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    return run(parser.parse_args(argv))
