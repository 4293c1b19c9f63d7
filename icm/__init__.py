"""Image coding for machines and face privacy: codecs, face recognition and their measurement.

``icm.evaluate`` measures a codec on pictures at hand, ``icm.codecs.create`` makes a codec, ``icm.codecs.decode`` reads
any coded picture, ``icm.faces`` finds faces.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "codecs", "evaluate", "faces"]


def __getattr__(name: str) -> Any:
    # Imported when it is used, so that `import icm` costs nothing.
    if name in ("codecs", "faces"):
        return import_module(f"icm.{name}")
    if name == "evaluate":
        from icm.api import evaluate

        return evaluate
    raise AttributeError(f"module 'icm' has no attribute {name!r}")
