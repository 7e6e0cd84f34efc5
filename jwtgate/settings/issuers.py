"""From key settings to one policy per issuer: top-level keys, or the entries of ``JWTGATE_ISSUERS``.

An entry has an issuer and at least one key of its own; what else it leaves out holds from the top level. Namespaces:
the issuer's own string, and ``""`` where no issuer is configured. Does not check keys: ``core.keys.building`` does.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from jwtgate.core.keys.building import build
from jwtgate.core.keys.ring import KeyRing
from jwtgate.core.statuses.claim import ListRules
from jwtgate.core.tokens.policy import IssuerPolicy, Published
from jwtgate.settings.allowed import Kind, Unfit, sentence
from jwtgate.settings.claim_kinds import ADMITS, AUDIENCE_CLAIM, MAPPING, REQUIRE_VALUES
from jwtgate.settings.files import key_set_text, pem_text, read_text
from jwtgate.settings.fitting import fit
from jwtgate.settings.presets import PRESET, default_issuer_of, spellings_of
from jwtgate.settings.urls import origin_of
from jwtgate.settings.vocabulary import (
    ALGORITHMS,
    AUDIENCE,
    HANDLES,
    ISSUER,
    JWKS_FILE,
    JWKS_URL,
    LEEWAY,
    MAX_TTL,
    OUR_NAMES,
    PEM,
    PRIVATE_KEYS,
    REQUIRE,
    SECRET,
    STATUS_FROM,
    TYP,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["ENTRY_KEYS", "MEMBERS", "SIGNING_KEYS", "Policies", "checked_entries", "is_discoverable", "policies_of"]

MEMBERS: dict[str, Kind] = {
    "issuer": ISSUER,
    "secret": SECRET,
    "private_key": PEM,
    "private_keys": PRIVATE_KEYS,
    "public_key": PEM,
    "jwks_file": JWKS_FILE,
    "jwks_url": JWKS_URL,
    "status_from": STATUS_FROM,
    "audience": AUDIENCE,
    "algorithms": ALGORITHMS,
    "typ": TYP,
    "require": REQUIRE,
    "leeway": LEEWAY,
    "max_ttl": MAX_TTL,
    "logout_audience": OUR_NAMES,
    "events_audience": OUR_NAMES,
    "preset": PRESET,
    "claims": MAPPING,
    "audience_claim": AUDIENCE_CLAIM,
    "require_values": REQUIRE_VALUES,
    "admits": ADMITS,
    "handles": HANDLES,
}
SIGNING_KEYS = ("private_key", "private_keys")
"""An entry with one of these is ours: it signs, and the others only verify."""

ENTRY_KEYS = ("secret", *SIGNING_KEYS, "public_key", "jwks_file")
READERS: dict[str, Callable[[str], str]] = {
    "secret": str,
    "private_key": pem_text,
    "private_keys": key_set_text,
    "public_key": pem_text,
    "jwks_file": read_text,
}


def checked_entries(entries: Sequence[Mapping[str, Any]]) -> tuple[tuple[dict[str, Any], ...], list[str]]:
    """The entries in normal form, and every mistake in them."""
    mistakes: list[str] = []
    checked = tuple(_checked_entry(_label(index), entry, mistakes) for index, entry in enumerate(entries))
    earlier: set[str] = set()
    for index, entry in enumerate(checked):
        spelt = {str(entry["issuer"]), *spellings_of(entry.get("preset"))} if "issuer" in entry else set[str]()
        if not spelt.isdisjoint(earlier):
            mistakes.append(sentence(f"{_label(index)}.issuer", "is that of an earlier entry", "each issuer once"))
        earlier |= spelt
    ours = _ours(entries)
    if len(ours) > 1:
        places = " and ".join(f"{_label(index)}.{name}" for index, name in ours.items())
        mistakes.append(sentence(places, "are set", "one entry with keys that sign, the one whose tokens are issued here"))
    return checked, mistakes


def _ours(entries: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    """Which entries have keys that sign, and under which name."""
    signing = {index: [name for name in SIGNING_KEYS if name in entry] for index, entry in enumerate(entries)}
    return {index: names[0] for index, names in signing.items() if names}


def _label(index: int) -> str:
    return f"JWTGATE_ISSUERS[{index}]"


def _checked_entry(label: str, entry: Mapping[str, Any], mistakes: list[str]) -> dict[str, Any]:
    checked: dict[str, Any] = {}
    for name, value in entry.items():
        if name not in MEMBERS:
            mistakes.append(sentence(f"{label}.{ascii(str(name))[1:-1][:40]}", "is no member of an entry", ", ".join(MEMBERS)))
            continue
        try:
            checked[name] = MEMBERS[name].check(value)
        except Unfit as unfit:
            mistakes.append(sentence(f"{label}.{name}", unfit, MEMBERS[name].allowed))
    if "issuer" not in entry and default_issuer_of(checked.get("preset")) is not None:
        checked["issuer"] = default_issuer_of(checked["preset"])
    rivals = [f"{label}.{name}" for name in ("secret", "private_key") if name in entry]
    if "private_keys" in entry and rivals:
        mistakes.append(sentence(" and ".join(rivals), "is set beside private_keys", "one place for the keys that sign"))
    if "jwks_file" in entry and "jwks_url" in entry:
        mistakes.append(sentence(f"{label}.jwks_file", "is set beside jwks_url", "one of the two"))
    if "issuer" not in {**entry, **checked}:
        mistakes.append(sentence(f"{label}.issuer", "is missing", ISSUER.allowed))
    if not any(name in entry for name in (*ENTRY_KEYS, "jwks_url")) and not is_discoverable(checked.get("issuer")):
        allowed = f"{', '.join((*ENTRY_KEYS, 'jwks_url'))}, or an issuer that is an https URL, which is asked for its keys"
        mistakes.append(sentence(label, "has no key", allowed))
    return checked


def is_discoverable(issuer: object) -> bool:
    """Whether an issuer can be asked for its keys (OpenID Connect Discovery 1.0 §4)."""
    return isinstance(issuer, str) and issuer.startswith(("https://", "http://"))


@dataclass(slots=True)
class Policies:
    """What became of the keys, gathered issuer by issuer."""

    by_issuer: dict[str | None, IssuerPolicy] = field(default_factory=dict[str | None, IssuerPolicy])
    mistakes: list[str] = field(default_factory=list[str])
    warnings: list[str] = field(default_factory=list[str])

    def frozen(self) -> Mapping[str | None, IssuerPolicy]:
        """Read-only, as the gate receives it."""
        return MappingProxyType(dict(self.by_issuer))

    def add(
        self,
        top: Mapping[str, Any],
        own: Mapping[str, Any],
        keys: Mapping[str, str],
        label: str = "",
        *,
        is_foreign: bool = False,
    ) -> None:
        """Builds the keys of one issuer, and its policy if they are sound.

        Args: top, own, label: as for ``fit``. keys: its key settings. is_foreign: another issuer is ours.
        """
        fitted = fit(top, own, label, is_ours=not keys.keys().isdisjoint(SIGNING_KEYS))
        rules, is_foreign = fitted.rules, is_foreign or fitted.is_foreign
        self.mistakes += fitted.mistakes
        issuer = rules.get("issuer")
        published = self._published(rules, keys, label)
        ring = KeyRing(()) if published is not None and not keys else self._ring(rules, keys, label, published)
        if ring is None:
            return
        if is_foreign:
            ring = ring.foreign()
        self.by_issuer[issuer] = IssuerPolicy(
            issuer=issuer,
            namespace=issuer or "",
            keys=ring,
            audience=rules.get("audience"),
            typ=rules.get("typ"),
            require=rules["require"],
            leeway_seconds=rules["leeway"],
            max_ttl_seconds=rules["max_ttl"],
            handle_claims=rules.get("handles") or (),
            version_claim=rules.get("version_claim"),
            published=published,
            logout_audience=rules.get("logout_audience"),
            events_audience=rules.get("events_audience"),
            # Whoever shares the store may hear a provider, and its receipts speak of all.
            marks_sessionless=rules["hears"] or (issuer is not None and ring.signer is None),
            profile=fitted.profile,
            lists=self._lists(rules, label),
        )

    def _published(self, rules: Mapping[str, Any], keys: Mapping[str, str], label: str) -> Published | None:
        """Where the issuer's keys are published: where the setting says or, without any key, where the issuer says itself."""
        url, issuer, is_plain = rules.get("jwks_url"), rules.get("issuer"), bool(rules.get("jwks_http"))
        is_discovered = url is None and not keys and is_discoverable(issuer)
        if is_discovered:
            url = rules.get("discovery") or f"{str(issuer).rstrip('/')}/.well-known/openid-configuration"
        if url is None:
            return None
        if not is_plain and not url.startswith("https://"):
            variable = "issuer" if is_discovered else "jwks_url"
            name = f"{label}.{variable}" if label else f"JWTGATE_{variable.upper()}"
            self.mistakes.append(sentence(name, "is fetched by http", "https, or JWTGATE_JWKS_HTTP=1 for development"))
        stale: float = rules["jwks_stale"]
        return Published(url, is_discovered, rules.get("algorithms"), label, stale, is_plain, rules.get("key_issuers"))

    def _lists(self, rules: Mapping[str, Any], label: str) -> ListRules | None:
        """Whose status lists are consulted about tokens of the issuer."""
        wanted: Sequence[str] | None = rules.get("status_from")
        if wanted is None:
            return None
        name = f"{label}.status_from" if label else "JWTGATE_STATUS_FROM"
        origin = origin_of(str(rules.get("issuer")))
        if "issuer" in wanted and origin is None:
            self.mistakes.append(sentence(name, "says issuer, and the issuer is no URL", "the URLs of its lists"))
        prefixes = tuple(origin or "" if each == "issuer" else each for each in wanted)
        if not rules.get("jwks_http") and any(each.startswith("http://") for each in prefixes):
            self.mistakes.append(sentence(name, "is fetched by http", "https, or JWTGATE_JWKS_HTTP=1 for development"))
        return ListRules(prefixes, rules["jwks_stale"])

    def _ring(
        self, rules: Mapping[str, Any], keys: Mapping[str, str], label: str, published: Published | None
    ) -> KeyRing | None:
        texts = self._texts(keys, label)
        if not texts:
            return None
        # With a key missing, an algorithm of the allow-list may have no key: one mistake is not told twice.
        algorithms = rules.get("algorithms") if len(texts) == len(keys) else None
        built = build(
            secret=texts.get("secret"),
            private_key=texts.get("private_key"),
            private_keys=texts.get("private_keys"),
            public_key=texts.get("public_key"),
            jwks=texts.get("jwks_file"),
            now=time.time(),
            algorithms=algorithms,
            namespace=rules.get("issuer") or "",
            label=label,
            is_fetched=published is not None,
            key_issuers=rules.get("key_issuers"),
        )
        self.mistakes += (_placed(mistake, label) for mistake in built.mistakes)
        self.warnings += (_placed(warning, label) for warning in built.warnings)
        ring, namespace = built.ring, rules.get("issuer") or ""
        is_ours = not label or "private_keys" in keys  # an entry's secret is its issuer's as well
        return ring.deriving(namespace) if ring is not None and is_ours and rules.get("derived_keys") else ring

    def _texts(self, keys: Mapping[str, str], label: str) -> dict[str, str]:
        texts: dict[str, str] = {}
        for name, value in keys.items():
            try:
                texts[name] = READERS[name](value)
            except Unfit as unfit:
                variable = f"{label}.{name}" if label else f"JWTGATE_{name.upper()}"
                kind = {"private_keys": PRIVATE_KEYS, "jwks_file": JWKS_FILE}.get(name, PEM)
                self.mistakes.append(sentence(variable, unfit, kind.allowed))
        return texts


def _placed(text: str, label: str) -> str:
    """Says of which entry the keyring speaks, unless it has said so."""
    return text if label in text else f"{label}: {text}"


def policies_of(values: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> Policies:
    """One policy per entry, or one from the top level where there is no entry.

    Args: values: the checked settings, rows with mistakes left at their defaults. entries: checked.
    """
    policies = Policies()
    # A transmitter of events may speak of the sessions of any issuer.
    hears = any(each.get(name) is not None for each in (values, *entries) for name in ("logout_audience", "events_audience"))
    values = {**values, "hears": hears}
    rules = {name: value for name, value in values.items() if name not in (*READERS, "preset")}
    ours = _ours(entries)
    for index, entry in enumerate(entries):
        keys = {name: entry[name] for name in ENTRY_KEYS if name in entry}
        policies.add(rules, entry, keys, _label(index), is_foreign=bool(ours) and index not in ours)
    if not entries:
        given = {name: value for name, value in values.items() if value is not None}
        policies.add(values, given, {name: given[name] for name in READERS if name in given})
    rings = [each.keys for each in policies.by_issuer.values()]
    is_derived = any(key.is_own and key.deriving is not None for ring in rings for key in ring.keys)
    if values.get("derived_keys") and policies.by_issuer and not (is_derived or policies.mistakes or values.get("private_key")):
        allowed = "JWTGATE_SECRET, or oct keys in PRIVATE_KEYS (in JWTGATE_ISSUERS private_keys), and no provider's"
        policies.mistakes.append(sentence("JWTGATE_DERIVED_KEYS", "is set, and no secret signs", allowed))
    signers = [ring.signer for ring in rings if ring.signer is not None]
    if values.get("status_lists") and policies.by_issuer and (not signers or signers[0].derives):
        found = "is set, and no key signs lists" if signers else "is set, and no key signs"
        allowed = "a private key beside it, or a secret without JWTGATE_DERIVED_KEYS"
        policies.mistakes.append(sentence("JWTGATE_STATUS_LISTS", found, allowed))
    return policies
