"""Options that several commands share, as values of the package below."""
