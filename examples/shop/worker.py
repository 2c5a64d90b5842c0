#!/usr/bin/env python3
"""Serves one order after the other. Says by sd_notify when it is ready, and what it does."""
import os
import socket


def notify(text):
    """As sd_notify of libsystemd does."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address[0] == "@":
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.sendto(text.encode(), address)


connection = socket.create_connection(("127.0.0.1", int(os.environ["REDIS_PORT"])))
answers = connection.makefile("rb")


def redis(*words):
    connection.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in words))
    return answer()


def answer():
    line = answers.readline().decode().strip()
    if not line:
        raise SystemExit("redis is gone")
    kind, rest = line[0], line[1:]
    if kind == "-":
        raise SystemExit("redis: " + rest)
    if kind == "*":
        return [answer() for _ in range(int(rest))]
    if kind == "$":
        return None if rest == "-1" else answers.read(int(rest) + 2)[:-2].decode()
    return rest


redis("ping")
print("worker is ready, pid", os.getpid())
notify("READY=1\nSTATUS=waits for orders")
while True:
    _, what = redis("blpop", "orders", "0")
    if redis("exists", "stock:" + what) != "1":
        print("there are no", what)
        continue
    left, sold = redis("decr", "stock:" + what), redis("incr", "sold")
    print(f"sold {what}: {left} left")
    notify(f"STATUS=has sold {sold}")
