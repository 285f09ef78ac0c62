"""What several tests of training share."""

import pytest


@pytest.fixture
def doubles():
    """Keras in double precision, so that two ways of computing agree far beyond single precision's rounding."""
    import keras  # not while tests are collected

    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
