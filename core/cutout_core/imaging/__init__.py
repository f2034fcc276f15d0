"""Pixels: reading, resizing, normalising, composing and writing images. One algorithm or concern a file.

Arrays are uint8 [H, W, 3] in R, G, B order and uint8 [H, W] alphas unless a docstring says otherwise.
"""
