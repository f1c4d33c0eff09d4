"""Certificates for tests, made by the openssl program."""

import ssl
import subprocess

CA_EXTENSIONS = "basicConstraints=critical,CA:TRUE"

SETTINGS = """\
[ca]
default_ca = ours
[ours]
database = {directory}/index
new_certs_dir = {directory}
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
[any]
commonName = supplied
"""


def openssl(*args):
    subprocess.run(["openssl", *map(str, args)], check=True,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.PIPE)


class Authority:
    """A CA in a directory of its own; `file` is what ca_file may name."""

    def __init__(self, directory, name="Test CA"):
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o755)
        self.directory = directory
        self.file = directory / "ca.pem"
        self._key = directory / "ca.key"
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", 2,
                "-subj", f"/CN={name}", "-addext", CA_EXTENSIONS,
                "-keyout", self._key, "-out", self.file)
        self.file.chmod(0o644)

    def issue(self, name, hosts="IP:127.0.0.1,IP:::1", expired=False):
        """(certificate, key) for these subjectAltNames."""
        certificate = self.directory / f"{name}.pem"
        key = self.directory / f"{name}.key"
        request = self.directory / f"{name}.csr"
        extensions = self.directory / f"{name}.ext"
        extensions.write_text(f"subjectAltName={hosts}\n")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj",
                f"/CN={name}", "-keyout", key, "-out", request)
        valid = ["-days", 2]
        if expired:
            valid = ["-startdate", "20200101000000Z",
                     "-enddate", "20200201000000Z"]
        # Not "x509 -req": none of its options gives an end in the past to
        # OpenSSL 3.0 as well as 3.5.
        settings = self.directory / "ca.conf"
        settings.write_text(SETTINGS.format(directory=self.directory))
        (self.directory / "index").touch()
        openssl("ca", "-batch", "-notext", "-config", settings, "-cert",
                self.file, "-keyfile", self._key, "-in", request, "-extfile",
                extensions, "-out", certificate, *valid)
        return certificate, key

    def server(self, name, require_client=None, **more):
        """A server's side of TLS with a certificate of ours."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(name, **more))
        if require_client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(require_client.file)
        return context
