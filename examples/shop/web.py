#!/usr/bin/env python3
"""The page that build.js made, and below it what the api says was sold."""
import http.server
import os
import pathlib
import urllib.request

PAGE = pathlib.Path(__file__).parent / "public" / "index.html"
API = "http://127.0.0.1:" + os.environ["API_PORT"]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/health":
            self.answer(200 if PAGE.exists() else 503, "well\n")
            return
        try:
            with urllib.request.urlopen(API + "/sold", timeout=3) as r:
                sold = r.read().decode().strip()
            self.answer(200, PAGE.read_text() + f"sold: {sold}\n")
        except OSError as e:
            self.answer(502, f"{e}\n")

    def answer(self, code, text):
        body = text.encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
print("web listens, pid", os.getpid())
server.serve_forever()
