"""Derivatives against central differences: every entry of the Jacobian, reverse and forward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from tilegrad.autograd import forward_mode
from tilegrad.autograd.api import grad
from tilegrad.autograd.function import NoForwardModeError
from tilegrad.autograd.modes import enable_grad, no_grad
from tilegrad.autograd.tensor import Array, Tensor


class GradcheckError(RuntimeError):
    """A derivative rule disagrees with finite differences."""


def _tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _is_input(value: Any) -> bool:
    return isinstance(value, Tensor) and value._requires_grad


def _outputs(function: Callable[..., Any], inputs: Sequence[Any]) -> tuple[Tensor, ...]:
    outs = _tuple(function(*inputs))
    return tuple(out for out in outs if isinstance(out, Tensor) and out.dtype.kind == "f")


def _numerical(
    function: Callable[..., Any], inputs: Sequence[Any], position: int, eps: float
) -> list[Array]:
    """Jacobians (outputs' sizes by the input's size) by central differences."""
    values = [Tensor(np.array(x._array, order="C")) if isinstance(x, Tensor) else x for x in inputs]
    columns: list[list[Array]] = []
    entries = values[position]._array.reshape(-1)
    for k in range(entries.size):
        kept = entries[k]
        entries[k] = kept + eps
        with no_grad():
            upper = [np.array(out._array) for out in _outputs(function, values)]
        entries[k] = kept - eps
        with no_grad():
            lower = [np.array(out._array) for out in _outputs(function, values)]
        entries[k] = kept
        columns.append([(u - v).reshape(-1) / (2 * eps) for u, v in zip(upper, lower, strict=True)])
    count = len(columns[0]) if columns else 0
    return [np.stack([column[i] for column in columns], axis=1) for i in range(count)]


def _reverse(outputs: Sequence[Tensor], x: Tensor) -> list[Array]:
    """Jacobians row by row from the vjp rules."""
    jacobians = []
    for out in outputs:
        jacobian = np.zeros((out._array.size, x._array.size))
        if out._requires_grad:
            for row in range(out._array.size):
                cotangent = np.zeros(out.shape, out.dtype)
                cotangent.reshape(-1)[row] = 1.0
                (g,) = grad(out, x, cotangent, retain_graph=True, allow_unused=True)
                if g is not None:
                    if g.shape != x.shape:
                        raise GradcheckError(f"gradient of shape {g.shape} for input {x.shape}")
                    jacobian[row] = g._array.reshape(-1)
        jacobians.append(jacobian)
    return jacobians


def _forward(function: Callable[..., Any], inputs: Sequence[Any], position: int) -> list[Array]:
    """Jacobians column by column from the jvp rules."""
    x = inputs[position]
    columns: list[list[Array]] = []
    for k in range(x._array.size):
        direction = np.zeros(x.shape, x.dtype)
        direction.reshape(-1)[k] = 1.0
        with forward_mode.level() as number:
            args = list(inputs)
            args[position] = forward_mode.dual(x, Tensor(direction), number)
            outs = _outputs(function, args)
            tangents = [forward_mode.tangent_of(out, number) for out in outs]
            columns.append([
                np.zeros(out._array.size) if t is None else np.array(t._array).reshape(-1)
                for out, t in zip(outs, tangents, strict=True)
            ])  # fmt: skip
    return [np.stack([column[i] for column in columns], axis=1) for i in range(len(columns[0]))]


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    *,
    raise_exception: bool = True,
    check_forward_ad: bool = True,
    check_backward_ad: bool = True,
    nondet_tol: float = 0.0,
) -> bool:
    """Compare every entry of the Jacobians of ``func`` with central differences.

    Args:
        func: takes ``inputs``, returns a tensor or a tuple of tensors.
        inputs: tensors; those that require gradients (float64, please) are checked.
        eps: step of the differences.
        atol, rtol: an entry may differ by ``atol + rtol * |numerical|``.
        raise_exception: raise :class:`GradcheckError` with the two Jacobians, or return False.
        check_forward_ad, check_backward_ad: which of the two modes to check. A
            :class:`Function` without ``jvp`` in ``func`` leaves forward mode out.
        nondet_tol: how far two backward passes may differ.

    >>> import numpy as np, tilegrad as tg
    >>> x = tg.tensor(np.array([0.3, 0.7]), requires_grad=True)
    >>> tg.autograd.gradcheck(lambda x: x * x / 3.0, x)
    True
    """
    arguments = _tuple(inputs)
    checked = [i for i, x in enumerate(arguments) if _is_input(x)]
    if not checked:
        raise ValueError("gradcheck: none of the inputs requires gradients")
    for i in checked:
        if arguments[i].dtype != np.float64:
            raise ValueError(
                f"gradcheck: input {i} is {arguments[i].dtype}; differences need float64"
            )
    try:
        for i in checked:
            if arguments[i]._array.size == 0:
                continue
            expected = _numerical(func, arguments, i, eps)
            if check_backward_ad:
                with enable_grad():
                    outputs = _outputs(func, arguments)
                found = _reverse(outputs, arguments[i])
                again = _reverse(outputs, arguments[i])
                _compare(found, again, i, 0.0, nondet_tol, "a second backward")
                _compare(found, expected, i, rtol, atol, "reverse mode")
            if check_forward_ad:
                with suppress(NoForwardModeError):
                    found = _forward(func, arguments, i)
                    _compare(found, expected, i, rtol, atol, "forward mode")
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _compare(
    found: list[Array], expected: list[Array], position: int, rtol: float, atol: float, mode: str
) -> None:
    if len(found) != len(expected):
        raise GradcheckError(f"{mode}: {len(found)} results, expected {len(expected)}")
    for index, (a, b) in enumerate(zip(found, expected, strict=True)):
        if not np.allclose(a, b, rtol=rtol, atol=atol, equal_nan=False):
            raise GradcheckError(
                f"Jacobian of result {index} by input {position} ({mode}) differs from central "
                f"differences by up to {np.max(np.abs(a - b)):.3g}\nfound:\n{a}\nexpected:\n{b}"
            )


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    *,
    raise_exception: bool = True,
    check_forward_ad: bool = True,
    nondet_tol: float = 0.0,
) -> bool:
    """:func:`gradcheck` of the gradient of ``func``: its second derivatives, in both modes.

    ``grad_outputs`` are the cotangents to differentiate at, by default fixed random ones.

    >>> import numpy as np, tilegrad as tg
    >>> x = tg.tensor(np.array([0.3, 0.7]), requires_grad=True)
    >>> tg.autograd.gradgradcheck(lambda x: x * x * x, x)
    True
    """
    arguments = _tuple(inputs)
    outputs = [out for out in _outputs(func, arguments) if out._requires_grad]
    if grad_outputs is None:
        generator = np.random.default_rng(0)
        cotangents = tuple(Tensor(generator.standard_normal(out.shape), True) for out in outputs)
    else:
        cotangents = _tuple(grad_outputs)
    count = len(arguments)
    wanted = [i for i, x in enumerate(arguments) if _is_input(x)]

    def gradients(*args: Any) -> tuple[Tensor, ...]:
        with enable_grad():
            values = [_variable(x) if i in wanted else x for i, x in enumerate(args[:count])]
            outs = _outputs(func, values)
            kept = [out for out in outs if out._requires_grad]
            found = grad(
                kept, [values[i] for i in wanted], args[count:], create_graph=True,
                allow_unused=True, materialize_grads=True,
            )  # fmt: skip
        return tuple(g for g in found if g is not None)

    return gradcheck(
        gradients, (*arguments, *cotangents), eps, atol, rtol, raise_exception=raise_exception,
        check_forward_ad=check_forward_ad, nondet_tol=nondet_tol,
    )  # fmt: skip


def _variable(x: Tensor) -> Tensor:
    """``x`` itself where it has a gradient edge, else a leaf with its value."""
    return x if x._requires_grad else Tensor(x._array, True)
