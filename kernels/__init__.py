"""The operations that TDN adds to a ResNet, in eager PyTorch and as Triton kernels.

An operation a module, the formula at its head: ``short_term_stem``, ``fusion``,
``long_term_difference``, ``branch_sum``, ``excitation``, ``gated_mix`` (the excitation with the
temporal conv behind it), ``temporal_conv``, ``moments`` and ``mixup``. What outgrows the module
stands beside it, under its name. ``backend`` says whether the kernels run or eager PyTorch.

The others are what kernels have in common: ``layout`` of images in memory, ``map_tiles`` of maps
with few channels, ``interleave``, ``numerics``, and ``norm``, a batch norm as they take it.
"""
