"""A worker: claims jobs of a Memoir server, runs their scripts, and leaves with the server what they made.

    python3 worker.py 127.0.0.1:7420 --repository demo=/srv/git/demo [--once]

It does what docs/worker-protocol.md says, for jobs without an image, one at a time. Scripts are run as any other process of its user, so
it is for code that one trusts. Needs git, grpcio, and the messages that buf.gen.yaml beside this file makes, on PYTHONPATH.
"""

import argparse
import codecs
import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from decimal import Decimal

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict

from build.bazel.remote.execution.v2 import remote_execution_pb2 as rex
from google.bytestream import bytestream_pb2 as bytestream
from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2
from memoir.jobs.v1 import attempt_pb2 as attempts
from memoir.jobs.v1 import digest_pb2 as digests
from memoir.jobs.v1 import job_pb2 as jobs
from memoir.worker.v1 import worker_service_pb2 as api

WORKER = "memoir.worker.v1.WorkerService"
CAS = "build.bazel.remote.execution.v2.ContentAddressableStorage"
CAPABILITIES = "build.bazel.remote.execution.v2.Capabilities"
BYTES = "google.bytestream.ByteStream"

# What may go well when it is made again.
TRANSIENT = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
PIECE = 256 * 1024
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
GRACE = 5.0  # seconds between SIGTERM and SIGKILL
OWN_NAME = f"{socket.gethostname()}-{os.getpid()}-python"


class Refused(Exception):
    """A call that the server refused, with the stable word of its error."""

    def __init__(self, error):
        super().__init__(error.details())
        self.code = error.code()
        self.reason, self.facts = "", {}
        for key, value in error.trailing_metadata() or ():
            if key != "grpc-status-details-bin":
                continue
            for one in status_pb2.Status.FromString(value).details:
                if one.Is(details.ErrorInfo.DESCRIPTOR):
                    info = details.ErrorInfo()
                    one.Unpack(info)
                    self.reason, self.facts = info.reason, dict(info.metadata)

    def is_transient(self):
        # What is too large stays so.
        return self.code in TRANSIENT and self.reason != "MESSAGE_TOO_LARGE"


class Failure(Exception):
    """Why an attempt has no result."""

    def __init__(self, reason, message, fault=attempts.FAULT_SCRIPT, given_back=False):
        super().__init__(message)
        self.reason, self.fault, self.given_back = reason, fault, given_back


class Ended(Exception):
    """The attempt is not ours any more: nothing more of it is accepted."""


class Server:
    """Calls of one principal."""

    def __init__(self, address, principal):
        self.channel = grpc.insecure_channel(address, options=[("grpc.max_reconnect_backoff_ms", 5_000)])
        self.metadata = [("memoir-principal", principal)]

    def call(self, service, name, request, answer, *, kind="unary_unary", claim=(), timeout=60, until=None):
        """One call. `until` is an event that breaks it off. Raises Refused."""
        method = getattr(self.channel, kind)(
            f"/{service}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        metadata = [*self.metadata, *claim]
        try:
            if kind == "unary_stream":
                return list(method(request, metadata=metadata, timeout=timeout))
            under_way = method.future(request, metadata=metadata, timeout=timeout)
            while until is not None and not under_way.done():
                if until.wait(0.05):
                    under_way.cancel()
            return under_way.result()
        except grpc.RpcError as error:
            raise Refused(error) from None
        except grpc.FutureCancelledError:
            raise Ended("broken off") from None


def retrying(attempt, over):
    """Makes a call as often as it fails for a while, with pauses that grow. `attempt` is given how often it was made before."""
    tries, pause = 0, 0.2
    while not over.is_set():
        try:
            return attempt(tries)
        except Refused as error:
            if not error.is_transient():
                raise
            print(f"{error}; trying again", file=sys.stderr)
        over.wait(pause)
        tries, pause = tries + 1, min(pause * 2, 5)
    raise Ended("broken off")


def seconds(number):
    duration = Duration()
    duration.FromNanoseconds(int(number * 1_000_000_000))
    return duration


def canonical(value):
    """JSON by RFC 8785, which parameters are given as."""
    if isinstance(value, dict):
        # By UTF-16, as JavaScript sorts.
        names = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join(f"{canonical(name)}:{canonical(value[name])}" for name in names) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return canonical_number(float(value))
    return json.dumps(value, ensure_ascii=False)


def canonical_number(value):
    """A number as ECMAScript writes it."""
    if value == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    text, point = "".join(map(str, digits)), len(digits) + exponent
    minus = "-" if sign else ""
    if 0 < point <= 21:
        return minus + (text.ljust(point, "0") if len(text) <= point else f"{text[:point]}.{text[point:]}")
    if -6 < point <= 0:
        return f"{minus}0.{'0' * -point}{text}"
    fraction = f".{text[1:]}" if len(text) > 1 else ""
    return f"{minus}{text[0]}{fraction}e{'+' if point > 0 else '-'}{abs(point - 1)}"


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


class Attempt:
    """One execution of a job, from its claim to its end."""

    def __init__(self, worker, answer):
        self.worker, self.server, self.job = worker, worker.server, answer.job
        self.token = answer.claim_token
        self.lease = answer.lease.ToNanoseconds() / 1_000_000_000
        # Set when it is over: by its end here, or since the server accepts nothing more of it.
        self.over = threading.Event()
        self.lost = ""
        self.top = os.path.join(worker.directory, "run")
        self.log = os.path.join(self.top, "log.txt")
        self.content = Content(self.server, self.job, self.token, self.over)

    def at(self, *names):
        return os.path.join(self.top, *names)

    def run(self):
        shutil.rmtree(self.top, ignore_errors=True)
        for name in ("tree", "output", "tmp", "progress"):
            os.makedirs(self.at(name))
        open(self.log, "wb").close()
        heart = threading.Thread(target=self.beat)
        heart.start()
        try:
            try:
                self.execute()
                self.complete()
            except Failure as failure:
                self.fail(failure)
            except (OSError, subprocess.CalledProcessError) as error:
                self.fail(Failure("PLACE_FAULT", f"the run cannot be carried out: {error}", attempts.FAULT_PLACE))
        except (Ended, Refused) as why:
            print(f"{self.job.uuid} given up: {self.lost or why}", flush=True)
        finally:
            self.over.set()
            heart.join()
            shutil.rmtree(self.top, ignore_errors=True)

    def give_up(self, why):
        self.lost = why
        self.over.set()

    def beat(self):
        """Says that it goes on, three times in a lease. The server holds the answer back, and gives it at once when the attempt has ended."""
        pause = self.lease / 3
        while not self.over.wait(0.1):
            began = time.monotonic()
            request = api.HeartbeatRequest(
                uuid=self.job.uuid, claim_token=self.token, lease=seconds(self.lease), wait=seconds(pause)
            )
            self.add_progress(request)
            try:
                answer = self.server.call(
                    WORKER, "Heartbeat", request, api.HeartbeatResponse, timeout=pause + max(pause, 1), until=self.over
                )
            except Ended:
                return
            except Refused as error:
                if error.is_transient():
                    # It goes on without a server, which may have been away itself.
                    self.over.wait(min(pause, 1))
                    continue
                return self.give_up(error.reason or str(error))
            if answer.state != jobs.JOB_STATE_RUNNING:
                return self.give_up("CANCELLED" if answer.cancelled else "the job has ended")
            # A server that does not hold answers back is not asked more often for that.
            self.over.wait(max(0, pause - (time.monotonic() - began)))

    def add_progress(self, request):
        """What the script tells of how far it is. What is no such file is no report."""
        try:
            with open(self.at("progress", "progress.json"), "rb") as file:
                said = json.loads(file.read(64 * 1024))
            progress, message = said.get("progress"), said.get("message")
            if isinstance(progress, (int, float)) and 0 <= progress <= 1:
                request.progress = progress
            if isinstance(message, str):
                request.progress_message = message[:1_000]
        except (OSError, ValueError, AttributeError):
            pass

    def execute(self):
        self.check_out()
        with open(self.at("parameters.json"), "w", encoding="utf-8") as file:
            file.write(canonical(MessageToDict(self.job.script_parameters)))
        unhashed = {}
        if self.job.HasField("unhashed_parameters"):
            unhashed["MEMOIR_UNHASHED"] = self.at("unhashed.json")
            with open(unhashed["MEMOIR_UNHASHED"], "w", encoding="utf-8") as file:
                file.write(canonical(MessageToDict(self.job.unhashed_parameters)))
        environment = {
            "PATH": PATH,
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "HOME": self.at("tmp"),
            "TMPDIR": self.at("tmp"),
            "MEMOIR_TMP": self.at("tmp"),
            "MEMOIR_OUTPUT": self.at("output"),
            "MEMOIR_PARAMETERS": self.at("parameters.json"),
            "MEMOIR_PROGRESS": self.at("progress", "progress.json"),
            "MEMOIR_JOB_UUID": self.job.uuid,
            "MEMOIR_SCRIPT_VERSION": self.job.script_version,
            **unhashed,
            **self.stage(),
        }
        script = os.path.realpath(self.at("tree", self.job.script))
        if not script.startswith(os.path.realpath(self.at("tree")) + "/"):
            raise Failure("SCRIPT_OUTSIDE_TREE", f"{self.job.script} leads out of the commit's tree")
        if not os.path.isfile(script):
            raise Failure("SCRIPT_NOT_FOUND", f"the commit has no file {self.job.script}")
        printed = threading.Event()
        sender = threading.Thread(target=self.send_log, args=(printed,))
        sender.start()
        try:
            code = self.run_script(script, environment)
        finally:
            printed.set()
            sender.join()
        if code != 0:
            how = f"exited with code {code}" if code > 0 else f"was ended by {signal.Signals(-code).name}"
            raise Failure("SCRIPT_FAILED", f"{self.job.script} {how}")

    def check_out(self):
        """The tree of the commit, as git's own checkout writes it, without anything that a configuration says."""
        repository = self.worker.repositories[self.job.repository]
        found = subprocess.run(
            ["git", "-C", repository, "rev-parse", "--absolute-git-dir"], check=True, capture_output=True, text=True
        )
        git = ["git", f"--git-dir={found.stdout.strip()}", f"--work-tree={self.at('tree')}"]
        plain = {**os.environ, "GIT_INDEX_FILE": self.at("index"), "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "GIT_ATTR_NOSYSTEM": "1"}
        listed = subprocess.run(
            [*git, "ls-tree", "-r", "-z", self.job.script_version], env=plain, capture_output=True, text=True
        )
        if listed.returncode != 0:
            raise Failure("PLACE_FAULT", f"the commit cannot be had here: {listed.stderr.strip()}", attempts.FAULT_PLACE)
        if not self.job.leave_submodules and re.search(r"(^|\0)160000 ", listed.stdout):
            raise Failure("SUBMODULE", "the commit has a submodule, and the request does not leave those out")
        subprocess.run([*git, "read-tree", self.job.script_version], env=plain, check=True, capture_output=True)
        subprocess.run([*git, "checkout-index", "--all", "--force"], env=plain, cwd=self.at("tree"), check=True)
        if self.job.leave_lfs_pointers:
            return
        for directory, _, names in os.walk(self.at("tree")):
            for name in names:
                path = os.path.join(directory, name)
                if os.path.isfile(path) and not os.path.islink(path):
                    with open(path, "rb") as file:
                        if file.read(40).startswith(b"version https://git-lfs.github.com/spec/"):
                            raise Failure("LFS_POINTER", f"{name} is a pointer of git-lfs")

    def stage(self):
        """Puts what is content among the parameters beside the script, and gives the variables that tell of it."""
        if not self.job.inputs:
            return {}
        inputs = self.at("inputs")
        os.mkdir(inputs)
        place = {one.pointer: f"{one.content.hash}/{one.path}".rstrip("/") for one in self.job.inputs}
        is_tree = {place[one.pointer]: one.digest.kind == digests.CONTENT_KIND_TREE for one in self.job.inputs}
        for one in self.job.inputs:
            at = place[one.pointer]
            parts = at.split("/")
            # What lies in a tree that is staged too is there with it.
            if os.path.lexists(os.path.join(inputs, at)) or any(
                is_tree.get("/".join(parts[:i])) for i in range(1, len(parts))
            ):
                continue
            os.makedirs(os.path.join(inputs, *parts[:-1]), exist_ok=True)
            try:
                if is_tree[at]:
                    self.content.read_tree(one.digest, os.path.join(inputs, at))
                else:
                    self.content.read(one.digest, os.path.join(inputs, at), one.executable)
            except Refused as error:
                if error.code in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.DATA_LOSS):
                    raise Failure("INPUT_LOST", f"the input at {one.pointer} is not held any more: {error}") from None
                raise
        told = self.at("inputs.json")
        with open(told, "w", encoding="utf-8") as file:
            file.write(canonical({pointer: os.path.join(inputs, at) for pointer, at in place.items()}))
        return {"MEMOIR_INPUTS": inputs, "MEMOIR_INPUTS_JSON": told}

    def run_script(self, script, environment):
        """Runs it in a process group of its own until it ends, or has to. Gives its exit code, negative for a signal."""
        until = None
        if self.job.limits.HasField("run"):
            until = time.monotonic() + self.job.limits.run.ToNanoseconds() / 1_000_000_000
        with open(self.at("parameters.json"), "rb") as parameters, open(self.log, "ab") as log:
            try:
                process = subprocess.Popen(
                    [script],
                    cwd=self.at("tree"),
                    env=environment,
                    stdin=parameters,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise Failure("SCRIPT_NOT_EXECUTABLE", f"{self.job.script} cannot be run: {error.strerror}") from None
        why = None
        try:
            while process.poll() is None and why is None:
                if self.over.wait(0.05):
                    why = Ended(self.lost)
                elif self.worker.stopping.is_set():
                    why = Failure(
                        "WORKER_STOPPED", "the worker was stopped", attempts.FAULT_WORKER, given_back=True
                    )
                elif until is not None and time.monotonic() > until:
                    why = Failure("RUN_LIMIT", "the attempt took longer than its limit")
            if why is not None:
                os.killpg(process.pid, signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE)
        finally:
            # Whatever of the group outlives the script.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if why is not None:
            raise why
        return process.returncode

    def send_log(self, printed):
        """Sends what the script prints as it comes, each piece with its offset, so that a call may be repeated as it was."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        offset = 0
        with open(self.log, "rb") as file:
            while not self.over.is_set():
                last = printed.is_set()
                data = file.read(PIECE)
                text = decoder.decode(data, final=last and not data)
                if text:
                    piece = api.AppendJobLogRequest(
                        uuid=self.job.uuid, claim_token=self.token, text=text, offset=offset
                    )
                    try:
                        answer = retrying(
                            lambda _, piece=piece: self.server.call(
                                WORKER, "AppendJobLog", iter([piece]), api.AppendJobLogResponse,
                                kind="stream_unary", until=self.over,
                            ),
                            self.over,
                        )
                    except (Ended, Refused):
                        # The heart tells whether the run is to stop; all of it belongs into the job's log anyway.
                        return
                    if answer.truncated:
                        return
                    offset += len(text.encode())
                elif last and not data:
                    return
                elif not data:
                    printed.wait(0.2)

    def stored_log(self):
        hash_, size = hashed(self.log)
        self.content.upload({(hash_, size): self.log})
        return digests.Digest(hash=hash_, size_bytes=size, kind=digests.CONTENT_KIND_BLOB)

    def complete(self):
        root, blobs = tree_of(self.at("output"))
        if self.job.require_output and len(blobs) == 1:
            raise Failure("NO_OUTPUT", "an output is required, and the script left no file in MEMOIR_OUTPUT")
        output = digests.Digest(hash=root.hash, size_bytes=root.size_bytes, kind=digests.CONTENT_KIND_TREE)
        for last in (False, False, True):
            self.content.upload(blobs)
            request = api.CompleteJobRequest(
                uuid=self.job.uuid, claim_token=self.token, output_digest=output, log_digest=self.stored_log()
            )
            try:
                self.report("CompleteJob", request, api.CompleteJobResponse)
                print(f"{self.job.uuid} complete", flush=True)
                return
            except Refused as error:
                # As after a restart of the server, which then does not know what this attempt brought.
                if error.reason != "CONTENT_INCOMPLETE" or last:
                    raise

    def fail(self, failure):
        request = api.FailJobRequest(
            uuid=self.job.uuid,
            claim_token=self.token,
            reason=failure.reason,
            message=str(failure),
            fault=failure.fault,
            given_back=failure.given_back,
        )
        try:
            request.log_digest.CopyFrom(self.stored_log())
            self.report("FailJob", request, api.FailJobResponse)
        except (Failure, Refused) as error:
            if isinstance(error, Refused) and error.reason != "CONTENT_INCOMPLETE":
                raise
            request.ClearField("log_digest")
            self.report("FailJob", request, api.FailJobResponse)
        print(f"{self.job.uuid} {failure.reason}: {failure}", flush=True)

    def report(self, name, request, answer):
        # Sent again as it was, it is answered as the first time. The heart goes on meanwhile, and may learn of it first.
        retrying(lambda _: self.server.call(WORKER, name, request, answer, timeout=600), self.over)


class Worker:
    def __init__(self, server, repositories, directory, lease, once):
        self.server, self.repositories, self.directory = server, repositories, directory
        self.lease, self.once = lease, once
        self.stopping = threading.Event()

    def work(self):
        token = secrets.token_bytes(32)
        while not self.stopping.is_set():
            try:
                answer = retrying(lambda _, token=token: self.claim(token), self.stopping)
            except Ended:
                return
            except Refused as error:
                if error.reason != "ATTEMPT_ENDED":
                    raise
                # The answer got lost, and what it gave has ended since.
                token = secrets.token_bytes(32)
                continue
            if answer.HasField("job"):
                Attempt(self, answer).run()
                token = secrets.token_bytes(32)
            elif self.once:
                return
            elif answer.drained:
                self.stopping.wait(5)

    def claim(self, token):
        """Claims with a token until there is an answer: the same token is given the same job."""
        machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
        request = api.ClaimJobRequest(
            wait=seconds(0 if self.once else 30),
            lease=seconds(self.lease),
            repositories=list(self.repositories),
            claim_token=token,
            worker_name=OWN_NAME,
            host=socket.gethostname(),
            version="python-example",
            offer=attempts.Offer(
                cores=os.cpu_count() or 1,
                ram_mb=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024**2,
                scratch_mb=shutil.disk_usage(self.directory).free // 1024**2,
                platform=f"linux/{machine}",
            ),
        )
        return self.server.call(WORKER, "ClaimJob", request, api.ClaimJobResponse, timeout=60, until=self.stopping)


def main():
    options = argparse.ArgumentParser(description="run queued jobs")
    options.add_argument("server", help="host:port")
    options.add_argument("--repository", action="append", required=True, metavar="NAME=PATH", help="(repeatable)")
    options.add_argument("--principal", default=f"worker@{socket.gethostname()}")
    options.add_argument("--work-dir", default=os.path.join(tempfile.gettempdir(), "memoir-python-worker"))
    options.add_argument("--lease", type=float, default=60, help="seconds for which a job is held without a sign of life")
    options.add_argument("--once", action="store_true", help="end when the queue is empty")
    given = options.parse_args()
    repositories = dict(one.split("=", 1) for one in given.repository)
    os.makedirs(given.work_dir, mode=0o700, exist_ok=True)
    # Paths get into outputs, so they are the same in every run; and so two workers cannot share a directory.
    lock = open(os.path.join(given.work_dir, "lock"), "w")
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    server = Server(given.server, given.principal)
    worker = Worker(server, repositories, given.work_dir, given.lease, given.once)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stopping.set())
    worker.work()


if __name__ == "__main__":
    main()
