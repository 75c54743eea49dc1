"""Functions on tensors that networks are made of; names and signatures are torch's."""

from tilegrad.nn.functional.activation import *  # noqa: F403
from tilegrad.nn.functional.attention import *  # noqa: F403
from tilegrad.nn.functional.classification import *  # noqa: F403
from tilegrad.nn.functional.convolution import *  # noqa: F403
from tilegrad.nn.functional.dropout import *  # noqa: F403
from tilegrad.nn.functional.linear import *  # noqa: F403
from tilegrad.nn.functional.margin import *  # noqa: F403
from tilegrad.nn.functional.normalization import *  # noqa: F403
from tilegrad.nn.functional.padding import *  # noqa: F403
from tilegrad.nn.functional.pooling import *  # noqa: F403
from tilegrad.nn.functional.regression import *  # noqa: F403
from tilegrad.nn.functional.resample import *  # noqa: F403
from tilegrad.nn.functional.sequence import *  # noqa: F403
