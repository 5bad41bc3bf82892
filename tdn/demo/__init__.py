"""The demonstration: data, training of TDN and of the frame-only baseline, comparison, picture.

``run`` does all of it, ``pairs`` compares within pairs of classes, ``contact_sheet`` draws the
picture.
"""
