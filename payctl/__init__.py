"""The command line: start everything, mint tokens."""
