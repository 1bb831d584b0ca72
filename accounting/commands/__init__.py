"""The verbs of the command line about books, months and disputes."""
