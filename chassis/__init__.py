"""What every service needs and no insurer does: a taxi company could use it too."""
