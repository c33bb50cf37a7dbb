"""Man pages and completions, generated from the parser."""
