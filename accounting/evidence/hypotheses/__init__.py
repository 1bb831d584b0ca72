"""What a record cannot tell and somebody had to guess, and what is known instead."""
