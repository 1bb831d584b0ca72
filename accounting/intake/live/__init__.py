"""What only the live side can know, kept round by round: who was seen, which cards they held, and what those did."""
