"""A stateful stand-in for AMK's app and back office, and for the insurer's look-up.

A program for demonstration, training and certification. It shares no code with the
gateway that it plays against.
"""
