"""What a batch is made of, as a pure function of seed, epoch and position; nothing is decoded.

``plans`` puts it together: ``order`` draws the videos, ``segments`` the frames (paper section 3.1),
``augmentation`` the crops and flips, ``photometric`` the colours, and ``protocol`` the views that
are tested. All of them draw by ``randomness``.
"""
