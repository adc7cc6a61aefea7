"""Two judges of a policy: moto, which lets requests through or not, and the rules read literally.

moto checks signature, action and resource, but no condition. :func:`allows` is a second reading
of the documented rules for the few elements that our documents use; it shares no code with them.
"""

from __future__ import annotations

import json
import re
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_TOKEN = re.compile(r"\$\{([*?$])\}|([*?])|(.)", re.DOTALL)


def allows(
    documents: Sequence[dict[str, Any]],
    action: str,
    resource: str,
    context: Mapping[str, str],
) -> bool:
    """Whether some statement allows a request and none denies it.

    Args:
        documents: identity policies and bucket policies that apply to the caller.
        action: such as ``s3:GetObject``.
        resource: its ARN.
        context: condition keys that the request carries.
    """
    verdict = False
    for document in documents:
        for statement in document["Statement"]:
            if _applies(statement, action, resource, context):
                if statement["Effect"] == "Deny":
                    return False
                verdict = True
    return verdict


def _applies(
    statement: dict[str, Any], action: str, resource: str, context: Mapping[str, str]
) -> bool:
    unknown = set(statement) - {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}
    if unknown or statement.get("Principal", "*") != "*":
        raise NotImplementedError(f"{unknown or statement['Principal']}")
    return (
        any(_like(p.lower(), action.lower()) for p in _list(statement["Action"]))
        and any(_like(p, resource) for p in _list(statement["Resource"]))
        and all(
            _holds(operator, key, _list(wanted), context)
            for operator, keys in statement.get("Condition", {}).items()
            for key, wanted in keys.items()
        )
    )


def _holds(operator: str, key: str, wanted: list[str], context: Mapping[str, str]) -> bool:
    given = context.get(key)
    if operator == "Null":
        return any((given is None) == (value == "true") for value in wanted)
    if given is None:
        return False
    if operator == "StringEquals":
        return any(_literal(value) == given for value in wanted)
    if operator == "StringLike":
        return any(_like(value, given) for value in wanted)
    if operator == "Bool":
        return given.lower() in [value.lower() for value in wanted]
    raise NotImplementedError(operator)


def _like(pattern: str, text: str) -> bool:
    parts = [
        re.escape(special or plain) if wildcard is None else {"*": ".*", "?": "."}[wildcard]
        for special, wildcard, plain in (
            (found.group(1), found.group(2), found.group(3)) for found in _TOKEN.finditer(pattern)
        )
    ]
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


def _literal(text: str) -> str:
    return re.sub(r"\$\{([*?$])\}", r"\1", text)


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


@contextmanager
def enforcing(url: str) -> Iterator[None]:
    """Let a moto server of this process check signature and rights of each request."""
    _authorise(url, "0")
    try:
        yield
    finally:
        _authorise(url, "inf")


def _authorise(url: str, after: str) -> None:
    request = urllib.request.Request(
        f"{url}/moto-api/reset-auth",
        method="POST",
        data=after.encode(),
        headers={"Content-Type": "text/plain"},
    )
    urllib.request.urlopen(request, timeout=20).close()


def create_user(url: str, name: str, document: dict[str, Any] | None) -> dict[str, str]:
    """A user with one inline policy; the arguments that give boto3 its keys."""
    import boto3

    iam = boto3.client(
        "iam",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="AKIAOWNER00000000000",
        aws_secret_access_key="owner",
    )
    iam.create_user(UserName=name)
    if document is not None:
        iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=json.dumps(document))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {
        "aws_access_key_id": key["AccessKeyId"],
        "aws_secret_access_key": key["SecretAccessKey"],
    }
