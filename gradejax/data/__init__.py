"""Drawings in and out of a store: NDJSON, JSON, folders of PNG files; counted, made, checked and backed up."""
