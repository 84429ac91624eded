"""A bank of small, real image classification tasks, made from packages of public registries."""
