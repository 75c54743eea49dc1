"""Sweep the blocks of the matrix product: what chose the values in ``cpp/gemm/blocking.cpp``.

Each candidate is timed against the library's own choice, interleaved, on square products; the
table gives the share of the measured peak and the ratio to the choice. A candidate that wins by
more than its spread on most sizes is worth moving into ``blocking.cpp``.

    python bench/tune.py --dtype f32 --sizes 256,512,1024,2048
"""

from __future__ import annotations

import argparse
import functools
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from tilegrad import _native, kernels
from tilegrad.bench import measure

DTYPES = {"f32": np.float32, "f64": np.float64}

CANDIDATES: list[dict[str, int]] = [
    {},
    *({"kc": kc} for kc in (192, 256, 320, 384)),
    *({"mc": mc} for mc in (112, 224, 448, 896)),
    *({"nc": nc} for nc in (256, 1024, 4096)),
    *({"pack_a": way} for way in (1, 2)),
    *({"pack_b": way} for way in (1, 2)),
]


def product(candidate: dict[str, int], a: Any, b: Any, out: Any) -> None:
    _native.override_blocking(**candidate)
    kernels.matmul(a, b, out)


def sweep(n: int, dtype: Any, rounds: int) -> dict[str, list[float]]:
    a, b = np.random.default_rng(n).normal(size=(2, n, n)).astype(dtype)
    out = np.empty_like(a)
    calls = {
        " ".join(f"{key}={value}" for key, value in candidate.items())
        or "chosen": functools.partial(product, candidate, a, b, out)
        for candidate in CANDIDATES
    }
    try:
        return measure.interleave(calls, rounds=rounds)
    finally:
        _native.override_blocking()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="f32")
    parser.add_argument("--sizes", default="256,512,1024,2048")
    parser.add_argument("--isa", choices=_native.available_isas())
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", metavar="F")
    args = parser.parse_args(argv)
    if args.isa:
        _native.set_isa(args.isa)
    measure.set_threads(args.threads)
    sizes = [int(size) for size in args.sizes.split(",")]
    name = np.dtype(DTYPES[args.dtype]).name
    peak = max(measure.fma_peak(name, args.threads) for _ in range(3))
    print(
        f"peak {peak / 1e9:.1f} GFLOP/s, {args.dtype}, {_native.get_isa()}, "
        f"{args.threads} thread(s)"
    )
    results = {
        n: sweep(n, DTYPES[args.dtype], args.rounds) for n in measure.progress(sizes, "tune")
    }
    rows = []
    for candidate in results[sizes[0]]:
        cells = [candidate]
        for n in sizes:
            times = results[n]
            share = 2e2 * n**3 / statistics.median(times[candidate]) / peak
            cells.append(
                f"{share:.1f}% x {measure.paired_ratio(times['chosen'], times[candidate])}"
            )
        rows.append(cells)
    print(measure.table(["blocks", *map(str, sizes)], rows))
    if args.json:
        measure.save_json(args.json, {"bench": "tune", "peak": peak, "seconds": results})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
