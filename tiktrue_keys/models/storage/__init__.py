"""Where bytes lie: files and objects, their locks, reading at a position, uploads."""
