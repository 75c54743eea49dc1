"""What users call: ``backward`` and ``grad``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tilegrad.autograd import engine, recording
from tilegrad.autograd.tensor import Tensor, edge_of


def _sequence(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _roots(
    outputs: tuple[Tensor, ...], gradients: tuple[Any, ...], where: str
) -> list[tuple[Any, Any]]:
    """Check outputs and their gradients, and pair each edge with its array or tensor."""
    if len(gradients) != len(outputs):
        raise ValueError(f"{where}: {len(outputs)} outputs but {len(gradients)} gradients")
    roots = []
    for output, gradient in zip(outputs, gradients, strict=True):
        if not isinstance(output, Tensor):
            raise TypeError(f"{where}: outputs must be tensors, got {type(output).__name__}")
        if not output._requires_grad:
            raise RuntimeError(
                f"{where}: an output of shape {output.shape} does not require gradients: nothing "
                "it was computed from does, or it was computed within no_grad"
            )
        output._check_current()
        if gradient is None:
            if output._array.size != 1:
                raise RuntimeError(
                    f"{where}: the gradient can be left out for a scalar only; the output has "
                    f"shape {output.shape}, so pass a gradient of that shape"
                )
            gradient = recording.constant(np.ones(output.shape, output.dtype))
        elif not isinstance(gradient, Tensor):
            gradient = np.asarray(gradient, dtype=output.dtype)
        if gradient.shape != output.shape:
            raise ValueError(
                f"{where}: gradient of shape {gradient.shape} for an output of shape {output.shape}"
            )
        if isinstance(gradient, Tensor) and not (
            gradient._requires_grad or gradient._tangents is not None
        ):
            gradient = gradient._array
        roots.append((edge_of(output), gradient))
    return roots


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensor | Sequence[Tensor] | None = None,
) -> None:
    """Add the gradients of ``tensors`` to ``.grad`` of the leaves they were computed from.

    Args:
        tensors: one tensor or several; non-scalar ones need a gradient.
        grad_tensors: gradients of the same shapes, None for scalars.
        retain_graph: keep saved values for another backward; by default as ``create_graph``.
        create_graph: record the backward pass, for higher derivatives.
        inputs: only these receive gradients.

    Raises:
        RuntimeError: an output has no graph, was freed, or an input it saved was changed in place.

    >>> import tilegrad as tg
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> tg.autograd.backward((x * x).sum())
    >>> x.grad.numpy()
    array([2., 4.], dtype=float32)
    """
    outputs = _sequence(tensors)
    gradients = (None,) * len(outputs) if grad_tensors is None else _sequence(grad_tensors)
    roots = _roots(outputs, gradients, "backward")
    retain = create_graph if retain_graph is None else retain_graph
    if inputs is None:
        engine.run(roots, create_graph=create_graph, retain_graph=retain)
        return
    leaves = _sequence(inputs)
    found = grad(
        outputs, leaves, gradients, retain_graph=retain, create_graph=create_graph,
        allow_unused=True,
    )  # fmt: skip
    for leaf, g in zip(leaves, found, strict=True):
        if g is not None:
            leaf.grad = g if leaf.grad is None else leaf.grad + g


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """Gradients of ``outputs`` by ``inputs``, returned rather than accumulated.

    Args:
        outputs: one tensor or several; non-scalar ones need an entry in ``grad_outputs``.
        inputs: tensors of the graph, leaves or not.
        grad_outputs: cotangents of the outputs' shapes, None for scalars.
        retain_graph: keep saved values for another backward; by default as ``create_graph``.
        create_graph: record the pass, for higher derivatives.
        allow_unused: give None for inputs that the outputs do not depend on, instead of raising.
        materialize_grads: give zeros for those.

    Returns:
        One gradient per input.

    >>> import tilegrad as tg
    >>> x = tg.tensor([3.0], requires_grad=True)
    >>> (g,) = tg.autograd.grad(x**3, x, create_graph=True)
    >>> tg.autograd.grad(g, x)[0].item()
    18.0
    """
    outs, ins = _sequence(outputs), _sequence(inputs)
    gradients = (None,) * len(outs) if grad_outputs is None else _sequence(grad_outputs)
    for x in ins:
        if not isinstance(x, Tensor) or not x._requires_grad:
            raise RuntimeError("grad: every input must be a tensor that requires gradients")
    retain = create_graph if retain_graph is None else retain_graph
    roots = _roots(outs, gradients, "grad")
    found = engine.run(
        roots, targets=[edge_of(x) for x in ins], create_graph=create_graph, retain_graph=retain
    )
    results: list[Tensor | None] = []
    for position, (x, g) in enumerate(zip(ins, found, strict=True)):
        if g is None:
            if materialize_grads:
                g = np.zeros(x.shape, x.dtype)
            elif not allow_unused:
                raise RuntimeError(
                    f"grad: the outputs do not depend on input {position} (shape {x.shape}); "
                    "pass allow_unused=True for None, or materialize_grads=True for zeros"
                )
        if g is not None and not isinstance(g, Tensor):
            g = Tensor(np.array(g))
        results.append(g)
    return tuple(results)
