"""Premium inquiry, payment confirmation, events; owns the one database."""
