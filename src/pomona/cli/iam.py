"""``pomona iam``: the policy that gives a role the rights it needs, and none besides."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from pomona.cli import options as o


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("iam")(print_policy)


def print_policy(
    source: Annotated[str, typer.Argument(metavar="INPUT", help="Where the images are.")],
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="Where the results go.")],
    role: Annotated[
        str | None, typer.Option("--role", metavar="pipeline|uploader|reader", help="Whose rights.")
    ] = None,
    add_under: Annotated[
        str | None,
        typer.Option(
            "--add-under",
            metavar="FOLDER",
            help="The uploader's sub-folder of INPUT. Default: INPUT itself.",
        ),
    ] = None,
    may_overwrite: Annotated[
        bool, typer.Option("--may-overwrite", help="Let the uploader replace objects.")
    ] = False,
    kms_key: Annotated[
        list[str] | None,
        typer.Option(
            "--kms-key",
            metavar="ARN",
            help="Key that the buckets are encrypted with; may be given more than once.",
        ),
    ] = None,
    partition: Annotated[
        str, typer.Option("--partition", metavar="aws|aws-cn|aws-us-gov", help="Of AWS.")
    ] = "aws",
    allow_plain_http: Annotated[
        bool,
        typer.Option("--allow-plain-http", help="Do not require TLS, for a server on loopback."),
    ] = False,
    for_bucket: Annotated[
        bool,
        typer.Option("--bucket-policy", help="Print the policy of the bucket instead."),
    ] = False,
    bucket: Annotated[
        str | None,
        typer.Option("--bucket", metavar="NAME", help="With --bucket-policy: which of the two."),
    ] = None,
    block: Annotated[
        bool,
        typer.Option("--public-access-block", help="Print the bucket's public access block."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it on one line.")] = False,
    verbose: o.Verbose = False,
) -> None:
    """Print the smallest policy for a role on exactly INPUT and OUTPUT, as JSON; change nothing."""
    from pomona.cli.terminal import print_json, reporting, result

    with reporting(verbose=verbose):
        from pomona.access import policies
        from pomona.storage import Location

        places = [policies.Prefix.of(Location.parse(text)) for text in (source, output)]
        named = o.one_of("partition", partition, policies.PARTITIONS)
        if block:
            document: dict[str, Any] = policies.public_access_block()
        elif for_bucket:
            chosen = _chosen([place.bucket for place in places if place], bucket)
            document = policies.bucket_policy(chosen, named)
        else:
            terms = policies.Terms(named, tuple(kms_key or ()), tls=not allow_plain_http)
            document = _of_role(role, places, terms, add_under, may_overwrite)
        if as_json:
            print_json(document)
        else:
            result(json.dumps(document, indent=2))
        _tell_size(policies.size_of(document))


def _of_role(
    role: str | None, places: list[Any], terms: Any, add_under: str | None, may_overwrite: bool
) -> dict[str, Any]:
    from pomona.access import policies
    from pomona.errors import UsageError

    source, output = places
    if role is None:
        raise UsageError("Whose policy is not said.", f"Give --role {'|'.join(policies.ROLES)}.")
    match o.one_of("role", role, policies.ROLES):
        case "pipeline":
            return policies.pipeline_policy(source, output, terms)
        case "reader":
            return policies.reader_policy(output, terms)
        case _:
            folder = source.below(add_under) if source and add_under is not None else source
            return policies.uploader_policy(folder, terms, overwrite=may_overwrite)


def _chosen(buckets: list[str], named: str | None) -> str:
    """The one bucket, or the one of two that was named."""
    from pomona.errors import UsageError

    known = sorted(set(buckets))
    if named is None and len(known) == 1:
        return known[0]
    if named not in known:
        raise UsageError(
            f"INPUT and OUTPUT have {len(known)} buckets, and a bucket policy is of one.",
            f"Give --bucket {' or --bucket '.join(known)}." if known else "Give s3:// addresses.",
        )
    return named


def _tell_size(size: int) -> None:
    from pomona.access.policies import MANAGED_LIMIT, USER_LIMIT
    from pomona.cli.terminal import say

    if size > MANAGED_LIMIT:
        say(f"pomona: {size:,} characters; a managed policy may have {MANAGED_LIMIT:,}.")
        say("  fix: choose shorter prefixes, or attach it inline to a role (10,240).")
    elif size > USER_LIMIT:
        say(f"pomona: {size:,} characters; inline in a user {USER_LIMIT:,} fit, so manage it.")
