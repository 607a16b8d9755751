"""What a fuzzer sends: before the handshake, in its course, and after it."""

from __future__ import annotations

import pickle
from typing import Any

from hypothesis import strategies as st

from tests.hostile.attacker import CHALLENGE, REQUESTS, WELCOME, WRONG, framed

Edit = tuple[str, float, bytes]
edits = st.lists(
    st.tuples(st.sampled_from(["put in", "put over", "cut out", "cut off", "repeat"]), st.floats(0, 1), st.binary(max_size=12)),
    max_size=4,
)


def edited(data: bytes, changes: list[Edit]) -> bytes:
    """The same with a few bytes more, fewer or others, each somewhere between its begin and its end."""
    for how, where, more in changes:
        at = int(where * len(data))
        behind = data[at + len(more) :]
        match how:
            case "put in":
                data = data[:at] + more + data[at:]
            case "put over":
                data = data[:at] + more + behind
            case "cut out":
                data = data[:at] + behind
            case "cut off":
                data = data[:at]
            case _:
                data += data[at:]
    return data


sizes = st.one_of(
    st.none(),
    st.sampled_from([0, -1, -2, 255, 256, 257, 2**16, 2**26, 2**27, 2**31 - 1, 2**32, 2**63]),
    st.integers(-(2**31), 2**31 - 1),
)
"""That a message claims to have; mostly it has them."""
garbage = st.one_of(
    st.binary(max_size=600),
    st.builds(framed, st.binary(max_size=300), sizes),
    st.sampled_from(
        [b"GET / HTTP/1.1\r\nHost: master\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x00" * 4, b"\xff" * 600]
    ),
)
framed_answers = st.one_of(
    st.binary(max_size=300),
    st.builds(
        bytes.__add__, st.sampled_from([b"", b"{md5}", b"{sha256}", b"{sha3_256}", CHALLENGE, WELCOME]), st.binary(max_size=64)
    ),
).map(framed)
"""What may be said in place of something that proves a key."""
plain = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=30),
        st.binary(max_size=30),
        st.integers(0, len(WRONG) - 1).map(lambda index: WRONG[index]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.tuples(inner, inner), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


def one_in(draw: st.DrawFn, many: int) -> bool:
    """Whether this is one of the times."""
    return draw(st.integers(1, many)) == many


@st.composite
def requests(draw: st.DrawFn) -> Any:
    """A request in which some arguments, their number, or all of it, are something else."""
    if one_in(draw, 10):
        return draw(st.one_of(plain, st.tuples(plain, plain, plain, plain)))
    ident, method, args, kwds = draw(st.sampled_from(REQUESTS))
    changed = [draw(plain) if one_in(draw, 3) else arg for arg in args]
    if one_in(draw, 10):
        changed.append(draw(plain))
    return ident, method, tuple(changed), kwds


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """Of who holds the key: mostly a request, whole and framed as it should be."""
    data = pickle.dumps(draw(requests()), draw(st.sampled_from([2, 3, 4, 5])))
    if one_in(draw, 3):
        data = edited(data, draw(edits))
    return framed(data, draw(sizes) if one_in(draw, 10) else None)
