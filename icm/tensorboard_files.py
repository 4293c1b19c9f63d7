"""TensorBoard writes its files without TensorFlow."""

import sys
from types import ModuleType

_SWITCH = "tensorboard.compat.notf"  # TensorBoard looks for this module, and does without TensorFlow where it is


def without_tensorflow() -> None:
    """Call it before TensorBoard is imported: where TensorFlow is installed it would load it, for file names only.

    That takes seconds, and a network that is compiled in the same process afterwards crashes (two copies of LLVM).
    """
    sys.modules.setdefault(_SWITCH, ModuleType(_SWITCH))
