"""Model containers (`.ttm`): format, pipeline and reader. Knows no keystore: keys come in as arguments."""
