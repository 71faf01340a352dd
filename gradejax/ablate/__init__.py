"""Experiments: many trainings in one program, statistics on their results, a report."""
