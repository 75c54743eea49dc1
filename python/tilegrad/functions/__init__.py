"""The public array functions, and the methods of tensors made from them."""

from tilegrad.functions import methods
from tilegrad.functions.arithmetic import *  # noqa: F403
from tilegrad.functions.creation import *  # noqa: F403
from tilegrad.functions.cumulative import *  # noqa: F403
from tilegrad.functions.dtypes import *  # noqa: F403
from tilegrad.functions.elementwise import *  # noqa: F403
from tilegrad.functions.indexing import *  # noqa: F403
from tilegrad.functions.matrices import *  # noqa: F403
from tilegrad.functions.more import *  # noqa: F403
from tilegrad.functions.products import *  # noqa: F403
from tilegrad.functions.random import *  # noqa: F403
from tilegrad.functions.reductions import *  # noqa: F403
from tilegrad.functions.shaping import *  # noqa: F403
from tilegrad.functions.sorting import *  # noqa: F403

methods.attach()
