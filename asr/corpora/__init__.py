"""Corpora: one module for each layout on disk, the manifest of utterances that they become, downloads, and
speech synthesised from text.
"""
