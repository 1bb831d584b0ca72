"""The demo: a recorded site and a simulated fleet, run by the same code as production. Nobody imports it."""
