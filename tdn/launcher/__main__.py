"""``python -m tdn.launcher``: see the package."""

from __future__ import annotations

import os
import signal

if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
        # Nothing has been started while torch is being imported.
        signal.signal(number, lambda *_: os._exit(os.EX_TEMPFAIL))
    from tdn.launcher.launch import main

    raise SystemExit(main())
