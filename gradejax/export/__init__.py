"""A trained recogniser as a file that other programs run."""
