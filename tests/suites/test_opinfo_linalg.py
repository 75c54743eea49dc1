"""PyTorch's OpInfo samples of linear algebra: values and gradients in float64.

Where a result is known up to signs or rotations (eigenvectors, singular vectors, complements), what
is compared does not depend on them. The tolerance is 1e-10 of the largest entry, times the
condition number for samples made singular on purpose.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import tilegrad as tg

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")
opinfo = pytest.importorskip("test_opinfo")

RTOL = 1e-10

#: OpInfo's names with the samples that have to agree: all of them, but for what is said below.
COUNTS = {
    "linalg.cholesky": 16, "linalg.cholesky_ex": 16, "linalg.cond": 3, "linalg.cross": 3,
    "linalg.det": 9, "linalg.diagonal": 15, "linalg.eigh": 8, "linalg.eigvalsh": 8,
    "linalg.householder_product": 8, "linalg.inv": 8, "linalg.inv_ex": 8, "linalg.lstsq": 36,
    "linalg.lu": 20, "linalg.lu_factor": 20, "linalg.lu_factor_ex": 20, "linalg.lu_solve": 324,
    "linalg.matrix_norm": 64, "linalg.matrix_power": 18, "linalg.matrix_rank": 72,
    "linalg.multi_dot": 7, "linalg.norm": 102, "linalg.pinv": 24, "linalg.qr": 36,
    "linalg.slogdet": 9, "linalg.solve": 24, "linalg.solve_ex": 24,
    "linalg.solve_triangular": 432, "linalg.svd": 216, "linalg.svdvals": 36, "linalg.tensorinv": 2,
    "linalg.tensorsolve": 4, "linalg.vander": 10, "linalg.vecdot": 44, "linalg.vector_norm": 180,
    "cholesky": 16, "cholesky_inverse": 12, "cholesky_solve": 12, "logdet": 9, "matrix_exp": 2,
    "pinverse": 8, "qr": 36,
}  # fmt: skip


def _vectors(v: Any) -> Any:
    """A stack of vectors as what does not change with their signs: weighted projectors."""
    weights = torch.arange(1.0, v.shape[-1] + 1, dtype=torch.float64)
    if isinstance(v, torch.Tensor):
        return (v * weights) @ v.mT
    return (v * tg.tensor(weights.numpy())) @ v.mT


def _eigh(result: Any) -> Any:
    return result[0], _vectors(result[1])


def _svd(result: Any) -> Any:
    u, s, vh = result
    k = s.shape[-1]
    u, v = u[..., :k], vh.mT[..., :k]
    return s, _vectors(u), _vectors(v), u @ v.mT


def _qr(result: Any) -> Any:
    q, r = result
    k = min(r.shape[-2:]) if r.ndim else 0
    return (q[..., :k] if q.numel() and q.shape[-1] > k else q), r


def _lstsq(result: Any) -> Any:
    return result[0]  # what else torch returns depends on its driver


SHOWN: dict[str, Callable[[Any], Any]] = {
    "linalg.eigh": _eigh, "linalg.svd": _svd, "linalg.qr": _qr, "qr": _qr, "linalg.lstsq": _lstsq,
}  # fmt: skip


def _symmetric_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of ``x + x^T``: OpInfo's samples are symmetrised by whoever checks them."""
    return lambda x, *args, **kwargs: function(x + x.mT, *args, **kwargs)


def _triangular_factor(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of one triangle of L: torch's gradient has entries where L is not read, too."""

    def of_triangle(*args: Any, upper: bool = False) -> Any:
        *others, factor = args
        return function(*others, factor.triu() if upper else factor.tril(), upper=upper)

    return of_triangle


def _agree(info: Any, sample: Any) -> None:
    show = SHOWN.get(info.name, lambda result: result)
    ours, theirs = opinfo.counterpart(info.name), info.op
    if info.name.startswith("linalg.eig") or info.variant_test_name == "hermitian":
        ours, theirs = _symmetric_argument(ours), _symmetric_argument(theirs)

    class Shown:
        """The sample's operation, its result brought to what is compared."""

        name = info.name

        @staticmethod
        def op(*args: Any, **kwargs: Any) -> Any:
            return show(theirs(*args, **kwargs))

    if info.name in ("cholesky_solve", "cholesky_inverse"):
        ours, theirs = _triangular_factor(ours), _triangular_factor(theirs)
    opinfo.check_sample(Shown, lambda *args, **kwargs: show(ours(*args, **kwargs)), sample)


def _infos() -> list[Any]:
    return [
        info
        for info in opinfo.common.op_db
        if info.name in COUNTS and info.variant_test_name in ("", "hermitian")
    ]


@pytest.mark.parametrize("info", _infos(), ids=lambda i: f"{i.name}{i.variant_test_name}")
@pytest.mark.filterwarnings("ignore")
def test_samples(info: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opinfo, "RTOL", RTOL)
    agreed, failures = 0, []
    for number, sample in enumerate(opinfo.samples(info)):
        try:
            _agree(info, sample)
            agreed += 1
        except Exception as error:
            failures.append(f"sample {number}: {type(error).__name__}: {str(error)[:300]}")
    assert not failures, "\n".join(failures[:5]) + f"\n{len(failures)} of {agreed + len(failures)}"
    assert agreed == (COUNTS[info.name] if not info.variant_test_name else 8)
