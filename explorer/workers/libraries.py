"""Import TensorFlow and Keras without the optional libraries that nothing here uses."""

from __future__ import annotations

import sys

from explorer.workers import garbage

# Keras looks for these when it is imported, for its wrappers around them, and does without where they are not there.
# They would take a third of the time and 120 MB.
LEFT_OUT = ("sklearn", "pandas")


def load() -> None:
    """Import TensorFlow and Keras; what is left out can still be imported afterwards."""
    hidden = [name for name in LEFT_OUT if name not in sys.modules]
    # To an import statement, a name that stands for nothing here is one that is not installed.
    sys.modules.update(dict.fromkeys(hidden))
    try:
        with garbage.left_alone():
            import keras  # noqa: F401
            import tensorflow  # noqa: F401
    finally:
        for name in hidden:
            del sys.modules[name]
