#!/usr/bin/env python3
"""A server of the standard library that also says something by itself every few seconds."""

import http.server
import os
import threading

PORT = int(os.environ.get("PORT", "8000")) + int(os.environ.get("NODE_APP_INSTANCE", "0"))
answered = 0


class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global answered
        answered += 1
        body = b"hello from python\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)  # the request itself is logged to stderr by http.server


def report(every=5.0):
    # Ended with the process: a daemon thread.
    while True:
        print(f"answered {answered} requests", flush=True)
        pause.wait(every)


pause = threading.Event()
threading.Thread(target=report, daemon=True).start()
http.server.ThreadingHTTPServer(("", PORT), Hello).serve_forever()
