from tests.tdn.trained_networks import checkpoint, config, videos

__all__ = ["checkpoint", "config", "videos"]
