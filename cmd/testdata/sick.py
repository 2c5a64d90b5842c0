# Sick is a server that is as well as a file says: sick.py PORT [SECONDS]. It begins to listen after so many seconds.
# The file state.N, or state for all instances N, makes it answer 503 with the file's text, not at all (hang), or end (die).
# Each answer names the process.
import http.server
import os
import sys
import threading
import time

number = os.environ.get("NODE_APP_INSTANCE", "0")


def state():
    for name in ("state." + number, "state"):
        try:
            with open(name) as f:
                return f.read().strip()
        except FileNotFoundError:
            pass
    return ""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        now = state() if self.path == "/health" else ""
        if now == "hang":
            threading.Event().wait()
        if now == "die":
            os._exit(3)
        text = (now or str(os.getpid())).encode()
        self.send_response(503 if now else 200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *words):
        pass


time.sleep(float(sys.argv[2]) if len(sys.argv) > 2 else 0)
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
server.daemon_threads = True
print("listening", flush=True)
server.serve_forever()
