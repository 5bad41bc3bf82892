from tests.tdn.trained_networks import checkpoint, config

__all__ = ["checkpoint", "config"]
