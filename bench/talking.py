"""Clients that talk to a server at once, all in one thread: each is a conversation."""

import selectors
from collections.abc import Generator, Iterable

from bench.serving import Connection

Talk = Generator[bytes, tuple[int, bytes], None]  # it gives requests, and is sent the reply to each: status and body


def hold(talks: Iterable[tuple[Connection, Talk]]) -> None:
    """Hold all conversations, each over its connection, until they end; on each goes one request at a time."""
    with selectors.DefaultSelector() as selector:
        for connection, talk in talks:
            if (request := next(talk, None)) is not None:
                connection.socket.sendall(request)
                selector.register(connection.socket, selectors.EVENT_READ, (connection, talk))
        while selector.get_map():
            for key, _ in selector.select():
                connection, talk = key.data
                try:
                    connection.socket.sendall(talk.send(connection.reply()))
                except StopIteration:
                    selector.unregister(key.fileobj)
