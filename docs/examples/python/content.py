"""Bytes that a server of the Remote Execution API keeps: blobs and trees of one attempt, brought and had."""

import hashlib
import os
import stat
import uuid

import grpc

from build.bazel.remote.execution.v2 import remote_execution_pb2 as rex
from google.bytestream import bytestream_pb2 as bytestream
from memoir.jobs.v1 import attempt_pb2 as attempts

from calls import Failure, retrying

CAS = "build.bazel.remote.execution.v2.ContentAddressableStorage"
CAPABILITIES = "build.bazel.remote.execution.v2.Capabilities"
BYTES = "google.bytestream.ByteStream"
PIECE = 256 * 1024


class Content:
    """Blobs of one attempt. Each is bytes, or the path of a file."""

    def __init__(self, server, job, token, over):
        self.server, self.over = server, over
        self.claim = [("memoir-claim", f"{job.uuid}/{token.hex()}")]

    def call(self, service, name, request, answer, **more):
        return self.server.call(service, name, request, answer, claim=self.claim, until=self.over, **more)

    def upload(self, blobs):
        """Brings what the server does not have of some blobs, by (hash, size)."""
        missing = []
        names = list(blobs)
        for at in range(0, len(names), 500):
            asked = rex.FindMissingBlobsRequest(
                blob_digests=[rex.Digest(hash=name, size_bytes=size) for name, size in names[at : at + 500]]
            )
            found = retrying(
                lambda _, asked=asked: self.call(CAS, "FindMissingBlobs", asked, rex.FindMissingBlobsResponse), self.over
            )
            missing += [(one.hash, one.size_bytes) for one in found.missing_blob_digests]
        if not missing:
            return
        can = retrying(
            lambda _: self.call(CAPABILITIES, "GetCapabilities", rex.GetCapabilitiesRequest(), rex.ServerCapabilities),
            self.over,
        )
        most = can.cache_capabilities.max_batch_total_size_bytes or 2 * 1024 * 1024
        batch, room = [], most
        for hash_, size in sorted(missing, key=lambda name: name[1]):
            if size > min(PIECE, most):
                self.write(hash_, size, blobs[hash_, size])
                continue
            if size + 128 > room and batch:
                self.update(batch)
                batch, room = [], most
            batch.append((hash_, size, blobs[hash_, size]))
            room -= size + 128
        if batch:
            self.update(batch)

    def update(self, batch):
        request = rex.BatchUpdateBlobsRequest()
        for hash_, size, source in batch:
            data = source if isinstance(source, bytes) else open(source, "rb").read()
            request.requests.add(digest=rex.Digest(hash=hash_, size_bytes=size), data=data)
        answer = retrying(
            lambda _: self.call(CAS, "BatchUpdateBlobs", request, rex.BatchUpdateBlobsResponse, timeout=120), self.over
        )
        for one in answer.responses:
            if one.status.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]:
                raise Failure("UNSTORABLE_OUTPUT", f"a file changed while it was stored: {one.status.message}")
            if one.status.code != 0:
                # The disk of the server is full, or such: the attempt is made again elsewhere, or later.
                raise Failure("UPLOAD_FAILED", one.status.message, attempts.FAULT_PLACE)

    def write(self, hash_, size, source):
        name = f"uploads/{uuid.uuid4()}/blobs/{hash_}/{size}"

        def pieces(at):
            with open(source, "rb") as file:
                file.seek(at)
                while True:
                    data = file.read(PIECE)
                    end = at + len(data)
                    yield bytestream.WriteRequest(
                        resource_name=name, write_offset=at, data=data, finish_write=end >= size or not data
                    )
                    at = end
                    if at >= size or not data:
                        return

        def attempt(tries):
            at = 0
            if tries > 0:
                # It goes on where the connection broke.
                asked = bytestream.QueryWriteStatusRequest(resource_name=name)
                there = self.call(BYTES, "QueryWriteStatus", asked, bytestream.QueryWriteStatusResponse)
                if there.complete:
                    return
                at = there.committed_size
            self.call(BYTES, "Write", pieces(at), bytestream.WriteResponse, kind="stream_unary", timeout=3_600)

        retrying(attempt, self.over)

    def read(self, digest, path, executable):
        """Puts a blob into a file, whose bytes are hashed."""
        asked = bytestream.ReadRequest(resource_name=f"blobs/{digest.hash}/{digest.size_bytes}")
        data = b"".join(
            piece.data
            for piece in retrying(
                lambda _: self.call(BYTES, "Read", asked, bytestream.ReadResponse, kind="unary_stream", timeout=3_600),
                self.over,
            )
        ) if digest.size_bytes else b""
        if hashlib.sha256(data).hexdigest() != digest.hash:
            raise Failure("INPUT_LOST", f"blob {digest.hash} came with other bytes than its own")
        with open(path, "xb") as file:
            file.write(data)
        os.chmod(path, 0o555 if executable else 0o444)

    def read_tree(self, digest, top):
        """Puts a tree into a directory that is not there yet."""
        asked = rex.GetTreeRequest(root_digest=rex.Digest(hash=digest.hash, size_bytes=digest.size_bytes))
        answers = retrying(
            lambda _: self.call(CAS, "GetTree", asked, rex.GetTreeResponse, kind="unary_stream"), self.over
        )
        # A Directory in canonical form is the same bytes again, so its hash is its name.
        known = {}
        for answer in answers:
            for one in answer.directories:
                known[hashlib.sha256(one.SerializeToString(deterministic=True)).hexdigest()] = one

        def put(hash_, at):
            os.mkdir(at)
            directory = known[hash_]
            for node in [*directory.files, *directory.directories, *directory.symlinks]:
                if node.name in ("", ".", "..") or "/" in node.name or "\0" in node.name:
                    raise Failure("BAD_INPUT", f"a tree of the inputs has a name that nobody can unpack: {node.name!r}")
            for node in directory.files:
                self.read(node.digest, os.path.join(at, node.name), node.is_executable)
            for node in directory.directories:
                put(node.digest.hash, os.path.join(at, node.name))
            for node in directory.symlinks:
                os.symlink(node.target, os.path.join(at, node.name))

        put(digest.hash, top)


def hashed(path):
    digest = hashlib.sha256()
    size = 0
    with open(path, "rb") as file:
        while data := file.read(1024 * 1024):
            digest.update(data)
            size += len(data)
    return digest.hexdigest(), size


def tree_of(top):
    """The tree of a directory as Directory messages in canonical form: its root, and all blobs of it by (hash, size)."""
    blobs = {}

    def unstorable(path, why):
        return Failure("UNSTORABLE_OUTPUT", f"{path!r} in the output {why}")

    def add(directory, depth):
        message = rex.Directory()
        for name in sorted(os.listdir(os.fsencode(directory))):
            at = os.path.join(os.fsencode(directory), name)
            try:
                text = name.decode()
            except UnicodeDecodeError:
                raise unstorable(at, "has a name that is not UTF-8") from None
            mode = os.lstat(at).st_mode
            if stat.S_ISLNK(mode):
                target = os.readlink(at).decode()
                parts = [part for part in target.split("/") if part not in ("", ".")]
                ups = next((i for i, part in enumerate(parts) if part != ".."), len(parts))
                if target.startswith("/") or ups > depth or ".." in parts[ups:]:
                    raise unstorable(at, f"is a link that leads out of it, or is not plain: {target!r}")
                message.symlinks.add(name=text, target=target)
            elif stat.S_ISDIR(mode):
                below = add(at, depth + 1)
                # Empty directories have no place in a tree.
                if below is not None:
                    message.directories.add(name=text, digest=below)
            elif stat.S_ISREG(mode):
                hash_, size = hashed(at)
                blobs[hash_, size] = os.fsdecode(at)
                message.files.add(
                    name=text, digest=rex.Digest(hash=hash_, size_bytes=size), is_executable=bool(mode & 0o111)
                )
            else:
                raise unstorable(at, "is neither a file nor a link nor a directory")
        data = message.SerializeToString(deterministic=True)
        if not data and depth > 0:
            return None
        hash_ = hashlib.sha256(data).hexdigest()
        blobs[hash_, len(data)] = data
        return rex.Digest(hash=hash_, size_bytes=len(data))

    return add(top, 0), blobs
