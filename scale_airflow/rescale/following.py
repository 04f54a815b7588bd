# SPDX-License-Identifier: Apache-2.0
"""The new lines of a log of which only the last lines can be had.

A running job's ``process_output.log`` is read by its end (Rescale API: tail a file of an active run). Two
looks overlap, mostly; :class:`LineFollower` says which lines of the later one are new.
"""

from __future__ import annotations

from collections.abc import Sequence

LOG_NAME = "process_output.log"
FIRST_WINDOW = 200
WIDEST_WINDOW = 5000
GAP = "… lines that came too fast to be shown here; the whole log is among the results …"


class LineFollower:
    """Finds the new lines in one look after the other; keeps as many lines as one look has.

    The last line of a look may still be written at, so it is shown only when another follows it, or when it
    is the same at the next look, or at the end.
    """

    def __init__(self) -> None:
        self.window = FIRST_WINDOW
        self._seen: list[str] = []
        self._held: str | None = None

    def look(self, lines: Sequence[str]) -> list[str]:
        """Take the last lines of the log (at most ``window``) and return those to show now."""
        now = [line.rstrip("\r\n") for line in lines]
        if not now:
            return []
        overlap = self._overlap(now)
        shown: list[str] = []
        if self._seen and not overlap:
            # The next look reaches further back.
            self.window = min(self.window * 2, WIDEST_WINDOW)
            shown += [*self._flush(), GAP]
        pending = now[overlap:]
        if overlap and (self._held is not None or now[overlap - 1] != self._seen[-1]):
            pending = now[overlap - 1 :]
        self._seen = now
        if self._held is not None and pending == [self._held]:
            return shown + self._flush()
        if pending:
            self._held = pending.pop()
        return shown + pending

    def end(self, lines: Sequence[str] = ()) -> list[str]:
        """Return what has not been shown, with the log's last lines as they are after the job's end."""
        return self.look(lines) + self._flush()

    def _flush(self) -> list[str]:
        held, self._held = self._held, None
        return [] if held is None else [held]

    def _overlap(self, now: list[str]) -> int:
        """Return how many lines at the beginning of ``now`` were seen; the last of them may have grown."""
        seen = self._seen
        for length in range(min(len(seen), len(now)), 0, -1):
            known, begins = seen[-length:], now[:length]
            if known[:-1] == begins[:-1] and begins[-1].startswith(known[-1]):
                return length
        return 0


def last_lines(lines: Sequence[str], count: int) -> tuple[str, ...]:
    """Return the last ``count`` lines that are not empty at the end."""
    kept = [line.rstrip("\r\n") for line in lines]
    while kept and not kept[-1].strip():
        kept.pop()
    return tuple(kept[-count:]) if count > 0 else ()
