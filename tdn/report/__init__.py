"""The report: one page about a run, which needs nothing but a browser.

``record`` reads the run folder, ``charts`` and ``examples`` make the pictures, ``page`` puts them
into ``page.html``.
"""
