"""Looking on while the main thread trains: stalls, lost hosts, and signs of life to the outside."""
