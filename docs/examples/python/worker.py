"""A worker: claims jobs of a Memoir server, runs their scripts, and leaves with the server what they made.

    python3 worker.py 127.0.0.1:7420 --repository demo=/srv/git/demo [--once]

It does what docs/worker-protocol.md says, for jobs without an image, one at a time. Scripts are run as any other process of its user, so
it is for code that one trusts. Needs git, grpcio and rfc8785, and the messages that buf.gen.yaml beside this file makes, on PYTHONPATH.
How it calls is in calls.py, what it uploads and reads in content.py.
"""

import argparse
import codecs
import contextlib
import fcntl
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import grpc
import rfc8785
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict

from memoir.jobs.v1 import attempt_pb2 as attempts
from memoir.jobs.v1 import digest_pb2 as digests
from memoir.jobs.v1 import job_pb2 as jobs
from memoir.worker.v1 import worker_service_pb2 as api

from calls import Ended, Failure, Refused, Server, retrying
from content import PIECE, Content, hashed, tree_of

WORKER = "memoir.worker.v1.WorkerService"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
GRACE = 5.0  # seconds between SIGTERM and SIGKILL
OWN_NAME = f"{socket.gethostname()}-{os.getpid()}-python"


def seconds(number):
    duration = Duration()
    duration.FromNanoseconds(int(number * 1_000_000_000))
    return duration


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
        with open(self.at("parameters.json"), "wb") as file:
            file.write(rfc8785.dumps(MessageToDict(self.job.script_parameters)))
        unhashed = {}
        if self.job.HasField("unhashed_parameters"):
            unhashed["MEMOIR_UNHASHED"] = self.at("unhashed.json")
            with open(unhashed["MEMOIR_UNHASHED"], "wb") as file:
                file.write(rfc8785.dumps(MessageToDict(self.job.unhashed_parameters)))
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
        with open(told, "wb") as file:
            file.write(rfc8785.dumps({pointer: os.path.join(inputs, at) for pointer, at in place.items()}))
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
