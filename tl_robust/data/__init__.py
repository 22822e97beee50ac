"""Domains, spaces and pairs."""
