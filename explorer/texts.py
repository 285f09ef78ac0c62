"""Words that the page and the command line share: a title and a help sentence for each control, names of choices."""

from __future__ import annotations

TITLES = {
    "dataset": "Data",
    "num_words": "Words",
    "train_samples": "Training examples",
    "label_noise": "Flipped training labels",
    "validation": "Validate on",
    "hidden": "Architecture",
    "activation": "Activation",
    "batch_norm": "Batch normalisation",
    "regularizer": "Regularizer",
    "l1": "L1 strength",
    "l2": "L2 strength",
    "regularize_output": "Regularize the output layer too",
    "dropout": "Dropout rate",
    "initializer": "Initial weights",
    "optimizer": "Optimizer",
    "learning_rate": "Learning rate",
    "weight_decay": "Weight decay",
    "batch_size": "Batch size",
    "seed": "Seed",
    "epochs": "Epochs",
    "patience": "Early stopping: patience",
    "device": "Device",
}

# One sentence each: what it does to under- and overfitting.
HELP = {
    "dataset": "What is learnt: the fewer and the noisier the examples, the sooner a network overfits.",
    "num_words": "Length of the multi-hot vectors: rare words are easy to memorise, so more of them overfit sooner, "
                 "and too few underfit.",
    "train_samples": "How many examples are fitted: with few a network learns them by heart, and more are the best "
                     "remedy against overfitting.",
    "label_noise": "Share of training labels that are made wrong: only memorising can fit those, which makes "
                   "overfitting plain to see.",
    "validation": "What the dashed line is measured on: held-out training rows show overfitting and leave the test set "
                  "for the end; choosing by the test set itself, as the tutorials do, slowly overfits to it.",
    "hidden": "Units of each hidden layer: too few cannot fit (underfitting), many can memorise (overfitting).",
    "activation": "The bend after each layer: without a bend that learns well, a network underfits whatever its size.",
    "batch_norm": "Normalises each layer over the batch: it speeds fitting up, and its noise regularizes a little.",
    "regularizer": "A price on large weights: L1 drives some to zero, L2 makes all small, and both hold overfitting "
                   "back.",
    "l1": "Price of the sum of absolute weights: too little leaves overfitting as it is, too much underfits.",
    "l2": "Price of the sum of squared weights: too little leaves overfitting as it is, too much underfits.",
    "regularize_output": "Whether the last layer pays the price too: a little more restraint against overfitting.",
    "dropout": "Share of units silenced at random in each training step: it slows memorising, and too much underfits.",
    "initializer": "How large the first weights are: in deep networks the wrong size stalls fitting, which looks like "
                   "underfitting.",
    "optimizer": "How weights follow the gradient: a faster one reaches the best epoch sooner, and overfitting too.",
    "learning_rate": "Length of a step: too small underfits within the epochs given, too large never settles.",
    "weight_decay": "Shrinks the weights a little at each step, apart from the loss: it holds overfitting back as a "
                    "penalty does.",
    "batch_size": "Examples a step: small batches are noisier, which regularizes a little, and take longer.",
    "seed": "Start of all chance: the same seed repeats a run exactly, another shows how much of a difference is luck.",
    "epochs": "How often the training data are seen: too few underfit, and beyond the best epoch a network overfits.",
    "patience": "Ends training once validation has not improved for so many epochs: the simplest stop to overfitting.",
    "device": "Where the run is trained: it changes the time, not the overfitting.",
}

CHOICES = {
    "regularizer": {"none": "None", "l1": "L1", "l2": "L2", "l1_l2": "L1 + L2"},
    "optimizer": {"adam": "Adam", "rmsprop": "RMSprop", "sgd": "SGD", "momentum": "SGD with momentum",
                  "adamw": "AdamW"},
    "activation": {"relu": "ReLU", "tanh": "tanh", "sigmoid": "Sigmoid", "elu": "ELU", "selu": "SELU",
                   "gelu": "GELU"},
    "initializer": {"glorot_uniform": "Glorot uniform", "he_normal": "He normal"},
}

# Sizes by name; `hidden` itself is in the address, so a preset is a shortcut only.
ARCHITECTURES = {
    "Tiny · 4-4": (4, 4),
    "Small · 16-16": (16, 16),
    "Medium · 64-64": (64, 64),
    "Large · 512-512": (512, 512),
    "Very large · 1024-1024": (1024, 1024),
    "Deep · 100 × 6": (100,) * 6,
}

PHASES = {
    "starting": "Waiting for the training process",
    "loading": "Loading the data",
    "downloading": "Downloading the data",
    "preparing": "Preparing the data for the first time",
    "building": "Building the network",
    "training": "Training",
    "testing": "Scoring the test set",
}


def duration(seconds: float) -> str:
    """Seconds as a person says them: `0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
