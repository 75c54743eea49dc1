"""Functions entry by entry: the operations themselves under their public names."""

from __future__ import annotations

from tilegrad.ops import arithmetic as _a
from tilegrad.ops import comparison as _c
from tilegrad.ops import exponential as _e
from tilegrad.ops import selection as _s
from tilegrad.ops import special as _special
from tilegrad.ops import trigonometric as _t

neg = negative = _a.negative
positive = _a.positive
abs = absolute = _a.absolute
square = _a.square
reciprocal = _a.reciprocal
sign = sgn = _a.sign
floor = _a.floor
ceil = _a.ceil
trunc = fix = _a.trunc
frac = _a.frac
remainder = _a.remainder
fmod = _a.fmod
floor_divide = _a.floor_divide
copysign = _a.copysign
multiply = mul = _a.multiply
true_divide = _a.divide

sqrt = _e.sqrt
rsqrt = _e.rsqrt
exp = _e.exp
exp2 = _e.exp2
expm1 = _e.expm1
log = _e.log
log2 = _e.log2
log10 = _e.log10
log1p = _e.log1p
logaddexp = _e.logaddexp
logaddexp2 = _e.logaddexp2
sigmoid = _e.sigmoid
tanh = _e.tanh
erf = _e.erf
erfc = _e.erfc

sin = _t.sin
cos = _t.cos
tan = _t.tan
asin = arcsin = _t.asin
acos = arccos = _t.acos
atan = arctan = _t.atan
sinh = _t.sinh
cosh = _t.cosh
asinh = arcsinh = _t.asinh
acosh = arccosh = _t.acosh
atanh = arctanh = _t.atanh
atan2 = arctan2 = _t.atan2
hypot = _t.hypot
sinc = _t.sinc

eq = _c.equal
ne = not_equal = _c.not_equal
lt = less = _c.less
le = less_equal = _c.less_equal
gt = greater = _c.greater
ge = greater_equal = _c.greater_equal
isnan = _c.isnan
isinf = _c.isinf
isfinite = _c.isfinite
isposinf = _c.isposinf
isneginf = _c.isneginf
signbit = _c.signbit
logical_and = _c.logical_and
logical_or = _c.logical_or
logical_xor = _c.logical_xor
logical_not = _c.logical_not
bitwise_and = _c.bitwise_and
bitwise_or = _c.bitwise_or
bitwise_xor = _c.bitwise_xor
bitwise_not = bitwise_invert = _c.bitwise_not
bitwise_left_shift = _c.left_shift
bitwise_right_shift = _c.right_shift
gcd = _c.gcd
lcm = _c.lcm

maximum = _s.maximum
minimum = _s.minimum
fmax = _s.fmax
fmin = _s.fmin
heaviside = _s.heaviside

lgamma = _special.lgamma
erfinv = _special.erfinv
nextafter = _special.nextafter

__all__ = [
    "abs",
    "absolute",
    "acos",
    "acosh",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_not",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "ceil",
    "copysign",
    "cos",
    "cosh",
    "eq",
    "erf",
    "erfc",
    "erfinv",
    "exp",
    "exp2",
    "expm1",
    "fix",
    "floor",
    "floor_divide",
    "fmax",
    "fmin",
    "fmod",
    "frac",
    "gcd",
    "ge",
    "greater",
    "greater_equal",
    "gt",
    "heaviside",
    "hypot",
    "isfinite",
    "isinf",
    "isnan",
    "isneginf",
    "isposinf",
    "lcm",
    "le",
    "less",
    "less_equal",
    "lgamma",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "logaddexp2",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "lt",
    "maximum",
    "minimum",
    "mul",
    "multiply",
    "ne",
    "neg",
    "negative",
    "nextafter",
    "not_equal",
    "positive",
    "reciprocal",
    "remainder",
    "rsqrt",
    "sgn",
    "sigmoid",
    "sign",
    "signbit",
    "sin",
    "sinc",
    "sinh",
    "sqrt",
    "square",
    "tan",
    "tanh",
    "true_divide",
    "trunc",
]  # fmt: skip
