"""Schemas of Protobuf, compiled by the real protoc as a user would."""

from __future__ import annotations

from pathlib import Path

from grpc_tools import protoc  # type: ignore[import-untyped] # ships no types

_HERE = Path(__file__).parent
_INCLUDED = Path(protoc.__file__).with_name("_proto")


def compiled(folder: Path, name: str, *options: str) -> Path:
    """Compile `name.proto`, which lies here or in the folder itself.

    Args:
        folder: Gets what is compiled.
        name: The schema's name.
        options: What protoc is told; by default to write a descriptor set with all imports.

    Returns:
        The descriptor set.
    """
    made = folder / f"{name}.binpb"
    options = options or ("--include_imports", f"--descriptor_set_out={made}")
    assert protoc.main(["protoc", f"-I{folder}", f"-I{_HERE}", f"-I{_INCLUDED}", *options, f"{name}.proto"]) == 0
    return made


def text(name: str) -> str:
    """The text of a schema that lies here."""
    return (_HERE / f"{name}.proto").read_text()
