"""The program around every command: process, parser, common options, error boundary."""
