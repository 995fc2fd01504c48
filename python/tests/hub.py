"""A hub on loopback: repositories of files, served as the Hugging Face hub serves them.

The list of a repository's files with sizes and checksums; small files at their own address, large ones behind
a redirect to another; parts of files; tokens.  It can also misbehave, one way at a time.
"""

import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

COMMIT = "1234567890abcdef1234567890abcdef12345678"
#: Files from this size on are stored as large ones.
LARGE = 4096


class Hub:
    """Repositories: {name: {file: bytes}}."""

    def __init__(self, repositories):
        self.repositories = repositories
        self.private = set()
        self.token = None
        #: What was asked for, as (method, path, first byte or None, with a token or not).
        self.requests = []
        #: {file: bytes after which the connection breaks, once}.
        self.breaks = {}
        #: {file: what is sent instead}.
        self.instead = {}
        #: Files that are always sent from the first byte on.
        self.whole = set()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.server.daemon_threads = True
        Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def asked(self, file):
        """The first bytes that were asked for of a large file, request by request."""
        return [first for _, path, first, _ in self.requests
                if path.startswith("/large/") and path.endswith(f"/{file}")]

    def information(self, files):
        siblings = []
        for name, contents in files.items():
            sibling = {"rfilename": name, "size": len(contents), "blobId": git_checksum(contents)}
            if len(contents) >= LARGE:
                sibling["lfs"] = {"sha256": hashlib.sha256(contents).hexdigest(), "size": len(contents),
                                  "pointerSize": 134}
            siblings.append(sibling)
        return {"id": "x", "sha": COMMIT, "siblings": siblings}

    def tree(self, files):
        """The same, as `snapshot_download` asks for it."""
        entries = []
        for sibling in self.information(files)["siblings"]:
            entry = {"type": "file", "path": sibling["rfilename"], "size": sibling["size"],
                     "oid": sibling["blobId"]}
            if large := sibling.get("lfs"):
                entry["lfs"] = {"oid": large["sha256"], "size": large["size"],
                                "pointerSize": large["pointerSize"]}
            entries.append(entry)
        return entries

    def handler(hub):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_HEAD(self):
                self.do_GET()

            def do_GET(self):
                path = self.path.partition("?")[0]
                wanted = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
                first = int(wanted[1]) if wanted else None
                token = self.headers.get("Authorization")
                hub.requests.append((self.command, path, first, token is not None))
                if listing := re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/(\w+)", path):
                    if (files := self.repository(listing[1], token)) is not None:
                        self.send(200, json.dumps(hub.information(files)).encode())
                elif tree := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/\w+", path):
                    if (files := self.repository(tree[1], token)) is not None:
                        self.send(200, json.dumps(hub.tree(files)).encode(),
                                  {"Content-Type": "application/json"})
                elif file := re.fullmatch(r"/([^/]+/[^/]+)/resolve/\w+/(.+)", path):
                    if (files := self.repository(file[1], token)) is not None:
                        self.file(file[1], file[2], files, first)
                elif large := re.fullmatch(r"/large/([^/]+/[^/]+)/(.+)", path):
                    self.contents(large[2], hub.repositories[large[1]][large[2]], first, {})
                else:
                    self.send(404, b"no such page")

            def repository(self, name, token):
                files = hub.repositories.get(name)
                if name in hub.private and token != f"Bearer {hub.token}":
                    self.send(401, b"who are you?")
                    return None
                if files is None:
                    self.send(404, b"Repository not found", {"X-Error-Code": "RepoNotFound"})
                return files

            def file(self, repository, name, files, first):
                if name not in files:
                    self.send(404, b"Entry not found", {"X-Error-Code": "EntryNotFound",
                                                        "X-Repo-Commit": COMMIT})
                    return
                contents = files[name]
                headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{git_checksum(contents)}"'}
                if len(contents) < LARGE:
                    self.contents(name, contents, first, headers)
                    return
                headers |= {"X-Linked-ETag": f'"{hashlib.sha256(contents).hexdigest()}"',
                            "X-Linked-Size": str(len(contents)),
                            # Another name of this machine: the token must not follow.
                            "Location": f"http://localhost:{hub.server.server_port}/large/{repository}/{name}"}
                self.send(302, b"", headers)

            def contents(self, name, contents, first, headers):
                contents = hub.instead.get(name, contents)
                status = 200
                if first is not None and name not in hub.whole:
                    if first >= len(contents):
                        self.send(416, b"", {"Content-Range": f"bytes */{len(contents)}"})
                        return
                    status = 206
                    headers = headers | {"Content-Range": f"bytes {first}-{len(contents) - 1}/{len(contents)}"}
                    contents = contents[first:]
                self.send(status, contents, headers, hub.breaks.pop(name, None))

            def send(self, status, body, headers=None, breaks=None):
                self.send_response(status)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body[:breaks])
                if breaks is not None:
                    self.wfile.flush()
                    self.close_connection = True

        return Handler


def git_checksum(contents):
    return hashlib.sha1(b"blob %d\0" % len(contents) + contents).hexdigest()
