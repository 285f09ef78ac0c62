"""The overfitting explorer: train real Keras models and watch them memorize."""
