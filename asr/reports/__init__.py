"""Score pairs of reference and hypothesis, and write the scores as text, JSON, HTML pages and sclite's files."""
