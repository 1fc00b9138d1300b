"""Streamed texts out of a bucket that speaks S3's protocol, with keys that are checked, on this machine alone."""

import json
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pyarrow
import pytest
from moto.server import ThreadedMotoServer
from pyarrow import parquet
from s3fs import S3FileSystem
from tokenizers import Tokenizer

from distill import tasks
from distill.config import StreamConfig
from distill.data import Dataset
from distill.data.stream import Known, open_stream
from distill.errors import UserError
from distill.measure import EnergyMeter
from distill.stages import sharding
from distill.stages.artifacts import Artifact, Artifacts
from distill.stages.stage import identity
from distill.stages.streaming import ReadStream, SieveStream
from distill.text import Example, Reading, TokenStore, rows_of
from distill.training.devices import Machine

pytestmark = pytest.mark.slow
CPU = Machine("cpu", "fp32", "as asked for", 1)
TASK = tasks.build("text-classification", ("fresh", "rotten"))
KNOWN = "a text of the training set"
FIRST = [f"a witty film, number {i}" for i in range(17)]
SECOND = [f"a dull film, number {i}" for i in range(24)]
READS = {
    "Version": "2012-10-17",
    "Statement": [{"Action": ["s3:ListBucket", "s3:GetObject"], "Effect": "Allow", "Resource": "*"}],
}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server that lets everyone in, until it is told to look at keys."""
    started = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    started.start()
    yield "http://{}:{}".format(*started.get_host_and_port())
    started.stop()


def look_at_keys(server: str, from_request: float) -> None:
    """Whether the server asks who it is, from its next requests on."""
    data, words = str(from_request).encode(), {"Content-Type": "text/plain"}
    asked = urllib.request.Request(f"{server}/moto-api/reset-auth", data, words, method="POST")
    with urllib.request.urlopen(asked) as answered:
        assert answered.status == 200


@pytest.fixture(scope="module")
def keys(server: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Path]:
    """A user's keys as the environment names them, and a folder with the files that are in the bucket ``texts``."""
    folder = tmp_path_factory.mktemp("texts") / "crawl"
    folder.mkdir()
    for name, rows in (("a", [*FIRST[:5], KNOWN, *FIRST[5:]]), ("b", [*SECOND, FIRST[3].upper()])):
        table = pyarrow.table({"content": pyarrow.array(rows, pyarrow.string())})
        parquet.write_table(table, folder / f"{name}.parquet", row_group_size=6)
    client: dict[str, Any] = {
        "endpoint_url": server,
        "region_name": "us-east-1",
        "aws_access_key_id": "anyone",
        "aws_secret_access_key": "anything",
    }
    s3, iam = boto3.client("s3", **client), boto3.client("iam", **client)
    s3.create_bucket(Bucket="texts")
    for file in folder.iterdir():
        s3.put_object(Bucket="texts", Key=f"crawl/{file.name}", Body=file.read_bytes())
    s3.put_object(Bucket="texts", Key="crawl/README.md", Body=b"no shard")
    s3.put_object(Bucket="texts", Key="damaged/x.parquet", Body=b"PAR1 this is no table PAR1")
    iam.create_user(UserName="reader")
    iam.put_user_policy(UserName="reader", PolicyName="reads", PolicyDocument=json.dumps(READS))
    made = iam.create_access_key(UserName="reader")["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": made["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"]}, folder


@pytest.fixture
def folder(
    server: str, keys: tuple[dict[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The files of the bucket, which the environment now gives access to, and no other machine is reached."""
    own, files = keys
    for variable in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    settings = {"AWS_ENDPOINT_URL": server, "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
    nowhere = {name: str(tmp_path / "none") for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")}
    for variable, value in (own | settings | nowhere).items():
        monkeypatch.setenv(variable, value)
    connect, reached = socket.socket.connect, []

    def here_alone(self: socket.socket, address: Any) -> None:
        assert address[0] == "127.0.0.1", f"{address} is another machine"
        reached.append(address[1])
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", here_alone)
    S3FileSystem.clear_instance_cache()
    look_at_keys(server, 0)
    yield files
    look_at_keys(server, float("inf"))
    S3FileSystem.clear_instance_cache()
    assert int(server.rpartition(":")[2]) in reached


def read_all(stream: Any, encoder: Path, outputs: Path) -> tuple[Artifact, Artifact]:
    """What is left of the texts, and their ids."""
    artifacts = Artifacts(outputs, CPU, lambda: EnergyMeter("cpu", 1.0))
    sieved = artifacts.get(SieveStream(stream, Known.of(Dataset((Example(KNOWN),), (), (), (), (), {}, "", "", ()))))
    reading = Reading(Tokenizer.from_file(str(encoder / "tokenizer.json")), 24)
    return sieved, artifacts.get(ReadStream(stream, sieved, reading, TASK))


def test_a_bucket_gives_the_shards_ids_and_counts_of_a_folder(
    folder: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharding, "SHARD", 7)
    one, other = (open_stream(StreamConfig(at, text="content")) for at in (str(folder), "s3://texts/crawl"))
    assert list(one.shards(7)) == list(other.shards(7))
    assert len(one.shards(7)) == 3 + 4
    assert [(f.state[:2], f.rows) for f in one.files] == [(f.state[:2], f.rows) for f in other.files]
    (sieved, read), (sieved_there, read_there) = (
        read_all(stream, encoder, tmp_path / name) for name, stream in (("folder", one), ("bucket", other))
    )
    dropped = {"stream: also in train, transfer, validation or test": 1, "stream: duplicate": 1}
    assert sieved.read("dropped.json") == sieved_there.read("dropped.json") == dropped
    np.testing.assert_array_equal(*(np.load(a.directory / "kept.npy") for a in (sieved, sieved_there)))
    wanted = Tokenizer.from_file(str(encoder / "tokenizer.json")).encode_batch([*FIRST, *SECOND])
    for artifact in (read, read_there):
        ids = [[row.input_ids for row in rows_of([encoded])] for encoded in TokenStore(artifact.directory / "tokens")]
        assert [row.tolist() for (row,) in ids] == [one.ids for one in wanted]


def test_another_file_in_the_bucket_is_another_stream(server: str, folder: Path) -> None:
    before = identity(open_stream(StreamConfig("s3://texts/crawl", text="content")))
    S3FileSystem.clear_instance_cache()  # as another run of the program begins
    assert identity(open_stream(StreamConfig("s3://texts/crawl", text="content"))) == before
    table = pyarrow.table({"content": pyarrow.array([*SECOND, FIRST[4].upper()], pyarrow.string())})
    parquet.write_table(table, folder.parent / "new.parquet", row_group_size=6)
    look_at_keys(server, float("inf"))
    client: dict[str, Any] = {"endpoint_url": server, "region_name": "us-east-1"}
    s3, there = boto3.client("s3", **client), {"Bucket": "texts", "Key": "crawl/b.parquet"}
    s3.put_object(**there, Body=(folder.parent / "new.parquet").read_bytes())
    S3FileSystem.clear_instance_cache()
    after = identity(open_stream(StreamConfig("s3://texts/crawl", text="content")))
    s3.put_object(**there, Body=(folder / "b.parquet").read_bytes())
    assert after != before


def refused(path: str) -> str:
    with pytest.raises(UserError) as raised:
        open_stream(StreamConfig(path, text="content"))
    return str(raised.value)


def test_what_cannot_be_read_there_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "s3://texts/nothing, where no file ends with .parquet; name a folder" in refused("s3://texts/nothing")
    found = refused("s3://other/crawl")
    assert found.startswith("s3://other/crawl cannot be listed: ")
    assert "bucket does not exist" in found
    assert "texts/damaged/x.parquet cannot be read as Parquet: " in refused("s3://texts/damaged")
    no_access: dict[str, tuple[list[str], str | None]] = {
        "Access Key Id you provided does not exist": (["AWS_ACCESS_KEY_ID"], "of_another"),
        "request signature we calculated does not match": (["AWS_SECRET_ACCESS_KEY"], "of_another"),
        "Unable to locate credentials": (["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"], None),
    }
    for words, (variables, value) in no_access.items():
        with monkeypatch.context() as patch:
            for variable in variables:
                patch.delenv(variable) if value is None else patch.setenv(variable, value)
            S3FileSystem.clear_instance_cache()
            found = refused("s3://texts/crawl")
        assert found.startswith("s3://texts/crawl cannot be listed: ")
        assert words in found
        assert found.endswith("; check its name, and that it can be reached and read from here")
