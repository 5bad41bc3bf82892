"""The operations that TDN adds to a ResNet: ours beside their peers, forward and backward."""
