"""Transforms of functions: derivatives and batches, nested in any order."""

from tilegrad.func.forward import jvp
from tilegrad.func.jacobians import hessian, hvp, jacfwd, jacrev, linearize
from tilegrad.func.modules import functional_call, stack_module_state
from tilegrad.func.pytree import tree_map
from tilegrad.func.reverse import grad, grad_and_value, value_and_grad, vjp
from tilegrad.func.vmap import basis, per_sample_grad, vmap

__all__ = [
    "basis",
    "functional_call",
    "grad",
    "grad_and_value",
    "hessian",
    "hvp",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "per_sample_grad",
    "stack_module_state",
    "tree_map",
    "value_and_grad",
    "vjp",
    "vmap",
]
