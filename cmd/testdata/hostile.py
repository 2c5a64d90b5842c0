# A program that does what no program should, of the kind that its argument names, for a while or so often; then it
# writes the file KIND.done and stays.
import array
import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time

KIND = sys.argv[1]
UNTIL = time.monotonic() + float(os.environ.get("SECONDS_OF_IT", "1"))
AMOUNT = int(os.environ.get("AMOUNT_OF_IT", "0"))


def lasts():
    return time.monotonic() < UNTIL


def write(data, fd=1):
    while data:
        data = data[os.write(fd, data):]


def mailbox():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.connect("\0" + os.environ["NOTIFY_SOCKET"][1:])
    return s


def binds():
    port = int(os.environ["A_PORT"])
    calls = 0
    while lasts():
        s = socket.socket()
        try:
            s.bind(("127.0.0.1", port))
            s.listen(1)
        except OSError:
            pass
        s.close()
        calls += 2
    print("calls", calls, flush=True)


def notifies():
    # What isn't its own to say, too long a message, descriptors, and states without end.
    s = mailbox()
    victim = os.environ["VICTIM"]
    for text in ["READY=1\nMAINPID=" + victim, "STOPPING=1\nMAINPID=" + victim, "WATCHDOG=trigger\nMAINPID=" + victim, "WATCHDOG_USEC=1"]:
        s.send(text.encode())
    s.send(b"STATUS=" + b"x" * 60000)
    try:
        s.send(b"x" * (10 << 20))
    except OSError:
        pass
    fds = array.array("i", [0, 1, 2] * 80)
    n = 0
    while lasts():
        s.send(b"STATUS=%d" % n)
        if n % 100 == 0:
            s.sendmsg([b"FDSTORE=1"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        n += 1
    print("messages", n, flush=True)


def endless():
    piece, n = b"x" * 65536, 0
    while lasts() and (AMOUNT == 0 or n < AMOUNT):
        write(piece)
        n += len(piece)
    print("\nbytes", n, flush=True)


def binary():
    piece = os.urandom(65536) + b"\0" * 4096 + b"\xff\xfe\xc3\x28\x1b[2J" * 100
    while lasts():
        write(piece)
        write(piece, 2)


def short():
    piece = b"a\n" * 32768
    while lasts():
        write(piece)


def pipes():
    fcntl.fcntl(1, fcntl.F_SETFL, os.O_NONBLOCK | os.O_RDWR)
    n = 0
    try:
        while n < 5000:
            os.dup(1)
            n += 1
    except OSError:
        pass
    sizes = [4096, 1 << 20, 65536]
    i = 0
    while lasts():
        try:
            fcntl.fcntl(1, 1031, sizes[i % 3])  # F_SETPIPE_SZ
        except OSError:
            pass
        for act in [lambda: os.write(1, b"full " * 20000), lambda: os.read(1, 1 << 20)]:
            try:
                act()
            except OSError:
                pass
        i += 1
    os.closerange(1, 3)


def forks():
    # Double forks in sessions of their own that ignore what they are asked, and many that end at once.
    for _ in range(30):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
                    signal.signal(sig, signal.SIG_IGN)
                while True:
                    signal.pause()
            os._exit(0)
    n = 0
    while lasts() and (AMOUNT == 0 or n < AMOUNT):
        try:
            if os.fork() == 0:
                if os.fork() == 0:
                    os._exit(1)
                os._exit(0)
            n += 2
        except OSError:  # its limit of processes
            pass
        if n % 64 == 0:
            reap()
    reap()
    with open("forks.count", "w") as f:
        f.write(str(n))


def bomb():
    # As many processes as it may have, and never more than a thousand.
    n, refused = 0, 0
    while refused < 20 and n < 1000:
        try:
            if os.fork() == 0:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                while True:
                    time.sleep(60)
            n += 1
        except OSError:
            refused += 1
            time.sleep(0.01)
    print("processes", n, "refused", refused, flush=True)


def reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except OSError:
        pass


def stubborn():
    # It looks like gopm's keeper, ignores every signal, is its own debugger's, and stops itself.
    for sig in range(1, 65):
        try:
            if sig != signal.SIGCHLD:
                signal.signal(sig, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    ctypes.CDLL(None).prctl(15, b"gopm-keeper", 0, 0, 0)
    child = os.fork()
    if child == 0:
        os.setsid()
        above = os.getpid()
        if os.fork() != 0:
            os._exit(0)
        while os.getppid() == above:
            time.sleep(0.001)
        ctypes.CDLL(None).ptrace(0, 0, 0, 0)  # whose child it is now has to debug it: gopm's keeper
        done()
        while True:
            os.kill(os.getpid(), signal.SIGTRAP)
    os.waitpid(child, 0)
    while not os.path.exists(KIND + ".done"):
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGSTOP)


def done():
    with open(KIND + ".done", "w") as f:
        f.write(str(os.getpid()))


{"binds": binds, "notifies": notifies, "endless": endless, "binary": binary, "short": short, "pipes": pipes, "forks": forks, "bomb": bomb, "stubborn": stubborn}[KIND]()
done()
while "ENDS" not in os.environ:
    time.sleep(60)
