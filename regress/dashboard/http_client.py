"""Asks a node over HTTP as a program would: with a token, or as a browser that logged in."""
import json
import urllib.error
import urllib.request


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)


class Client:
    def __init__(self, node, token=None):
        self.url, self.headers = node.url, {}
        if token:
            self.headers["authorization"] = f"Bearer {token}"

    def ask(self, method, path, body=None, **headers):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"content-type": "application/json", **self.headers, **headers}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=40) as answer:
                return Answer(answer.status, answer.headers, answer.read().decode())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.headers, error.read().decode())

    def get(self, path):
        return self.ask("GET", path)

    def post(self, path, body=None):
        return self.ask("POST", path, body or {})

    def log_in(self, password):
        answer = self.post("/api/v1/login", {"password": password})
        if answer.status == 200:
            self.headers = {"cookie": answer.headers["set-cookie"].split(";")[0], "x-rowmesh-csrf": answer.json["csrf"]}
        return answer
