"""Corpora: one module for each layout on disk, the manifest of utterances that they become, and downloads."""
