"""Formats as bytes and values: header, slots, body, trailer, manifest. Pure; opens no file."""
