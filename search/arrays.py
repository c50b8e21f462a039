"""Types of the NumPy arrays that modules hand to each other: float32 values and int64 row numbers or labels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
