"""One plain HTTP request and its response: which of the bytes that come are theirs, and how far they have come.

Nothing is changed and nothing kept back: both may run at the same time, and either may end first.
"""

from .wire.bodies import BodyEnd
from .wire.http import BadHead, HeadReader, Request, Response, parse_response, persists


class Exchange:
    """Follow both ways of one exchange. Its methods raise BadHead where what comes is malformed."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.response: Response | None = None  # the final one's head, once it is complete
        self.has_begun = False  # a byte of an answer has come
        self._upload = BodyEnd(request)
        self._download: BodyEnd | None = None
        self._reader = HeadReader(from_client=False)
        self._has_surplus = False  # the upstream sent more than one answer

    def take_upload(self, data: bytes) -> tuple[bytes, bytes]:
        """The part of what the client sent that goes on to the upstream, and what came behind the request."""
        part = self._upload.feed(data)
        return part, self._upload.surplus

    def take_heads(self, data: bytes) -> bytes:
        """Interim answers, to be passed on at once. The final head goes into `response`."""
        self.has_begun = self.has_begun or bool(data)
        interim = b""
        raw = self._reader.feed(data)
        while raw is not None:
            response = parse_response(raw)
            if response.status == 101:
                raise BadHead(502, "the upstream's 101 answers a request that asked for no upgrade")
            if response.status >= 200:
                self.response = response
                self._download = BodyEnd(response, answers_head=self.request.method == b"HEAD")
                break
            interim += raw
            raw = self._reader.feed(b"")
        return interim

    def begin_download(self) -> bytes:
        """The final head, and what of the body came with it."""
        assert self.response is not None
        return self.response.raw + self.take_download(self._reader.rest)

    def take_download(self, data: bytes) -> bytes:
        """The part of what the upstream sent that is the body of its answer."""
        assert self._download is not None
        part = self._download.feed(data)
        self._has_surplus = self._has_surplus or bool(self._download.surplus)
        return part

    @property
    def is_uploaded(self) -> bool:
        """Whether the request is complete."""
        return self._upload.is_over

    @property
    def is_downloaded(self) -> bool:
        """Whether the response is complete."""
        return self._download is not None and self._download.is_over

    @property
    def lasts(self) -> bool:
        """Whether the response's body ends with the connection only, so that a FIN makes it complete."""
        return self._download is not None and self._download.lasts

    @property
    def persists(self) -> bool:
        """Whether the upstream takes another request on the same connection, once both are complete."""
        return self.response is not None and not self._has_surplus and persists(self.request, self.response)
