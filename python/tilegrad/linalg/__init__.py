"""Linear algebra: names and semantics of torch.linalg and numpy.linalg, every derivative.

All functions take stacks of matrices on their last two axes. On arrays they return arrays.
"""

from tilegrad.linalg.determinants import adjugate, cofactor, det, logdet, slogdet
from tilegrad.linalg.elimination import elementary, lu, lu_factor, lu_factor_ex, lu_solve, rref
from tilegrad.linalg.factorizations import (
    cholesky,
    cholesky_ex,
    diagonalize,
    eig,
    eigh,
    eigvals,
    eigvalsh,
    nullspace,
    qr,
    similar,
    svd,
    svdvals,
)
from tilegrad.linalg.functions import (
    expm,
    expm_frechet,
    funm,
    logm,
    matrix_exp,
    matrix_power,
    sqrtm,
)
from tilegrad.linalg.norms import cond, matrix_norm, norm, vector_norm
from tilegrad.linalg.products import (
    cross,
    diagonal,
    householder_product,
    matmul,
    matrix_transpose,
    multi_dot,
    outer,
    tensordot,
    trace,
    vander,
    vecdot,
)
from tilegrad.linalg.solving import (
    LstsqResult,
    cholesky_inverse,
    cholesky_solve,
    inv,
    inv_ex,
    lstsq,
    matrix_rank,
    pinv,
    solve,
    solve_ex,
    solve_triangular,
    tensorinv,
    tensorsolve,
)
from tilegrad.ops.linalg_checks import LinAlgError

__all__ = [
    "LinAlgError", "LstsqResult", "adjugate", "cholesky", "cholesky_ex", "cholesky_inverse",
    "cholesky_solve", "cofactor", "cond", "cross", "det", "diagonal", "diagonalize", "eig", "eigh",
    "eigvals", "eigvalsh", "elementary", "expm", "expm_frechet", "funm", "householder_product",
    "inv", "inv_ex", "logdet", "logm", "lstsq", "lu", "lu_factor", "lu_factor_ex", "lu_solve",
    "matmul", "matrix_exp", "matrix_norm", "matrix_power", "matrix_rank", "matrix_transpose",
    "multi_dot", "norm", "nullspace", "outer", "pinv", "qr", "rref", "similar", "slogdet", "solve",
    "solve_ex", "solve_triangular", "sqrtm", "svd", "svdvals", "tensordot", "tensorinv",
    "tensorsolve", "trace", "vander", "vecdot", "vector_norm",
]  # fmt: skip
