"""Keras, and nothing else: networks, data laid out for them, and the loops that train them."""
