"""Attacks: searches for the image near a given one that a network gets wrong.

An attack takes a function from images to logits, never a network, so it can't depend on how one is built.
"""
