"""A broker that trusts nobody: TLS, passwords, tokens or certificates, and a grant for each thing that is done."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka.admin import (  # type: ignore[attr-defined] # re-exported there
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from devstack.broker import Broker
from tests.support.certificates import Authority, Certificate
from tests.support.token_endpoint import TokenEndpoint, running_token_endpoint
from tests.support.topics import LIMIT_S, quiet

LISTENERS = {"SCRAM": "SASL_SSL", "OAUTH": "SASL_SSL", "MUTUAL": "SSL", "EXPIRED": "SASL_SSL", "ELSEWHERE": "SASL_SSL"}
_MECHANISMS = {
    "SCRAM": "SCRAM-SHA-512",
    "OAUTH": "OAUTHBEARER",
    "EXPIRED": "SCRAM-SHA-512",
    "ELSEWHERE": "SCRAM-SHA-512",
}
_JAAS = {
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
    "OAUTHBEARER": "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;",
}
_VALIDATOR = "org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler"
_HOSTS = ("localhost", "127.0.0.1")


class Grant(NamedTuple):
    """One allowed operation, in Kafka's own words."""

    resource: str
    name: str
    operation: str
    pattern: str = "LITERAL"


class Login(NamedTuple):
    """A user, and what a connection's Extra needs to be that user."""

    user: str
    extra: dict[str, Any]


class SecureBroker(Broker):
    """A broker with a listener for each way to prove who one is; its plain one is the administrator's.

    Args:
        folder: Everything it keeps is in here.
        endpoint: Issues the tokens that it accepts.
    """

    def __init__(self, folder: Path, authority: Authority, endpoint: TokenEndpoint) -> None:
        super().__init__(folder, listeners=LISTENERS)
        self.authority = authority
        self.endpoint = endpoint
        folder.mkdir(parents=True, exist_ok=True)
        self._jwks = folder / "jwks.json"
        self._jwks.write_text(endpoint.jwks())
        self.properties = self._security()

    def password_login(self, listener: str = "SCRAM") -> Login:
        """Make a user with a password, who may do nothing yet."""
        user, password = _unique(), new_secret()
        credentials = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4_096)
        wanted = UserScramCredentialUpsertion(user, credentials, password.encode())
        admin = self._admin()
        admin.alter_user_scram_credentials([wanted])[user].result(LIMIT_S)
        secrets = {"sasl.mechanism": "SCRAM-SHA-512", "sasl.username": user, "sasl.password": password}
        return Login(user, {**self._over_tls(listener), **secrets})

    def token_login(self, lifetime_s: int = 3_600) -> Login:
        """Make a client of the token endpoint, who may do nothing yet."""
        user, secret = _unique(), new_secret()
        self.endpoint.clients[user] = secret
        self.endpoint.lifetime_s[user] = lifetime_s
        extra = {
            "https.ca.pem": self.authority.pem,
            "sasl.mechanism": "OAUTHBEARER",
            "sasl.oauthbearer.method": "oidc",
            "sasl.oauthbearer.client.id": user,
            "sasl.oauthbearer.client.secret": secret,
            "sasl.oauthbearer.token.endpoint.url": self.endpoint.url,
        }
        return Login(user, {**self._over_tls("OAUTH"), **extra})

    def certificate_login(self) -> Login:
        """Make a user with a certificate, its key under a password, who may do nothing yet."""
        user, password = _unique(), new_secret()
        own = self.authority.client(user)
        extra = {"ssl.certificate.pem": own.certificate, "ssl.key.pem": own.encrypted_key(password)}
        return Login(user, {**self._over_tls("MUTUAL"), **extra, "ssl.key.password": password})

    def allow(self, user: str, grants: Iterable[Grant]) -> None:
        """Let a user do all this."""
        for grant in grants:
            self._bind(user, grant, AclPermissionType.ALLOW)

    def deny(self, user: str, grant: Grant) -> None:
        """Forbid a user one thing, whatever else allows it."""
        self._bind(user, grant, AclPermissionType.DENY)

    def _over_tls(self, listener: str) -> dict[str, Any]:
        return {
            "bootstrap.servers": self.address(listener),
            "security.protocol": LISTENERS[listener],
            "ssl.ca.pem": self.authority.pem,
        }

    def _bind(self, user: str, grant: Grant, permission: AclPermissionType) -> None:
        binding = AclBinding(
            getattr(ResourceType, grant.resource),
            grant.name,
            getattr(ResourcePatternType, grant.pattern),
            f"User:{user}",
            "*",
            getattr(AclOperation, grant.operation),
            permission,
        )
        admin = self._admin()
        admin.create_acls([binding])[binding].result(LIMIT_S)

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0}, logger=quiet)

    def _java_options(self) -> list[str]:
        allowed = f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={self._jwks.as_uri()}"
        return [*super()._java_options(), allowed]

    def _security(self) -> dict[str, str]:
        own = self.authority.server(*_HOSTS)
        certificates = {
            **dict.fromkeys(("SCRAM", "OAUTH", "MUTUAL"), own),
            "EXPIRED": self.authority.server(*_HOSTS, expired=True),
            "ELSEWHERE": self.authority.server("kafka.elsewhere.example"),
        }
        settings = {
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "allow.everyone.if.no.acl.found": "false",
            "listener.name.mutual.ssl.client.auth": "required",
            "listener.name.mutual.ssl.principal.mapping.rules": r"RULE:^CN=([^,]+).*$/$1/,DEFAULT",
        }
        for listener, certificate in certificates.items():
            settings |= self._tls(listener, certificate)
        for listener, mechanism in _MECHANISMS.items():
            prefix = f"listener.name.{listener.lower()}"
            settings[f"{prefix}.sasl.enabled.mechanisms"] = mechanism
            settings[f"{prefix}.{mechanism.lower()}.sasl.jaas.config"] = _JAAS[mechanism]
        return settings | self._tokens("listener.name.oauth.oauthbearer")

    def _tls(self, listener: str, certificate: Certificate) -> dict[str, str]:
        keystore, truststore = self.folder / f"{listener}.pem", self.folder / "authority.pem"
        keystore.write_text(certificate.keystore)
        truststore.write_text(self.authority.pem)
        prefix = f"listener.name.{listener.lower()}.ssl"
        return {
            f"{prefix}.keystore.type": "PEM",
            f"{prefix}.keystore.location": str(keystore),
            f"{prefix}.truststore.type": "PEM",
            f"{prefix}.truststore.location": str(truststore),
        }

    def _tokens(self, prefix: str) -> dict[str, str]:
        return {
            f"{prefix}.sasl.server.callback.handler.class": _VALIDATOR,
            # A token that ran out ends the connection unless the client proves itself again.
            f"{prefix}.connections.max.reauth.ms": "3600000",
            "sasl.oauthbearer.jwks.endpoint.url": self._jwks.as_uri(),
            "sasl.oauthbearer.expected.audience": "kafka",
            "sasl.oauthbearer.clock.skew.seconds": "0",
        }


@contextmanager
def running_secure_broker(folder: Path) -> Iterator[SecureBroker]:
    """Give a broker that answers, with its token endpoint; leave no process behind."""
    authority = Authority("authority of the tests")
    folder.mkdir(parents=True, exist_ok=True)
    with running_token_endpoint(folder, authority.server(*_HOSTS)) as endpoint:
        broker = SecureBroker(folder / "broker", authority, endpoint)
        try:
            broker.start()
            yield broker
        finally:
            broker.stop()


def _unique() -> str:
    return f"etl{uuid.uuid4().hex}"


def new_secret() -> str:
    """A password that each way to write it down must escape in its own way."""
    return f'{uuid.uuid4().hex}@:/%"'
