"""Claims, links and samples into who holds which card. Pure; nothing is dropped."""
