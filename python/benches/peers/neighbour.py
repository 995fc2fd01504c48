"""A neighbour that keeps one core busy."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager

#: Arithmetic in registers: it takes time of the core, and nothing else.
LOAD = "import os, sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"


class Neighbour:
    """Spins on the first core of this process while it is asked to."""

    def __init__(self):
        self.process = subprocess.Popen([sys.executable, "-c", LOAD, str(min(os.sched_getaffinity(0)))])
        self.process.send_signal(signal.SIGSTOP)

    @contextmanager
    def busy(self):
        self.process.send_signal(signal.SIGCONT)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGSTOP)

    def end(self):
        self.process.kill()
        self.process.wait()
