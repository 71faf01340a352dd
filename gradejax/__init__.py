"""Recognises hand-drawn school grades, A+ to E-."""
