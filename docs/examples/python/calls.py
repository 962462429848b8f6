"""Calls of a Memoir server, and what ends an attempt."""

import sys

import grpc
from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2
from memoir.jobs.v1 import attempt_pb2 as attempts

# What may go well when it is made again.
TRANSIENT = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}


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
