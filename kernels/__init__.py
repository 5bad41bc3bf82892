"""The operations that TDN adds to a ResNet, one a file, each as its eager PyTorch reference."""
