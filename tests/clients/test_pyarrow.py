"""pyarrow: Apache Arrow in C++, on the AWS SDK for C++."""

import pyarrow as pa
import pytest
from pyarrow import dataset, fs, parquet

from support import MULTIPART_SIZE, ODD_NAMES, REGION, payload, same_bytes

ROWS = 100_000


@pytest.fixture
def store(endpoint):
    """A file system over all buckets, which does not try again."""
    return fs.S3FileSystem(
        access_key=endpoint.access_key,
        secret_key=endpoint.secret_key,
        endpoint_override=endpoint.host,
        scheme="http",
        region=REGION,
        allow_bucket_creation=True,
        allow_bucket_deletion=True,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1),
    )


def content(store, path: str) -> bytes:
    """All of an object."""
    with store.open_input_stream(path) as stream:
        return stream.read()


def test_files(store, bucket):
    for name in ODD_NAMES:
        with store.open_output_stream(f"{bucket}/odd/{name}") as out:
            out.write(payload(1000, name))
    for name in ODD_NAMES:
        assert same_bytes(content(store, f"{bucket}/odd/{name}"), payload(1000, name), name)
    found = store.get_file_info(fs.FileSelector(f"{bucket}/odd", recursive=True))
    files = {entry.path for entry in found if entry.type == fs.FileType.File}
    assert files == {f"{bucket}/odd/{name}" for name in ODD_NAMES}
    assert store.get_file_info(f"{bucket}/not").type == fs.FileType.NotFound
    with pytest.raises(FileNotFoundError):
        content(store, f"{bucket}/not")


def test_multipart_copy_and_move(store, bucket):
    data = payload(MULTIPART_SIZE)
    with store.open_output_stream(f"{bucket}/big", metadata={"Content-Type": "text/x-odd"}) as out:
        for at in range(0, len(data), 1_234_567):
            out.write(data[at : at + 1_234_567])
    with store.open_input_file(f"{bucket}/big") as file:
        assert file.metadata()["Content-Type"] == b"text/x-odd"
        assert file.size() == len(data)
        file.seek(7)
        assert file.read(9) == data[7:16]
    store.copy_file(f"{bucket}/big", f"{bucket}/copy ü")
    store.move(f"{bucket}/copy ü", f"{bucket}/moved +")
    assert same_bytes(content(store, f"{bucket}/moved +"), data)
    assert store.get_file_info(f"{bucket}/copy ü").type == fs.FileType.NotFound


def test_directories(store, bucket_name):
    store.create_dir(f"{bucket_name}/a/b")
    assert store.get_file_info(f"{bucket_name}/a/b").type == fs.FileType.Directory
    for n in range(3):
        with store.open_output_stream(f"{bucket_name}/a/b/{n}") as out:
            out.write(b"x")
    store.delete_dir_contents(f"{bucket_name}/a")
    assert store.get_file_info(f"{bucket_name}/a").type == fs.FileType.Directory
    assert store.get_file_info(f"{bucket_name}/a/b/0").type == fs.FileType.NotFound
    store.delete_dir(bucket_name)
    assert store.get_file_info(bucket_name).type == fs.FileType.NotFound


def test_parquet(store, bucket):
    table = pa.table({"n": range(ROWS), "part": [f"p {n % 3}+ü" for n in range(ROWS)]})
    parquet.write_table(table, f"{bucket}/t.parquet", filesystem=store)
    assert parquet.read_table(f"{bucket}/t.parquet", filesystem=store).equals(table)

    how = {"filesystem": store, "format": "parquet", "partitioning": ["part"]}
    for _ in range(2):
        behavior = "delete_matching"
        dataset.write_dataset(table, f"{bucket}/set", existing_data_behavior=behavior, **how)
    written = dataset.dataset(f"{bucket}/set", **how)
    assert written.count_rows() == ROWS
    one = written.to_table(filter=dataset.field("part") == "p 1+ü")
    assert sorted(one["n"].to_pylist()) == list(range(1, ROWS, 3))
