"""The chart, and what makes the parts of it that come from elsewhere."""
