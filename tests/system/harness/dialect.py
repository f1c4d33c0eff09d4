"""dovecot.conf as Dovecot 2.3 and 2.4 want it.

The tests say what they need by arguments of harness.dovecot.Dovecot; this
file alone knows how the Dovecot that is installed here spells it. SERIES is
"2.3" or "2.4", for the few tests whose expectation differs; anything else a
test does with it is a reason to add a method here.

To add a feature: give `Dialect` a method that returns configuration text if
both series spell it alike, else give one of the same name and arguments to
`Dialect23` and `Dialect24`; then call it from Dovecot._features() for a new
keyword argument of Dovecot. Text comes out of block() and lines(), which
indent. What a method needs in mail_plugins, _features() adds there.

Traps of 2.4: %u is accepted and stays literal (%{user} is meant); unknown
settings are fatal and plugin {} is gone; $mail_plugins passes doveconf and
then stops every login; SET:name in values is $SET:name; a setting's name loses
its block's prefix inside the block (quota_storage_size is storage_size within
quota NAME {}).
"""

import re
import subprocess
from dataclasses import dataclass, field


@dataclass
class QuotaRoot:
    """Sizes as Dovecot writes them ("10M"); None: no limit, or the default
    (grace). Both grace defaults let one delivery through, but differ."""

    name: str = "User quota"
    storage: str = None
    messages: int = None
    grace: str = None
    hidden: bool = False
    enforce: bool = True


@dataclass
class Namespace:
    """`path` may have {user}, {home} and {mail} (the directory that has all
    homes) in it, in a shared namespace {owner} and {owner_home} too; `prefix`
    may have {owner}."""

    name: str
    type: str = "private"
    prefix: str = ""
    path: str = None
    driver: str = "sdbox"
    separator: str = "/"
    inbox: bool = False
    subscriptions: bool = True
    list: str = "yes"
    private_index: str = None # each user's own \\Seen
    extra: str = ""


@dataclass
class User:
    """One line of a passwd-file. `fields`: extra fields without "userdb_",
    in the dialect's spelling; Dialect.user_quota() makes some."""

    name: str
    uid: int
    gid: int = None
    password: str = "pass"
    home: str = None
    fields: dict = field(default_factory=dict)


def lines(settings):
    return "".join(f"{name} = {value}\n" for name, value in settings.items()
                   if value is not None)


def block(head, *parts):
    """head { ... }, each part being text or a dict of settings."""
    text = "".join(lines(part) if isinstance(part, dict) else part
                   for part in parts)
    return f"{head} {{\n" + re.sub("^(?=.)", "  ", text, flags=re.M) + "}\n"


def yes(value):
    return "yes" if value else "no"


class Dialect:
    """What both series spell alike."""

    series = None
    unlimited = None
    clients_served = None

    def __init__(self, version):
        self.version = version

    # -- processes and sockets

    def listener(self, name, port):
        return block(f"inet_listener {name}", {"port": port})

    def services(self, ports):
        """Exactly the listeners of `ports`: {"imap": 1143, "imaps": 0}."""
        at = {"imap": ("imap-login", "imap", "imaps"),
              "pop3": ("pop3-login", "pop3", "pop3s"),
              "submission": ("submission-login", "submission",
                             "submissions"),
              "sieve": ("managesieve-login", "sieve", "sieve_deprecated"),
              "lmtp": ("lmtp", "lmtp", None)}
        text = ""
        for protocol, (service, plain, other) in at.items():
            if protocol not in ports:
                continue
            text += block(
                f"service {service}",
                self.listener(plain, ports[protocol]),
                self.listener(other, ports.get(other, 0)) if other else "")
        return text

    def relay(self, port):
        return lines({"submission_relay_host": "127.0.0.1",
                      "submission_relay_port": port})

    def without_chroot(self):
        """For a master that is not root."""
        return "".join(block(f"service {name}", {"chroot": ""}) for name in
                       ("imap-login", "pop3-login", "submission-login",
                        "managesieve-login", "anvil", "stats"))

    def hibernation(self, after, user="dovecot"):
        return (block("protocol imap", {"imap_hibernate_timeout": after}) +
                block("service imap",
                      block("unix_listener imap-master", {"user": user})) +
                block("service imap-hibernate",
                      block("unix_listener imap-hibernate",
                            {"mode": "0660", "group": user})))

    def autoexpunge(self, mailbox, max_mails):
        """At the end of each session no more than that many are left."""
        return block("namespace inbox", block(
            f"mailbox {mailbox}", {"autoexpunge_max_mails": max_mails}))

    def reuse(self, service, count):
        """One process of the service serves so many clients, one after the
        other."""
        return block(f"service {service}", {"process_limit": 1,
                                            "client_limit": 1,
                                            self.clients_served: count})

    # -- users

    @staticmethod
    def passwd_file(users, home):
        """The file's text; `home` has {user} in it."""
        text = ""
        for user in users:
            extra = " ".join(f"userdb_{name}={value}"
                             for name, value in user.fields.items())
            gid = user.uid if user.gid is None else user.gid
            where = user.home or home.format(user=user.name)
            text += (f"{user.name}:{{PLAIN}}{user.password}:{user.uid}:{gid}:"
                     f":{where}::{extra}\n")
        return text

    # -- mail

    def mail_plugins(self, by_protocol):
        """{"": global, "imap": more for IMAP}; no empty lines."""
        text = self.add_plugins(by_protocol.get("", ()))
        for protocol, names in by_protocol.items():
            if protocol:
                text += block(f"protocol {protocol}",
                              self.add_plugins(names))
        return text

    def namespaces(self, namespaces, mail):
        return "".join(block(
            f"namespace {one.name}",
            {"type": one.type, "separator": one.separator,
             "prefix": self.prefix(one.prefix) or None,
             "inbox": yes(one.inbox),
             "subscriptions": yes(one.subscriptions), "list": one.list},
            self.mail_location(one.driver, one.path.replace("{mail}", mail),
                               one.private_index)
            if one.path else "",
            one.extra) for one in namespaces)


class Dialect23(Dialect):
    series = "2.3"
    unlimited = "0"
    clients_served = "service_count"

    def path(self, text):
        return text.format(user="%u", home="%h", owner="%%u",
                           owner_home="%%h")

    prefix = path

    def base(self, settings, environment):
        """The file's beginning. `settings` are those both series know."""
        given = " ".join(f"{k}={v}" for k, v in environment.items())
        return lines({**settings,
                      "protocols": " ".join(settings["protocols"]),
                      "disable_plaintext_auth": "no",
                      "auth_username_format": "%u",
                      "default_vsz_limit": self.unlimited,
                      "import_environment": f"TZ {given}"})

    def static_users(self, password, uid, gid, home):
        return (block("passdb", {"driver": "static",
                                 "args": f"password={password}"}) +
                block("userdb", {"driver": "static", "args":
                                 f"uid={uid} gid={gid} "
                                 f"home={self.path(home)} "
                                 "allow_all_users=yes"}))

    def file_users(self, path):
        return "".join(block(what, {"driver": "passwd-file",
                                    "args": f"username_format=%u {path}"})
                       for what in ("passdb", "userdb"))

    def master_users(self, password):
        """Any user name is a master's with that password: USER*MASTER."""
        return "auth_master_user_separator = *\n" + block(
            "passdb", {"driver": "static", "args": f"password={password}",
                       "master": "yes", "skip": "authenticated"})

    def mail_location(self, driver, path, private_index=None):
        setting = f"{driver}:{self.path(path)}"
        if private_index:
            setting += f":INDEXPVT={self.path(private_index)}"
        return f"location = {setting}\n"

    def mail(self, driver, path):
        return "mail_" + self.mail_location(driver, path)

    def user_mail(self, driver, path):
        """User.fields that keep this user's mail elsewhere."""
        return {"mail": f"{driver}:{path}"}

    def add_plugins(self, names):
        return lines({"mail_plugins": " ".join(("$mail_plugins", *names))})

    def mailhook(self, shipped, launcher, directory):
        return (f"!include {shipped}\n" +
                block("plugin", {"mailhook_dir": directory}) +
                block("service mailhook", {"executable": launcher}))

    # -- plugins

    def quota(self, roots):
        settings = {"quota_vsizes": "yes"}
        for n, root in enumerate(roots):
            key = f"quota{n + 1 if n else ''}"
            flags = (":hidden" if root.hidden else "") + \
                ("" if root.enforce else ":noenforcing")
            settings[key] = f"count:{root.name}{flags}"
            limits = self._limits(root.storage, root.messages)
            if limits:
                settings[f"{key}_rule"] = limits
            if root.grace is not None:
                settings[f"{key}_grace"] = root.grace
        return block("plugin", settings)

    @staticmethod
    def _limits(storage, messages):
        limits = [f"storage={storage}"] if storage is not None else []
        limits += [f"messages={messages}"] if messages is not None else []
        return "*:" + ":".join(limits) if limits else None

    def user_quota(self, root="User quota", storage=None, messages=None):
        """User.fields that replace the first root's limits; none given: no
        limits."""
        return {"quota_rule": self._limits(storage, messages) or "*:"}

    def more_quota(self, mailbox, storage):
        """A mailbox in which the first root has so much more room."""
        return block("plugin",
                     {"quota_rule2": f"{mailbox}:storage=+{storage}"})

    def lazy_expunge(self, mailbox):
        return block("plugin", {"lazy_expunge": mailbox})

    def trash(self, mailboxes, file):
        """Mailboxes that make room when the quota is full, the first one
        first. 2.3 wants them in a file."""
        file.write_text("".join(f"{n} {name}\n"
                                for n, name in enumerate(mailboxes, 1)))
        return block("plugin", {"trash": file})

    def acl(self, sharing):
        return block("plugin", {"acl": "vfile",
                                "acl_shared_dict": f"file:{sharing}"})

    def metadata(self):
        return ("mail_attribute_dict = file:%h/dovecot-attributes\n" +
                block("protocol imap", {"imap_metadata": "yes"}))

    def sieve(self, before=None):
        return block("plugin", {
            "sieve": "file:~/sieve;active=~/.dovecot.sieve",
            "sieve_before": before})

    def imapsieve(self, scripts):
        """{mailbox: path of the script}, run for any cause."""
        settings = {"sieve_plugins": "sieve_imapsieve"}
        for n, (mailbox, path) in enumerate(scripts.items(), 1):
            settings[f"imapsieve_mailbox{n}_name"] = mailbox
            settings[f"imapsieve_mailbox{n}_causes"] = "COPY APPEND FLAG"
            settings[f"imapsieve_mailbox{n}_before"] = f"file:{path}"
        return block("plugin", settings)

    # -- TLS

    def tls(self, cert, key, names):
        """names: {server name: (cert, key)} for SNI."""
        def one(cert, key):
            return lines({"ssl_cert": f"<{cert}", "ssl_key": f"<{key}"})
        return "ssl = yes\n" + one(cert, key) + "".join(
            block(f"local_name {name}", one(*pair))
            for name, pair in names.items())


class Dialect24(Dialect):
    series = "2.4"
    unlimited = "unlimited"
    clients_served = "restart_request_count"

    def path(self, text):
        return text.format(user="%{user}", home="%{home}",
                           owner="%{owner_user}", owner_home="%{owner_home}")

    def prefix(self, text):
        return text.format(user="%{user}", owner="$user")

    def base(self, settings, environment):
        return lines({
            "dovecot_config_version": self.version,
            "dovecot_storage_version": self.version,
            **settings, "protocols": " ".join(settings["protocols"]),
            "auth_allow_cleartext": "yes",
            "auth_username_format": "%{user}",
            "default_vsz_limit": self.unlimited}) + block(
                "import_environment",
                {k: f'"{v}"' for k, v in environment.items()})

    def static_users(self, password, uid, gid, home):
        return (block("passdb static", {"password": password}) +
                block("userdb static", {"allow_all_users": "yes"},
                      block("fields", {"uid": uid, "gid": gid,
                                       "home": self.path(home)})))

    def file_users(self, path):
        return "".join(block(f"{what} passwd-file",
                             {"passwd_file_path": path})
                       for what in ("passdb", "userdb"))

    def master_users(self, password):
        return "auth_master_user_separator = *\n" + block(
            "passdb masters", {"driver": "static", "static_password": password,
                               "master": "yes", "skip": "authenticated"})

    def mail_location(self, driver, path, private_index=None):
        return lines({"mail_driver": driver, "mail_path": self.path(path),
                      "mail_index_private_path":
                      private_index and self.path(private_index)})

    mail = mail_location

    def user_mail(self, driver, path):
        return {"mail_driver": driver, "mail_path": path}

    def add_plugins(self, names):
        return block("mail_plugins", {name: "yes" for name in names}) \
            if names else ""

    def mailhook(self, shipped, launcher, directory):
        return (f"!include {shipped}\n" +
                lines({"mailhook_dir": directory}) +
                block("service mailhook", {"executable": launcher}))

    # -- plugins

    def quota(self, roots):
        return "".join(block(f'quota "{root.name}"', {
            "driver": "count", "storage_size": root.storage,
            "message_count": root.messages, "storage_grace": root.grace,
            "hidden": yes(root.hidden), "enforce": yes(root.enforce)})
            for root in roots)

    def user_quota(self, root="User quota", storage=None, messages=None):
        fields = {}
        if storage is not None:
            fields["quota_storage_size"] = storage
        if messages is not None:
            fields["quota_message_count"] = messages
        return fields

    def more_quota(self, mailbox, storage):
        return block("namespace inbox", block(
            f"mailbox {mailbox}", {"quota_storage_extra": storage}))

    def lazy_expunge(self, mailbox):
        return lines({"lazy_expunge_mailbox": mailbox})

    def trash(self, mailboxes, file):
        return block("namespace inbox", *(
            block(f"mailbox {name}", {"trash_priority": n})
            for n, name in enumerate(mailboxes, 1)))

    def acl(self, sharing):
        return "acl_driver = vfile\n" + block(
            "acl_sharing_map", block("dict file", {"path": sharing}))

    def metadata(self):
        return block("mail_attribute", block(
            "dict file", {"path": "%{home}/dovecot-attributes"})) + \
            block("protocol imap", {"imap_metadata": "yes"})

    def sieve(self, before=None):
        text = block("sieve_script personal", {
            "driver": "file", "path": "~/sieve",
            "active_path": "~/.dovecot.sieve"})
        if before:
            text += block("sieve_script before",
                          {"type": "before", "path": before})
        return text

    def imapsieve(self, scripts):
        return block("sieve_plugins", {"sieve_imapsieve": "yes"}) + "".join(
            block(f"mailbox {mailbox}", block(
                f"sieve_script in-{n}",
                {"type": "before", "cause": "append copy flag",
                 "path": path}))
            for n, (mailbox, path) in enumerate(scripts.items()))

    # -- TLS

    def tls(self, cert, key, names):
        def one(cert, key):
            return lines({"ssl_server_cert_file": cert,
                          "ssl_server_key_file": key})
        return "ssl = yes\n" + one(cert, key) + "".join(
            block(f"local_name {name}", one(*pair))
            for name, pair in names.items())


def installed():
    """The dialect of the Dovecot on this machine."""
    out = subprocess.run(["dovecot", "--version"], check=True, text=True,
                         stdout=subprocess.PIPE).stdout
    version = re.match(r"\d+\.\d+\.\d+", out)[0]
    for one in (Dialect23, Dialect24):
        if version.startswith(one.series + "."):
            return one(version)
    raise RuntimeError(f"the tests know Dovecot 2.3 and 2.4, not {version}")


DIALECT = installed()
SERIES = DIALECT.series
