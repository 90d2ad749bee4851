"""Certificates for the tests, made by openssl's own program."""
import subprocess

import places

NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


class Authority:
    """A CA of one's own, in a folder that the servers can read."""

    def __init__(self, name="ca"):
        self.folder = places.new_folder("certificates")
        self.file = self.folder / f"{name}.pem"
        self._key = self.folder / f"{name}.key"
        self._openssl("req", "-x509", *NEW_KEY, "-days", "30", "-subj", f"/CN={name}", "-keyout", self._key, "-out", self.file)

    def issue(self, name, names="DNS:localhost,IP:127.0.0.1", days=30):
        """-> (certificate file, key file). Called again for one name it replaces both. Negative days: expired."""
        certificate, key, request, extensions = (self.folder / f"{name}.{end}" for end in ("pem", "key", "csr", "ext"))
        extensions.write_text(f"subjectAltName={names}\n")
        self._openssl("req", "-new", *NEW_KEY, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        self._openssl("x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self._key, "-days", days, "-extfile", extensions, "-out", certificate)
        return certificate, key

    def _openssl(self, *arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for path in self.folder.iterdir():
            places.give(path)
            path.chmod(0o600)
