"""Holds an allocation until somebody ends it: for tests of what ends them.

    hold.py SERVER PORT USER PASSWORD FOLDER

Writes FOLDER/held when it has one. Ends with status 0 when a Refresh is answered 437 (there is none any more), with 1 when
it still stands after a minute.
"""
import pathlib
import sys
import time

import turnclient

PATIENCE = 60


def main():
    server, port, user, password, folder = sys.argv[1:]
    client = turnclient.Client((server, int(port)), user, password)
    relayed, _ = client.allocate()
    print("allocated", relayed, flush=True)
    (pathlib.Path(folder) / "held").touch()
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            client.request(turnclient.REFRESH, b"")
        except turnclient.TurnError as error:
            print("refreshing:", error, flush=True)
            return 0 if error.code == 437 else 1
        time.sleep(0.2)
    print("nobody ended it")
    return 1


sys.exit(main())
