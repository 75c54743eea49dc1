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
from tilegrad.calculus.identity_table import CheckedIdentity, Identities, identities
from tilegrad.calculus.jacobian import hessian_diag, jacobian
from tilegrad.calculus.kronecker import Kronecker
from tilegrad.calculus.matrices import (
    commutation_matrix,
    duplication_matrix,
    elimination_matrix,
    hadamard,
    khatri_rao,
    kron,
    unvec,
    unvech,
    vec,
    vech,
)
from tilegrad.calculus.scores import opg_covariance, scores
from tilegrad.calculus.structures import Dense, Diagonal, Identity, Jacobian, Sum
from tilegrad.calculus.symmetric import grad

__all__ = [
    "CheckedIdentity",
    "CriticalPoint",
    "Dense",
    "Diagonal",
    "Identities",
    "Identity",
    "Jacobian",
    "Kronecker",
    "Sum",
    "TangentPlane",
    "Taylor",
    "commutation_matrix",
    "critical_point",
    "directional",
    "duplication_matrix",
    "elimination_matrix",
    "grad",
    "hadamard",
    "hessian_diag",
    "identities",
    "is_minimum",
    "jacobian",
    "khatri_rao",
    "kron",
    "opg_covariance",
    "scores",
    "tangent_plane",
    "taylor",
    "unvec",
    "unvech",
    "vec",
    "vech",
]
