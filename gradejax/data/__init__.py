"""Drawings in and out of a store: files, folders, backups, statistics, synthetic drawings and checks."""
