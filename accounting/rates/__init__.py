"""Prices: from usage to priced lines."""
