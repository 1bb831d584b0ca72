"""The client of endpoints, the listener, its web configuration and its pages."""
