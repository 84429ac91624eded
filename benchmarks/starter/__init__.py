"""Generalists: small networks taught on many kinds of images by the features of a larger one."""
