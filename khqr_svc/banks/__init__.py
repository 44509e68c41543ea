"""One file per bank, and the port they all fit."""
