"""What operators see and do: the reading side, and how two people end what is held."""
