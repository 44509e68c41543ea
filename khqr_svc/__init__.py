"""Asks what is due, asks the bank for a KHQR code, checks it and hands it out; keeps nothing."""
