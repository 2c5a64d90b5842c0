"""The test server of web/main.go for Python, on http.server: the same arguments, the same answers.

It knows nothing of any process manager."""

import http.server
import os
import re
import signal
import socket
import sys
import threading
import time
import urllib.parse

ACCOUNT = False


def say(ident, what):
    if ACCOUNT:
        sys.stdout.write(f"{ident} {what}\n")
        sys.stdout.flush()


class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        ident = self.headers.get("X-Id", "")
        url = urllib.parse.urlsplit(self.path)
        seconds = int(urllib.parse.parse_qs(url.query).get("ms", ["0"])[0]) / 1000
        first, rest = str(os.getpid()), f" {ident}\n"
        say(ident, "begin")
        if url.path == "/slow":
            time.sleep(seconds)
        if url.path == "/hang":  # an expression that takes for ever, and lets no other thread run
            re.match("(a+)+b", "a" * 64)
        self.send_response(200)
        self.send_header("X-Pid", first)
        self.send_header("X-Id", ident)
        self.send_header("Content-Length", str(len(first) + len(rest)))
        self.end_headers()
        if url.path == "/pause":
            self.wfile.write(first.encode())
            time.sleep(seconds)
            self.wfile.write(rest.encode())
        else:
            self.wfile.write((first + rest).encode())
        say(ident, "end")

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False  # a graceful end waits for the answers

    def server_bind(self):  # without looking the machine's name up
        socket_server_bind(self)
        self.server_name, self.server_port = "localhost", 0


socket_server_bind = http.server.HTTPServer.__bases__[0].server_bind


def listen(address):
    if address.startswith("fd:"):
        given = socket.socket(fileno=int(address[3:]))
        server = Server(("", 0), Answer, bind_and_activate=False)
        server.socket.close()
        server.socket = given
        server.server_name, server.server_port = "localhost", 0
    elif "/" in address:
        server = Server(("", 0), Answer, bind_and_activate=False)
        server.socket.close()
        server.socket = socket.socket(socket.AF_UNIX)
        if os.path.exists(address):  # of a process that was killed
            os.unlink(address)
        server.socket.bind(address)
        server.socket.listen(128)
        server.server_name, server.server_port = "localhost", 0
        Answer.address_string = lambda _: "unix"
    else:
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        kind = type("Six", (Server,), {"address_family": socket.AF_INET6}) if ":" in host else Server
        server = kind((host, int(port)), Answer)
    print("listening on", address, flush=True)
    return server


def main():
    global ACCOUNT
    boot, graceful, addresses, args = 0, False, [], sys.argv[1:]
    while args:
        arg = args.pop(0)
        if arg == "-boot-ms":
            boot = int(args.pop(0))
        elif arg == "-account":
            ACCOUNT = True
        elif arg == "-graceful":
            graceful = True
        else:
            addresses.append(arg)
    ends = [signal.SIGTERM, signal.SIGINT]
    if graceful:
        signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # of all threads: sigwait takes them
    time.sleep(boot / 1000)
    servers = [listen(a) for a in addresses or [os.environ["PORT"]]]
    threads = [threading.Thread(target=s.serve_forever, kwargs={"poll_interval": 0.05}) for s in servers]
    for t in threads:
        t.daemon = not graceful
        t.start()
    if not graceful:  # the signals' defaults, but SIGINT's that Python has of its own
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        for t in threads:
            t.join()
        return
    signal.sigwait(ends)
    for s in servers:
        s.shutdown()
        s.server_close()


main()
