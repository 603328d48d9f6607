"""obstore: object_store, Rust's own client, for Python."""

import obstore
import pytest
from obstore.exceptions import AlreadyExistsError, NotFoundError, PreconditionError
from obstore.store import S3Store

from support import (
    KIB,
    MIB,
    MULTIPART_SIZE,
    ODD_NAMES,
    REGION,
    md5_etag,
    multipart_etag,
    payload,
    same_bytes,
    split,
)


@pytest.fixture
def store(endpoint, bucket):
    """A store over a bucket, which does not try again."""
    return S3Store(
        bucket,
        endpoint=endpoint.url,
        access_key_id=endpoint.access_key,
        secret_access_key=endpoint.secret_key,
        region=REGION,
        virtual_hosted_style_request=False,
        copy_if_not_exists="multipart",
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )


def content(store, path: str) -> bytes:
    """All of an object."""
    return bytes(store.get(path).bytes())


def paths(store, prefix: str | None = None, **how) -> list[str]:
    """What is listed, in the order it is listed in."""
    return [entry["path"] for page in store.list(prefix, **how) for entry in page]


def test_objects(store):
    kept = {name: payload((0, 1, 300 * KIB)[n % 3], name) for n, name in enumerate(ODD_NAMES)}
    kept |= {"a": b"beside", "a/b": b"under"}
    for path, data in kept.items():
        put = store.put(path, data, attributes={"Content-Type": "text/x-odd", "colour": "blue"})
        assert put["e_tag"] == md5_etag(data)
    for path, data in kept.items():
        got = store.get(path)
        assert (got.attributes["Content-Type"], got.attributes["colour"]) == ("text/x-odd", "blue")
        assert same_bytes(bytes(got.bytes()), data, path)
        assert (got.meta["size"], got.meta["e_tag"]) == (len(data), md5_etag(data))
    assert store.head("a")["size"] == 6

    # The prefix is a folder to this client: "a" itself is not under it.
    assert paths(store) == sorted(kept, key=str.encode)
    assert paths(store, chunk_size=3) == sorted(kept, key=str.encode)
    assert paths(store, "a") == ["a/b"]
    assert paths(store, offset="plain.txt") == sorted(
        (path for path in kept if path.encode() > b"plain.txt"), key=str.encode
    )
    level = store.list_with_delimiter()
    assert sorted(level["common_prefixes"]) == ["a", "deep", "日本語"]
    assert sorted(entry["path"] for entry in level["objects"]) == sorted(
        path for path in kept if "/" not in path
    )

    store.delete(list(kept))
    assert paths(store) == []
    with pytest.raises((NotFoundError, FileNotFoundError)):
        store.get("a")


def test_ranges(store):
    data = payload(MIB, "ranges")
    store.put("ranges +", data)
    assert bytes(store.get_range("ranges +", start=10, end=25)) == data[10:25]
    assert bytes(store.get_range("ranges +", start=MIB - 5, length=5)) == data[-5:]
    starts = [0, 500, 900 * KIB]
    found = store.get_ranges("ranges +", starts=starts, lengths=[7, 100 * KIB, 9])
    for start, length, part in zip(starts, [7, 100 * KIB, 9], found, strict=True):
        assert same_bytes(bytes(part), data[start : start + length])
    tail = store.get("ranges +", options={"range": {"suffix": 11}})
    assert bytes(tail.bytes()) == data[-11:]


def test_puts_with_conditions(store):
    first = store.put("ü", b"first", mode="create")
    with pytest.raises(AlreadyExistsError):
        store.put("ü", b"second", mode="create")
    second = store.put("ü", b"second", mode={"e_tag": first["e_tag"]})
    with pytest.raises(PreconditionError):
        store.put("ü", b"third", mode={"e_tag": first["e_tag"]})
    assert content(store, "ü") == b"second"
    with pytest.raises(PreconditionError):
        store.get("ü", options={"if_match": first["e_tag"]})
    assert bytes(store.get("ü", options={"if_match": second["e_tag"]}).bytes()) == b"second"


def test_copies_and_renames(store):
    data = payload(300 * KIB, "copy")
    store.put("日本語/ü ñ+%&.txt", data)
    store.copy("日本語/ü ñ+%&.txt", "copy +")
    store.rename("copy +", "renamed/copy %")
    assert paths(store) == ["renamed/copy %", "日本語/ü ñ+%&.txt"]
    assert same_bytes(content(store, "renamed/copy %"), data)
    # An upload of one copied part, completed only if there is nothing yet.
    store.copy("renamed/copy %", "only once", overwrite=False)
    store.put("other", b"other")
    with pytest.raises(AlreadyExistsError):
        store.copy("other", "only once", overwrite=False)
    assert same_bytes(content(store, "only once"), data)


def test_multipart(store):
    data = payload(MULTIPART_SIZE, "obstore")
    put = store.put("big", data, use_multipart=True, chunk_size=5 * MIB, max_concurrency=4)
    assert put["e_tag"] == multipart_etag(split(data, 5 * MIB))
    chunks = [bytes(chunk) for chunk in store.get("big").stream(min_chunk_size=MIB)]
    assert same_bytes(b"".join(chunks), data)

    with obstore.open_writer(store, "written", buffer_size=5 * MIB) as writer:
        for piece in split(data, 700 * KIB + 1):
            writer.write(piece)
    assert same_bytes(content(store, "written"), data)
    reader = obstore.open_reader(store, "written")
    reader.seek(5 * MIB - 3)
    assert bytes(reader.read(9)) == data[5 * MIB - 3 : 5 * MIB + 6]
