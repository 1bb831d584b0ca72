"""What link keys tie together, also over the borders of days."""
