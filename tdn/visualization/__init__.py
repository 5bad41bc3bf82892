"""Pictures of what goes into the network."""
