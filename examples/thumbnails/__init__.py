"""Thumbnails with Pillow."""
