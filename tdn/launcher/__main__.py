"""``python -m tdn.launcher``: see the package."""

from __future__ import annotations

import os
import signal

if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
        # Nothing has been started while torch is being imported.
        signal.signal(number, lambda *_: os._exit(os.EX_TEMPFAIL))
    # Pages of C++ frames about nodes that have ended; torch reads this once. Not for the processes.
    quiet = {"TORCH_CPP_LOG_LEVEL": "FATAL"} if "TORCH_CPP_LOG_LEVEL" not in os.environ else {}
    os.environ.update(quiet)
    from tdn.launcher.launch import main

    for name in quiet:
        del os.environ[name]
    raise SystemExit(main())
