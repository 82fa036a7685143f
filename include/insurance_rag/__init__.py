"""Keeps a document-grounded insurance assistant fresh: one package per stage, from chunks to a measured adapter."""

__version__ = "0.3.0"
