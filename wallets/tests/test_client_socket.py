"""A client's socket: who does not read, or send, holds nobody for long."""

from __future__ import annotations

import socket
from unittest import mock

from django.test import SimpleTestCase

from wallet import client_socket
from wallet.client_socket import UNREAD_BYTES, ClientSocket


class ClientSocketTest(SimpleTestCase):
    def setUp(self) -> None:
        self.client_end, ours = socket.socketpair()
        self.client_end.settimeout(30)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.sock = ClientSocket(ours)
        self.addCleanup(ours.close)
        self.addCleanup(self.client_end.close)

    def test_keeps_what_the_client_does_not_read_and_waits_for_nobody(self) -> None:
        sent = bytes(range(256)) * (UNREAD_BYTES // 256)
        self.sock.sendall(sent[:1000])
        self.sock.sendall(sent[1000:])
        found = b""
        while len(found) < len(sent):
            self.sock.flush()
            found += self.client_end.recv(65536)
        self.assertEqual(found, sent)
        self.assertTrue(self.sock.flush())

    def test_gives_up_who_does_not_read_a_long_answer(self) -> None:
        with (
            mock.patch.object(client_socket, "READ_SECONDS", 0.05),
            self.assertRaises(BrokenPipeError),
        ):
            self.sock.sendall(b"a" * (2 * UNREAD_BYTES))
        self.assertEqual(self.sock.unsent, b"")

    def test_waits_for_more_of_a_body_as_long_as_it_was_told_to(self) -> None:
        self.sock.settimeout(0.05)
        self.sock.setblocking(True)
        with self.assertRaises(TimeoutError):
            self.sock.recv(10)
        self.client_end.sendall(b"body")
        self.assertEqual(self.sock.recv(10), b"body")

    def test_does_not_wait_where_it_is_asked_what_is_there(self) -> None:
        with self.assertRaises(BlockingIOError):
            self.sock.recv_now(10)
        self.client_end.close()
        self.assertEqual(self.sock.recv_now(10), b"")
