"""How the KHQR service stands, for operators."""
