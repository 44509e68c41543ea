"""Whether the gateway is there to serve, told from what its health said and when it was silent."""

_SILENCES = 2  # in a row; one is a machine that paused for the second we wait


class Standing:
    """Follows the answers of one who is asked again and again."""

    def __init__(self) -> None:
        self._serving = False
        self._silences = 0

    def heard(self, *, answer: bool | None) -> bool:
        """Return whether it serves, after one more answer; None: none came in time.

        One that served is not given up for a single silence, which would turn every caller away
        until it is asked again; one that did not serve does not become well by being silent.
        """
        self._silences = self._silences + 1 if answer is None else 0
        if answer is not None:
            self._serving = answer
        elif self._silences >= _SILENCES:
            self._serving = False
        return self._serving
