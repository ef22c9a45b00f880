"""An S3 emulator (moto) on 127.0.0.1, that can be told to answer badly. It runs in a thread of the test's process."""

from __future__ import annotations

import socket
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server

from topicledger.connection import Connection

REGION = "eu-central-1"
LOGIN, PASSWORD = "an-access-key", "a-secret-key"

_Answer = Iterable[bytes]
_Application = Callable[[dict[str, Any], Callable[..., Any]], _Answer]


@dataclass
class Fault:
    """What is to go wrong with the next requests that fit.

    Args:
        method: The HTTP method.
        part: A part of the object's key.
        status: Answer with this status; 0: carry the request out, then close the connection without an answer;
            None: carry it out.
        code: S3's code in the answer.
        times: How often.
        before: Called first, in the server's thread, with the request's WSGI environment.
    """

    method: str
    part: str
    status: int | None = 0
    code: str = ""
    times: int = 1
    before: Callable[[dict[str, Any]], object] | None = None
    seen: int = 0

    def fits(self, environ: dict[str, Any]) -> bool:
        """Whether this request is one of them."""
        where = f"{environ['PATH_INFO']}?{environ['QUERY_STRING']}"
        return self.seen < self.times and environ["REQUEST_METHOD"] == self.method and self.part in where


@dataclass
class ObjectStore:
    """The running emulator."""

    endpoint: str
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def client(self) -> Any:
        """A plain client."""
        import boto3  # type: ignore[import-untyped] # ships no types; a second, for those that need it

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=LOGIN,
            aws_secret_access_key=PASSWORD,
        )

    def bucket(self) -> Connection:
        """A connection to a new bucket."""
        name = f"case-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        extra = {"bucket": name, "prefix": "lake/of-tests", "endpoint_url": self.endpoint}
        return Connection(
            "warehouse_default", "aws", login=LOGIN, password=PASSWORD, extra={**extra, "region_name": REGION}
        )

    def staging(self) -> tuple[str, Connection]:
        """A staging root in a new bucket, and the connection for it."""
        place = self.bucket()
        extra = {name: place.extra[name] for name in ("endpoint_url", "region_name")}
        url = f"s3://{place.extra['bucket']}/staging/of-tests"
        return url, Connection("staging_default", "aws", login=LOGIN, password=PASSWORD, extra=extra)

    def names(self, url: str) -> list[str]:
        """Every key below an `s3://` URL, without the URL."""
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
        return [item["Key"].removeprefix(f"{prefix}/") for page in pages for item in page.get("Contents", ())]

    def keys(self, place: Connection) -> list[str]:
        """Every key below the prefix, without it."""
        prefix = f"{place.extra['prefix']}/"
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=place.extra["bucket"], Prefix=prefix)
        return [item["Key"].removeprefix(prefix) for page in pages for item in page.get("Contents", ())]


def fetch(place: Connection, folder: Path) -> None:
    """Copy every object of a connection's prefix into a folder, with a plain client."""
    store = ObjectStore(str(place.extra["endpoint_url"]))
    for key in store.keys(place):
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        store.client().download_file(place.extra["bucket"], f"{place.extra['prefix']}/{key}", str(path))


class _Quiet(WSGIRequestHandler):
    def log(self, *_: Any) -> None:
        pass


class _Server:
    """The emulator behind its faults. Conditional requests take turns: moto looks first and writes then."""

    def __init__(self, store: ObjectStore, application: _Application) -> None:
        self._store = store
        self._application = application
        self._turn = threading.Lock()
        self._choosing = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> _Answer:
        self._store.requests.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{environ['QUERY_STRING']}")
        fault = self._fault(environ)
        if fault is None:
            return self._carried_out(environ, start_response)
        if fault.before is not None:
            fault.before(environ)
        if fault.status is None:
            return self._carried_out(environ, start_response)
        if not fault.status:
            self._carried_out(environ, lambda *_: None)
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            return ()
        body = f"<Error><Code>{fault.code}</Code><Message>told to</Message></Error>".encode()
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start_response(
            f"{fault.status} Told", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))]
        )
        return (body,)

    def _fault(self, environ: dict[str, Any]) -> Fault | None:
        with self._choosing:
            found = next((fault for fault in self._store.faults if fault.fits(environ)), None)
            if found is not None:
                found.seen += 1
        return found

    def _carried_out(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> _Answer:
        if "HTTP_IF_NONE_MATCH" not in environ:
            return self._application(environ, start_response)
        with self._turn:
            return list(self._application(environ, start_response))


@contextmanager
def running_object_store() -> Iterator[ObjectStore]:
    """Start the emulator on a free port; it ends with the block."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    store = ObjectStore("")
    application = _Server(store, DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=_Quiet)
    store.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
