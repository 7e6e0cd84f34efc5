"""From an issuer's members and its preset to the rules that hold for it: what a token is like, and what is missing.

The order of what wins: the entry (at the top level, what was set there), then the preset, then the top level. What a token
must have (``require``, ``handles``, the preset's own marks) adds up. Judges no key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jwtgate.core.tokens.profile import MAPPED_NAMES, Profile
from jwtgate.settings.allowed import sentence
from jwtgate.settings.presets import PRESETS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jwtgate.settings.presets import Preset

__all__ = ["Fitted", "fit"]


@dataclass(frozen=True, slots=True)
class Fitted:
    """What holds for one issuer.

    Attributes:
        rules: its members, those of the preset and of the top level included.
        profile: how its tokens differ from others', or None.
        is_foreign: it is a provider, or names its claims as one: no token of it is made here.
        mistakes: sentences that name the entry, the member and what is allowed.
    """

    rules: Mapping[str, Any]
    profile: Profile | None
    is_foreign: bool
    mistakes: tuple[str, ...]


def fit(top: Mapping[str, Any], own: Mapping[str, Any], label: str, *, is_ours: bool) -> Fitted:
    """The rules of one issuer.

    Args:
        top: checked settings of the top level.
        own: checked members of its entry; or what was set at the top level, where there is no entry.
        label: of the entry in sentences; empty: it is the top level.
        is_ours: it has keys that sign.
    """
    name, issuer = own.get("preset"), own.get("issuer")
    preset, groups = _found(name, issuer)
    rules: dict[str, Any] = {**top, **own}
    claims: dict[str, Any] = dict(own.get("claims", {}))
    if preset is not None:
        rules = {**top, **preset.members, **own}
        rules["handles"] = _joined(own.get("handles") or top.get("handles") or (), preset.members.get("handles", ()))
        rules["require"] = _joined(rules["require"], preset.require)
        claims = {**preset.claims, **claims}
        rules["key_issuers"] = frozenset(_filled(each, groups) for each in preset.key_issuers) or None
        rules["discovery"] = None if preset.discovery is None else _filled(preset.discovery, groups)
    rules["version_claim"] = claims.get("version", rules.get("version_claim"))
    profile = _profile(rules, claims, own, preset, groups)
    is_provider = any(each.is_provider for each in PRESETS.get(str(name), ()))
    mistakes = [*_of_preset(preset, rules, label, is_ours=is_ours)]
    mistakes += _of_profile(profile, rules, label, is_ours=is_ours and not is_provider)
    if is_ours and is_provider:
        allowed = "keys that verify: nobody but the provider makes its tokens"
        mistakes.append(sentence(_named(label, "preset"), f"is {name!r} beside a private key", allowed))
    is_mapped = profile is not None and (bool(profile.names) or profile.admits != "access")
    return Fitted(rules, profile, is_provider or is_mapped, tuple(mistakes))


def _found(name: object, issuer: object) -> tuple[Preset | None, dict[str, str]]:
    """The preset of that name that the issuer fits. Of one that it does not fit nothing is taken: the gate will not start."""
    for preset in PRESETS.get(str(name), ()):
        match = preset.issuer.fullmatch(issuer) if isinstance(issuer, str) else None
        if match is not None:
            return preset, match.groupdict()
    return None, {}


def _filled(text: str, groups: Mapping[str, str]) -> str:
    for name, value in groups.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _joined(some: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*some, *more)))


def _profile(
    rules: Mapping[str, Any],
    claims: Mapping[str, Any],
    own: Mapping[str, Any],
    preset: Preset | None,
    groups: Mapping[str, str],
) -> Profile | None:
    """None: its tokens are as any other's."""
    values: dict[str, tuple[str | int | bool, ...]] = {}
    if preset is not None:
        values.update({name: tuple(_filled(each, groups) for each in listed) for name, listed in preset.values.items()})
    values.update({name: tuple(listed) for name, listed in own.get("require_values", {}).items()})
    profile = Profile(
        scopes=_places(claims.get("scopes", ())),
        names=tuple((kind, _places(claims[kind])) for kind in MAPPED_NAMES if kind in claims),
        audience_claim=rules.get("audience_claim"),
        values=tuple(values.items()),
        one_of=preset.one_of if preset is not None else (),
        types=preset.types if preset is not None and own.get("typ") is None else None,
        foreign_header=preset.foreign_header if preset is not None else frozenset(),
        admits=rules.get("admits", "access"),
        spellings=preset.spellings if preset is not None else frozenset(),
    )
    return None if profile == Profile() else profile


def _places(value: Any) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(place) for place in value)


def _of_preset(preset: Preset | None, rules: Mapping[str, Any], label: str, *, is_ours: bool) -> Iterator[str]:
    """What of the operator's own does not go with the provider."""
    name, issuer = rules.get("preset"), rules.get("issuer")
    if name is not None and preset is None:
        found = f"is {issuer!r}, and preset is {name!r}" if isinstance(issuer, str) else f"is missing, and preset is {name!r}"
        yield sentence(_named(label, "issuer"), found, "; or ".join(dict.fromkeys(each.allowed for each in PRESETS[name])))
    if preset is None:
        return
    if preset.audience and rules.get("audience") is None:
        yield sentence(_named(label, "audience"), f"is missing, and preset is {name!r}", preset.audience)
    if not preset.takes_any_audience and rules.get("audience") == ("*",):
        yield sentence(_named(label, "audience"), f"is *, and preset is {name!r}", preset.audience)
    if is_ours and "client_id" in preset.require and rules.get("client_id") is None:
        yield sentence(
            "JWTGATE_CLIENT_ID", f"is missing, and preset is {name!r}", "the client_id of the tokens that are issued"
        )


def _of_profile(profile: Profile | None, rules: Mapping[str, Any], label: str, *, is_ours: bool) -> Iterator[str]:
    """What of an entry does not go together, whoever wrote it."""
    if profile is None:
        return
    if rules.get("preset") is None and rules.get("audience") is None and (profile.audience_claim or profile.admits == "id"):
        member = "audience_claim" if profile.audience_claim else "admits"
        yield sentence(_named(label, member), "is set without audience, with which a token is compared", "both, or neither")
    if profile.admits == "id" and rules.get("preset") is None and rules.get("audience") == ("*",):
        yield sentence(
            _named(label, "audience"), "is *, and ID tokens are admitted", "your client ids: they are whom one is for"
        )
    if profile.admits == "none" and not any(rules.get(name) for name in ("logout_audience", "events_audience")):
        allowed = "one of them: an issuer whose tokens are not admitted is there to tell of something"
        yield sentence(_named(label, "admits"), "is none without logout_audience or events_audience", allowed)
    if is_ours and (profile.names or profile.admits != "access"):
        member = "admits" if profile.admits != "access" else "claims"
        allowed = "scopes alone in claims, and access tokens: those that are issued here have their registered names"
        yield sentence(_named(label, member), "is set beside a private key", allowed)


def _named(label: str, member: str) -> str:
    return f"{label}.{member}" if label else f"JWTGATE_{member.upper()}"
