"""Pages that people look at: static files served strictly, and the kit that they share."""
