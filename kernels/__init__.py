"""The operations that TDN adds to a ResNet, in eager PyTorch and as Triton kernels.

``backend`` says which of the two runs.
"""
