"""Creates an object of a file's bytes, if there is none of that key: in one request, or in parts."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

IN_ONE_BYTES = 64 * 1024 * 1024
"""Up to so many bytes a file goes in one request."""

_PART_BYTES = 16 * 1024 * 1024
_MOST_PARTS = 10_000  # S3's own limit
_AT_ONCE = 4


def put_file(client: Any, bucket: str, key: str, file: Path, metadata: Mapping[str, str]) -> None:
    """Create the object with If-None-Match. Of one in parts nothing is visible before it is whole.

    Args:
        client: boto3's client.
        bucket: The bucket.
        key: The full key.
        file: The file; it doesn't change meanwhile.
        metadata: Goes with the object.

    Raises:
        ClientError: S3 refused; with the code PreconditionFailed something is there already.
    """
    size = file.stat().st_size
    if size <= IN_ONE_BYTES:
        with file.open("rb") as body:
            client.put_object(Bucket=bucket, Key=key, Body=body, Metadata=metadata, IfNoneMatch="*")
        return
    upload = {"Bucket": bucket, "Key": key}
    upload["UploadId"] = client.create_multipart_upload(**upload, Metadata=metadata, ChecksumAlgorithm="CRC32")[
        "UploadId"
    ]
    try:
        parts = {"Parts": _put_parts(client, upload, file, size)}
        client.complete_multipart_upload(**upload, MultipartUpload=parts, IfNoneMatch="*")
    except BaseException:
        # What can't be given up here is invisible, and the bucket's lifecycle rule removes it.
        _give_up(client, upload)
        raise


def _put_parts(client: Any, upload: Mapping[str, str], file: Path, size: int) -> list[dict[str, Any]]:
    part_bytes = max(_PART_BYTES, -(-size // _MOST_PARTS))

    def put(number: int) -> dict[str, Any]:
        with file.open("rb") as body:
            body.seek(number * part_bytes)
            content = body.read(part_bytes)
        answer = client.upload_part(**upload, PartNumber=number + 1, Body=content)
        # With the checksum that the client has made, S3 compares each part's once more.
        sums = {name: value for name, value in answer.items() if name.startswith("Checksum") and name != "ChecksumType"}
        return {"PartNumber": number + 1, "ETag": answer["ETag"], **sums}

    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        return list(pool.map(put, range(-(-size // part_bytes))))
    finally:
        pool.shutdown(cancel_futures=True)


def _give_up(client: Any, upload: Mapping[str, str]) -> None:
    try:
        client.abort_multipart_upload(**upload)
    except Exception:  # noqa: BLE001 - it must not hide why the upload is given up
        return
