"""Servers that misbehave, a proxy, and one that speaks HTTP/2."""

import socket
import struct
import threading
import time

import h2.config
import h2.connection
import h2.events


class Server:
    """Each connection is served by a thread in serve(connection). What came
    in is in `received`, by connection."""

    def __init__(self, tls=None):
        self.received = []
        self.tls = tls
        self.stopping = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,),
                             daemon=True).start()

    def _serve(self, connection):
        self.received.append(b"")
        number = len(self.received) - 1
        try:
            if self.tls:
                connection = self.tls.wrap_socket(connection,
                                                  server_side=True)
            self.serve(connection, number)
        except OSError:
            pass
        finally:
            connection.close()

    def serve(self, connection, number):
        raise NotImplementedError

    def read_request(self, connection, number):
        """Until its head and body are there."""
        data = b""
        while True:
            head, found, body = data.partition(b"\r\n\r\n")
            if found:
                length = [int(line.split(b":")[1])
                          for line in head.split(b"\r\n")
                          if line.lower().startswith(b"content-length:")]
                if len(body) >= (length or [0])[0]:
                    return head
            more = connection.recv(65536)
            if not more:
                raise OSError("closed")
            data += more
            self.received[number] += more

    def stop(self):
        self.stopping.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


class Misbehaving(Server):
    """how: one of the methods below."""

    def __init__(self, how):
        self.how = getattr(self, how)
        super().__init__()

    def serve(self, connection, number):
        self.read_request(connection, number)
        self.how(connection)

    def closes(self, connection):
        pass

    def resets(self, connection):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                              struct.pack("ii", 1, 0))

    def talks_garbage(self, connection):
        connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")

    def hangs(self, connection):
        self.stopping.wait(60)

    def drips_headers(self, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not self.stopping.wait(0.05):
            connection.sendall(b"x")

    def floods_headers(self, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while not self.stopping.is_set():
            connection.sendall(b"X-Many: " + b"y" * 1000 + b"\r\n")

    def breaks_off(self, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Half")

    def drips_body(self, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not self.stopping.wait(0.05):
            connection.sendall(b"x")

    def floods_body(self, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not self.stopping.is_set():
            connection.sendall(b"x" * 65536)

    def body_breaks_off(self, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal")


class Deaf:
    """Nobody accepts, and there is no room to wait: a connection is neither
    made nor refused."""

    def __init__(self):
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen(0)
        self.port = self._socket.getsockname()[1]
        self._fill = []
        for _ in range(8):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", self.port))
            self._fill.append(one)
        time.sleep(0.1)

    def stop(self):
        for one in self._fill + [self._socket]:
            one.close()


class Proxy(Server):
    """CONNECT and absolute-form requests, one a connection. answer: refuses
    with this status line instead."""

    def __init__(self, answer=None):
        self.answer = answer
        self.heads = []
        super().__init__()

    def serve(self, connection, number):
        head = self.read_request(connection, number)
        self.heads.append(head.decode())
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        if self.answer:
            connection.sendall(f"HTTP/1.1 {self.answer}\r\n"
                               "Content-Length: 0\r\n\r\n".encode())
            return
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            other = socket.create_connection((host, int(port)))
            connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        else:
            host, _, path = target.removeprefix("http://").partition("/")
            name, _, port = host.partition(":")
            other = socket.create_connection((name, int(port or 80)))
            other.sendall(self.received[number].replace(
                target.encode(), b"/" + path.encode(), 1))
        back = threading.Thread(target=self._pump, args=(other, connection),
                                daemon=True)
        back.start()
        self._pump(connection, other)
        back.join()
        other.close()

    @staticmethod
    def _pump(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class Http2(Server):
    """Answers 204 to each request once `together` of them are open on one
    connection, or `together` were; counts what was open at once."""

    def __init__(self, tls, together=1):
        tls.set_alpn_protocols(["h2", "http/1.1"])
        self.together = together
        self.requests = []   # (connection, headers, body)
        self.most = {}       # by connection: streams open at once
        self.protocols = []
        super().__init__(tls)

    def serve(self, connection, number):
        self.protocols.append(connection.selected_alpn_protocol())
        h2c = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=False, header_encoding="utf-8"))
        h2c.initiate_connection()
        connection.sendall(h2c.data_to_send())
        opened, ended = {}, []
        while data := connection.recv(65536):
            for event in h2c.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    opened[event.stream_id] = [dict(event.headers), b""]
                    self.most[number] = max(self.most.get(number, 0),
                                            len(opened))
                elif isinstance(event, h2.events.DataReceived):
                    opened[event.stream_id][1] += event.data
                    h2c.acknowledge_received_data(
                        event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    ended.append(event.stream_id)
            if self.most.get(number, 0) >= self.together:
                for stream in ended:
                    self.requests.append((number, *opened.pop(stream)))
                    h2c.send_headers(stream, [(":status", "204")],
                                     end_stream=True)
                ended = []
            connection.sendall(h2c.data_to_send())
