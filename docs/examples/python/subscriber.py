"""Follows a Memoir server and keeps a table of finished jobs in SQLite, each of them exactly once.

    python3 subscriber.py 127.0.0.1:7420 finished.sqlite

Needs grpcio, and the messages that buf.gen.yaml beside this file makes, on PYTHONPATH.
"""

import sqlite3
import sys
import time

import grpc

from memoir.history.v1 import history_service_pb2 as history

RETRYABLE = {grpc.StatusCode.UNAVAILABLE}
FINISHED = ["JobCompleted", "JobFailed", "JobCancelled"]


def open_database(path):
    database = sqlite3.connect(path)
    with database:
        database.execute("CREATE TABLE IF NOT EXISTS finished (job TEXT PRIMARY KEY, how TEXT, at TEXT)")
        database.execute("CREATE TABLE IF NOT EXISTS place (only INTEGER PRIMARY KEY CHECK (only = 1), token TEXT)")
    return database


def request(database):
    """Goes on where the table ends: at its token, or else at the beginning of the log."""
    wanted = history.SubscribeEventsRequest(event_types=FINISHED)
    row = database.execute("SELECT token FROM place").fetchone()
    if row:
        wanted.resume_token = row[0]
    else:
        wanted.beginning.SetInParent()
    return wanted


def take(database, message):
    # One transaction for what was learnt and where it was learnt: both are there, or neither is.
    with database:
        if message.WhichOneof("content") == "event":
            event = message.event
            job = event.stream.removeprefix("job-")
            at = event.recorded_at.ToJsonString()
            database.execute("INSERT INTO finished VALUES (?, ?, ?)", (job, event.event_type, at))
            print(at, event.event_type, job, flush=True)
        database.execute("INSERT OR REPLACE INTO place VALUES (1, ?)", (message.resume_token,))


def follow(address, database):
    with grpc.insecure_channel(address, options=[("grpc.keepalive_time_ms", 60_000)]) as channel:
        subscribe = channel.unary_stream(
            "/memoir.history.v1.HistoryService/SubscribeEvents",
            request_serializer=history.SubscribeEventsRequest.SerializeToString,
            response_deserializer=history.SubscribeEventsResponse.FromString,
        )
        pause = 0.25
        while True:
            try:
                for message in subscribe(request(database), metadata=[("memoir-principal", "example")]):
                    take(database, message)
                    pause = 0.25
            except grpc.RpcError as error:
                if error.code() not in RETRYABLE:
                    raise
                print(f"{error.details()}; trying again", file=sys.stderr)
            time.sleep(pause)
            pause = min(pause * 2, 5)


if __name__ == "__main__":
    try:
        follow(sys.argv[1], open_database(sys.argv[2]))
    except KeyboardInterrupt:
        pass
