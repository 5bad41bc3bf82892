"""The demonstration: data, training of TDN and of the frame-only baseline, comparison, picture."""
