"""Comparisons, tests and logic: results are bools or integers and carry no gradient."""

from __future__ import annotations

import numpy as np

from tilegrad.ops.define import discrete

equal = discrete("equal", lambda x, y: np.equal(x, y), "x y")
not_equal = discrete("not_equal", lambda x, y: np.not_equal(x, y), "x y")
less = discrete("less", lambda x, y: np.less(x, y), "x y")
less_equal = discrete("less_equal", lambda x, y: np.less_equal(x, y), "x y")
greater = discrete("greater", lambda x, y: np.greater(x, y), "x y")
greater_equal = discrete("greater_equal", lambda x, y: np.greater_equal(x, y), "x y")

isnan = discrete("isnan", lambda x: np.isnan(x), "x")
isinf = discrete("isinf", lambda x: np.isinf(x), "x")
isfinite = discrete("isfinite", lambda x: np.isfinite(x), "x")
isposinf = discrete("isposinf", lambda x: np.isposinf(x), "x")
isneginf = discrete("isneginf", lambda x: np.isneginf(x), "x")
signbit = discrete(
    "signbit", lambda x: np.signbit(x) if np.asarray(x).dtype.kind == "f" else np.less(x, 0), "x"
)

logical_and = discrete("logical_and", lambda x, y: np.logical_and(x, y), "x y")
logical_or = discrete("logical_or", lambda x, y: np.logical_or(x, y), "x y")
logical_xor = discrete("logical_xor", lambda x, y: np.logical_xor(x, y), "x y")
logical_not = discrete("logical_not", lambda x: np.logical_not(x), "x")

bitwise_and = discrete("bitwise_and", lambda x, y: np.bitwise_and(x, y), "x y")
bitwise_or = discrete("bitwise_or", lambda x, y: np.bitwise_or(x, y), "x y")
bitwise_xor = discrete("bitwise_xor", lambda x, y: np.bitwise_xor(x, y), "x y")
bitwise_not = discrete("bitwise_not", lambda x: np.bitwise_not(x), "x")
left_shift = discrete("left_shift", lambda x, y: np.left_shift(x, y), "x y")
right_shift = discrete("right_shift", lambda x, y: np.right_shift(x, y), "x y")
gcd = discrete("gcd", lambda x, y: np.gcd(x, y), "x y")
lcm = discrete("lcm", lambda x, y: np.lcm(x, y), "x y")
