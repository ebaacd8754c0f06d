"""Where in the bytes of a gRPC server a reply may be cut (RFC 9113, section 4.1: frames)."""

from random import Random

HEADER_BYTES = 9
DATA, HEADERS, SETTINGS = 0, 1, 4
REPLY_FRAMES = 3  # of a unary call: headers, the message, trailers


class Replies:
    """Follows what a server sends on one connection; where that is not HTTP/2, only counts it."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._passed = 0
        self._is_http2: bool | None = None
        self._header = b""
        self._left = 0  # bytes of the frame under way
        # By stream, how many frames of its reply pass before the cut; below 0 all do.
        self._passing: dict[int, int] = {}

    def cut(self, data: bytes, ratio: float, maximum_bytes: int | None) -> int | None:
        """Return how many of the next bytes to pass on before the cut, None for all and no cut."""
        room = None if maximum_bytes is None else max(0, maximum_bytes - self._passed)
        self._passed += len(data)
        if room is not None and room <= len(data):
            return room
        if self._is_http2 is None:  # a server's first frame says its settings
            self._is_http2 = data[3:4] == bytes([SETTINGS])
        return self._first_cut_frame(data, ratio) if self._is_http2 else None

    def _first_cut_frame(self, data: bytes, ratio: float) -> int | None:
        position = 0
        while position < len(data):
            if self._left:
                step = min(self._left, len(data) - position)
                self._left -= step
                position += step
                continue
            start = position
            taken = data[position : position + HEADER_BYTES - len(self._header)]
            self._header += taken
            position += len(taken)
            if len(self._header) == HEADER_BYTES and self._begins_cut(ratio):
                return start
        return None

    def _begins_cut(self, ratio: float) -> bool:
        self._left = int.from_bytes(self._header[:3])
        kind, stream = self._header[3], int.from_bytes(self._header[5:]) & 0x7FFF_FFFF
        self._header = b""
        if kind not in (DATA, HEADERS):
            return False
        left = self._passing.get(stream)
        if left is None:
            left = self._random.randrange(REPLY_FRAMES) if self._random.random() < ratio else -1
        self._passing[stream] = left - 1
        return left == 0
