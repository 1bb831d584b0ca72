"""The accounting API: who may ask, its pages, its own metrics, and its work on a clock."""
