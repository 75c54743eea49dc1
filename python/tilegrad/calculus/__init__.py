"""Matrix calculus: Jacobians in every layout, expansions, Hessians, scores."""

from tilegrad.calculus.expansion import (
    CriticalPoint,
    TangentPlane,
    Taylor,
    critical_point,
    directional,
    is_minimum,
    tangent_plane,
    taylor,
)
from tilegrad.calculus.jacobian import hessian_diag, jacobian
from tilegrad.calculus.scores import opg_covariance, scores
from tilegrad.calculus.structures import Dense, Diagonal, Identity, Jacobian, Kronecker

__all__ = [
    "CriticalPoint",
    "Dense",
    "Diagonal",
    "Identity",
    "Jacobian",
    "Kronecker",
    "TangentPlane",
    "Taylor",
    "critical_point",
    "directional",
    "hessian_diag",
    "is_minimum",
    "jacobian",
    "opg_covariance",
    "scores",
    "tangent_plane",
    "taylor",
]
