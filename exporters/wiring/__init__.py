"""From sections of the settings to the sources that they ask for: a file for each room of sources, and one list."""
