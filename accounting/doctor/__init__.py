"""What keeps a site from being told the truth: looked at from outside, and said with what mends it."""
