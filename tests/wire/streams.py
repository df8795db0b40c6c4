"""Byte streams to test with: every kind of frame, lies, garbage, and any way to chop them."""

from hypothesis import strategies as st


def encode(first: int, payload: bytes, mask: bytes | None = None, *, length_bytes: int = 0, length: int = -1) -> bytes:
    """Write a frame in any encoding: `length_bytes` (0, 2 or 8) need not be the shortest, `length` need not be true."""
    length = len(payload) if length < 0 else length
    masked = 0 if mask is None else 0x80
    if not length_bytes:
        return bytes((first, masked | length)) + (mask or b"") + payload
    code = {2: 126, 8: 127}[length_bytes]
    return bytes((first, masked | code)) + length.to_bytes(length_bytes, "big") + (mask or b"") + payload


def chop(data: bytes, sizes: list[int]) -> list[bytes]:
    """Cut into chunks of the given sizes; the rest is one more."""
    chunks = []
    for size in sizes:
        chunks.append(data[:size])
        data = data[size:]
    return [chunk for chunk in (*chunks, data) if chunk]


masks = st.none() | st.binary(min_size=4, max_size=4)
firsts = st.sampled_from((0x81, 0x82, 0x01, 0x00, 0x80, 0x88, 0x89, 0x8A, 0xC1, 0x08)) | st.integers(0, 255)
short_frames = st.builds(encode, firsts, st.binary(max_size=125), masks)
long_frames = st.builds(encode, firsts, st.binary(max_size=300), masks, length_bytes=st.sampled_from((2, 8)))
lies = st.builds(
    encode,
    firsts,
    st.binary(max_size=20),
    masks,
    length_bytes=st.just(8),
    length=st.sampled_from((1 << 31, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)),
)
runs = st.builds(lambda frame, count, behind: frame * count + behind, short_frames, st.integers(8, 20), st.binary())
frames = st.lists(short_frames | long_frames | runs, max_size=8).map(b"".join)
streams = st.builds(lambda good, bad: good + bad, frames, st.binary(max_size=40) | lies | st.just(b""))
cuts = st.lists(st.integers(1, 40), max_size=60)
