"""The types of arrays that travel between steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Arrays = dict[str, Array]
"""By the name of an input or output."""
NamedArrays = Mapping[str, Array]
"""The same, to be read alone."""
