"""Runs a command, and says how long it took, how much of processors, and how much memory it had at most.

    python watch.py COMMAND…

This process is bare, because the system counts what a process was before it became a command.
"""

import json
import os
import subprocess
import sys
import time


def main():
    begin = time.perf_counter()
    process = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)
    text = process.stdout.read().decode()
    _, status, used = os.wait4(process.pid, 0)
    print(json.dumps({
        "seconds": time.perf_counter() - begin, "processor_seconds": used.ru_utime + used.ru_stime,
        "peak_mib": used.ru_maxrss / 1024, "status": os.waitstatus_to_exitcode(status), "text": text}))


if __name__ == "__main__":
    main()
