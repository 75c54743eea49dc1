"""How far a native kernel may be from its NumPy twin, derived from the data of the call.

The twin is run on the arguments widened to float64, which makes it exact for float32 calls. Every
allowance below is a number of units in the last place (``u = eps / 2`` of the result's dtype) of a
quantity that the call itself supplies:

* **exact** kernels choose, compare or move numbers: nothing is allowed;
* **sums** of products: ``SUM_UNITS u`` of the same sum taken over absolute values, element by
  element. (16 for ``k <= 8192`` is the product's promise; a float64 twin has as much again.)
* **elementwise** functions: ``ELEMENT_UNITS u`` of the result, element by element;
* all **others**: backward stability. The twin is run on arguments disturbed by relative ``u``; the
  result may be off by ``BACKWARD_UNITS`` times the largest change which that makes in the array.

NaN and infinities must stand in the same places.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tilegrad import _native

Array = NDArray[Any]
Arguments = tuple[Any, ...]
Keywords = dict[str, Any]
Outcome = list[tuple[str, Array]]  # what a call gave and changed, with names for messages

EXACT = frozenset(
    [
        "absolute", "adaptive_max_pool", "amax", "amin", "argmax", "argmin", "ceil", "clip",
        "copysign", "floor", "max_pool", "maximum", "minimum", "negative",
        "pool_gather",
        "positive", "relu", "relu_grad", "round", "sign", "trunc", "unfold", "where",
    ]
)
SUMS = frozenset(
    [
        "adaptive_avg_pool", "adaptive_avg_pool_grad", "avg_pool", "avg_pool_grad", "conv",
        "conv_input_grad", "conv_max_pool", "conv_weight_grad", "fold", "gemm", "matmul", "mean",
        "outer", "pool_scatter", "sum", "sum_to", "syrk",
    ]
)
ELEMENTWISE = frozenset(
    [
        "absorb", "acos", "acosh", "add", "asin", "asinh", "atan", "atan2", "atanh", "cos", "cosh",
        "divide", "erf", "erfc", "exp", "exp2", "expm1", "hypot", "log", "log1p", "log2", "log10",
        "multiply", "power", "reciprocal", "rsqrt", "sigmoid", "sin", "sinh", "sqrt", "square",
        "subtract",
        "tan", "tanh",
    ]
)

#: Kernels that choose among sums: which of two that are equal but for rounding wins is open, and
#: so are the indices they give.
CHOICES = frozenset(["conv_max_pool"])

SUM_UNITS = 32
ELEMENT_UNITS = 8  # ours and NumPy's functions are each within 4
BACKWARD_UNITS = 32  # steps from arguments to result; the two disturbances only sample the worst

#: Numbers among the arguments of sums that scale a term, by name.
SCALES = ("alpha", "beta")


class KernelMismatchError(AssertionError):
    """A native kernel and its NumPy twin disagree by more than rounding explains."""


def map_arrays(change: Callable[[Array], Array], value: Any) -> Any:
    """``value`` with ``change`` applied to each array in it, through tuples and lists."""
    if isinstance(value, np.ndarray):
        return change(value)
    if isinstance(value, (tuple, list)):
        return type(value)(map_arrays(change, item) for item in value)
    return value


def _arrays(name: str, value: Any) -> Outcome:
    """The arrays and numbers in a value."""
    if isinstance(value, (tuple, list)):
        return [pair for i, item in enumerate(value) for pair in _arrays(f"{name}[{i}]", item)]
    if isinstance(value, (np.ndarray, np.generic, float, int)) and not isinstance(value, bool):
        return [(name, np.asarray(value))]
    return []


class Call:
    """One kernel call whose arguments can be copied, widened or disturbed and run on the twin."""

    def __init__(self, kernel: _native.Kernel, args: Arguments, kwargs: Keywords) -> None:
        self.kernel = kernel
        bound = inspect.signature(kernel.twin).bind(*args, **kwargs)
        self.arguments = map_arrays(_copy, list(bound.arguments.items()))

    def run_twin(self, change: Callable[[Array], Array]) -> Outcome:
        """What the twin makes of changed arguments: its results, and the arrays it was given."""
        kwargs: Keywords = {
            name: map_arrays(lambda a: change(_copy(a)), v) for name, v in self.arguments
        }
        return outcome(self.kernel.twin(**kwargs), kwargs)

    def magnitude(self) -> Outcome:
        """The call over the absolute values of its arguments: what sums are measured against."""
        kwargs: Keywords = {}
        for name, value in self.arguments:
            kwargs[name] = abs(value) if name in SCALES else map_arrays(_magnitude, value)
        return outcome(self.kernel.twin(**kwargs), kwargs)

    def allowances(self, reference: Outcome, units: list[float]) -> list[Array]:
        """How far each array of the outcome may be from the reference."""
        name = self.kernel.__name__
        exact = [np.zeros(value.shape) for _, value in reference]
        if name in EXACT:
            return exact
        if name in SUMS:
            return [
                SUM_UNITS * u * np.abs(size)
                for (_, size), u in zip(self.magnitude(), units, strict=True)
            ]
        if name in ELEMENTWISE:
            return [
                ELEMENT_UNITS * u * np.abs(value)
                for (_, value), u in zip(reference, units, strict=True)
            ]
        widest = max(units)
        changes = [np.abs(value) * u for (_, value), u in zip(reference, units, strict=True)]
        for seed in range(2):
            rng = np.random.default_rng(seed)
            disturbed = self.run_twin(lambda a, rng=rng: _disturb(_widen(a), rng, widest))  # type: ignore[misc]
            for i, ((_, value), (_, moved)) in enumerate(zip(reference, disturbed, strict=True)):
                with np.errstate(all="ignore"):
                    change = np.abs(np.asarray(moved, np.float64) - value)
                changes[i] = np.fmax(changes[i], np.where(np.isfinite(change), change, 0))
        return [
            np.full(change.shape, BACKWARD_UNITS * change[np.isfinite(change)].max(initial=0))
            for change in changes
        ]


def outcome(result: Any, kwargs: Keywords) -> Outcome:
    """What a call returned, and the arrays it was given as they are now."""
    given = [pair for name, value in kwargs.items() for pair in _arrays(name, value)]
    return _arrays("result", result) + [(n, a) for n, a in given if isinstance(a, np.ndarray)]


def _copy(a: Array) -> Array:
    return a.copy(order="K")


def _widen(a: Array) -> Array:
    return a.astype(np.float64) if a.dtype == np.float32 else a


def _magnitude(a: Array) -> Array:
    return np.abs(_widen(a)) if a.dtype.kind == "f" else _copy(a)


def _disturb(a: Array, rng: np.random.Generator, u: float) -> Array:
    if a.dtype.kind != "f":
        return a
    with np.errstate(all="ignore"):
        return np.asarray(a * (1 + u * rng.choice([-1.0, 1.0], a.shape)))


def _unit(a: Array) -> float:
    return float(np.finfo(a.dtype).eps) / 2 if a.dtype.kind in "fc" else 0.0


def _error_ratio(got: Array, want: Array, allowance: Array) -> Array:
    """Errors in units of what is allowed; infinite where NaN or infinities differ."""
    with np.errstate(all="ignore"):
        rounded = want.astype(got.dtype)  # what overflows the narrower dtype is infinite there
        same = (got == rounded) | ((got != got) & (rounded != rounded))
        # below the smallest normal number precision ends for every format
        room = allowance + (float(np.finfo(got.dtype).tiny) if got.dtype.kind == "f" else 0)
        ratio = np.abs(got.astype(np.float64) - want.astype(np.float64)) / room
    ratio = np.where(np.isfinite(ratio), ratio, np.inf)
    return np.asarray(np.where(same, 0.0, ratio))


def _compare(call: Call, got: Outcome) -> float:
    """The worst error of an outcome in units of its allowance; raises if above 1."""
    name = call.kernel.__name__
    plain = call.run_twin(lambda a: a)
    for (label, mine), (_, theirs) in zip(got, plain, strict=True):
        if mine.shape != theirs.shape or mine.dtype != theirs.dtype:
            raise KernelMismatchError(
                f"{name}: {label} is {mine.dtype} {mine.shape}, the NumPy twin's is "
                f"{theirs.dtype} {theirs.shape}"
            )
    wide = call.run_twin(_widen)
    allowances = call.allowances(wide, [_unit(value) for _, value in got])
    worst = 0.0
    for (label, mine), (_, theirs), allowance in zip(got, wide, allowances, strict=True):
        if mine.size == 0:
            continue
        if mine.dtype.kind not in "fc":
            if name in CHOICES:
                continue
            ratio = np.where(mine == theirs, 0.0, np.inf)
        else:
            ratio = _error_ratio(mine, theirs, allowance)
        at = np.unravel_index(int(np.argmax(ratio)), ratio.shape)
        worst = max(worst, float(ratio[at]))
        if worst > 1:
            shapes = ", ".join(
                f"{n}={v.shape}" for n, v in call.arguments if isinstance(v, np.ndarray)
            )
            raise KernelMismatchError(
                f"{name}({shapes}): {label}{[int(i) for i in at]} is {mine[at]!r} natively "
                f"({_native.get_isa()}) and {theirs[at]!r} on the NumPy twin: {ratio[at]:.3g} "
                "times the allowed error"
            )
    return worst


class Checked(NamedTuple):
    """What a checked call gave."""

    result: Any
    error: float  # the worst, in units of what is allowed: 0 to 1
    native: bool  # False where native code left the arguments to the twin: nothing to compare


def checked_call(kernel: _native.Kernel, args: Arguments, kwargs: Keywords) -> Checked:
    """Run a kernel natively and compare it with its twin.

    Raises:
        KernelMismatchError: they differ, or only one of them raises.
        Exception: what both raise.
    """
    try:
        call = Call(kernel, args, kwargs)
    except TypeError:  # arguments that do not fit the signature: the kernel says so
        return Checked(kernel.call_native(*args, **kwargs), 0.0, False)
    try:
        result = kernel.try_native(*args, **kwargs)
    except Exception as error:
        _expect_same_error(call, error)
        raise
    if result is NotImplemented:
        return Checked(kernel.twin(*args, **kwargs), 0.0, False)
    bound = inspect.signature(kernel.twin).bind(*args, **kwargs)
    return Checked(result, _compare(call, outcome(result, dict(bound.arguments))), True)


def _expect_same_error(call: Call, error: Exception) -> None:
    try:
        call.run_twin(lambda a: a)
    except Exception as other:
        if isinstance(error, type(other)) or isinstance(other, type(error)):
            return
        raise KernelMismatchError(
            f"{call.kernel.__name__}: native code raises {error!r}, the NumPy twin {other!r}"
        ) from error
    raise KernelMismatchError(
        f"{call.kernel.__name__}: native code raises {error!r}, the NumPy twin does not"
    ) from error
