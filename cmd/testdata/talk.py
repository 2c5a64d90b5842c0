# A program that talks by sd_notify, written out: each line of standard input is a message to the socket; the lines that
# begin with "below " are sent by a process below it. SIGUSR2 makes it say that it is ready, and write a
# file when it has.
import os
import signal
import socket
import subprocess
import sys

SEND = (
    "import os, socket, sys\n"
    "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
    "s.sendto(sys.argv[1].encode(), '\\0' + os.environ['NOTIFY_SOCKET'][1:])\n"
)


def notify(text):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.sendto(text.encode(), "\0" + os.environ["NOTIFY_SOCKET"][1:])
    s.close()


def tell(*_):
    notify("READY=1")
    with open("told", "w") as f:
        f.write("ready")


signal.signal(signal.SIGUSR2, tell)
print("begins", os.environ.get("NODE_CHANNEL_FD"), os.environ.get("WATCHDOG_USEC"), "NOTIFY_SOCKET" in os.environ, flush=True)
if "-ready" in sys.argv:
    notify("READY=1")
for line in sys.stdin:
    line = line.rstrip("\n")
    print("line", line, flush=True)
    if line.startswith("below "):
        subprocess.run([sys.executable, "-c", SEND, line[len("below "):]], check=True)
    elif "=" in line:
        notify(line)
print("end of input", flush=True)
while True:
    signal.pause()
