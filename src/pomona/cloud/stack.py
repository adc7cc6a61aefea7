"""The CloudFormation stack: made, changed, waited for, and deleted."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pomona.cloud.account import asking, code_of
from pomona.cloud.plan import template
from pomona.errors import CloudError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pomona.cloud.account import Cloud

POLL_SECONDS = 5.0
_PATIENCE = 1_800.0
_ECHOES = ("cancelled", "canceled", "Resource creation Initiated", "The following resource(s)")
"""Reasons of resources that failed only because another one did."""


@dataclass(frozen=True)
class StackFacts:
    """A stack as AWS describes it.

    Attributes:
        identity: its ARN, which also names it after it is gone.
        status: such as ``CREATE_COMPLETE``.
        reason: of the status, where there is one.
        parameters: as it was made or last changed.
        outputs: of the template.
        created: seconds since the epoch.
    """

    identity: str
    status: str
    reason: str
    parameters: dict[str, str]
    outputs: dict[str, str]
    created: float

    @property
    def usable(self) -> bool:
        """Whether it stands."""
        return self.status in (
            "CREATE_COMPLETE",
            "UPDATE_COMPLETE",
            "UPDATE_ROLLBACK_COMPLETE",
        )


@dataclass(frozen=True)
class Change:
    """What an update would do to one resource.

    Attributes:
        action: ``Add``, ``Modify`` or ``Remove``.
        resource: its name in the template.
        kind: its type.
        replacement: whether it would be made anew.
    """

    action: str
    resource: str
    kind: str
    replacement: bool


def describe(cloud: Cloud, identity: str | None = None) -> StackFacts | None:
    """The stack; None where there is none, or where it has been deleted."""
    with asking():
        try:
            answer = cloud.client("cloudformation").describe_stacks(
                StackName=identity or cloud.stack
            )
        except Exception as error:
            if code_of(error) == "ValidationError" and "does not exist" in str(error):
                return None
            raise
    found = answer["Stacks"][0] if answer["Stacks"] else None
    if found is None or (identity is None and found["StackStatus"] == "DELETE_COMPLETE"):
        return None
    return StackFacts(
        identity=found["StackId"],
        status=found["StackStatus"],
        reason=found.get("StackStatusReason", ""),
        parameters={p["ParameterKey"]: p["ParameterValue"] for p in found.get("Parameters", [])},
        outputs={o["OutputKey"]: o["OutputValue"] for o in found.get("Outputs", [])},
        created=found["CreationTime"].timestamp(),
    )


def resources(cloud: Cloud) -> list[tuple[str, str, str, str]]:
    """Name, type, identity and status of each resource of the stack."""
    with asking():
        pages = cloud.client("cloudformation").get_paginator("list_stack_resources")
        return [
            (r["LogicalResourceId"], r["ResourceType"], r.get("PhysicalResourceId", ""),
             r["ResourceStatus"])
            for page in pages.paginate(StackName=cloud.stack)
            for r in page["StackResourceSummaries"]
            if r["ResourceStatus"] != "DELETE_COMPLETE" and r.get("LogicalResourceId")
        ]  # fmt: skip


def create(
    cloud: Cloud, chosen: dict[str, str], tags: dict[str, str], tell: Callable[[str], None]
) -> StackFacts:
    """Make the stack and wait; where that fails, AWS itself deletes what was made.

    Raises:
        CloudError: with the reason of the resource that failed first.
    """
    with asking():
        identity = cloud.client("cloudformation").create_stack(
            StackName=cloud.stack,
            TemplateBody=template(),
            Parameters=_pairs(chosen),
            Capabilities=["CAPABILITY_IAM"],
            OnFailure="DELETE",
            Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
        )["StackId"]
    return wait(cloud, identity, "CREATE_COMPLETE", tell)


def changes(cloud: Cloud, chosen: dict[str, str], tags: dict[str, str]) -> tuple[str, list[Change]]:
    """Ask AWS what an update would do.

    Returns:
        The change set's ARN, to apply or to drop; and its changes.
    """
    client = cloud.client("cloudformation")
    with asking():
        made = client.create_change_set(
            StackName=cloud.stack,
            ChangeSetName=f"pomona-{secrets.token_hex(4)}",
            ChangeSetType="UPDATE",
            TemplateBody=template(),
            Parameters=_pairs(chosen),
            Capabilities=["CAPABILITY_IAM"],
            Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
        )["Id"]
        until = time.monotonic() + _PATIENCE
        while True:
            found = client.describe_change_set(StackName=cloud.stack, ChangeSetName=made)
            if found["Status"] not in ("CREATE_PENDING", "CREATE_IN_PROGRESS"):
                break
            if time.monotonic() > until:
                raise CloudError("AWS does not say what would change.", "Try again.")
            time.sleep(POLL_SECONDS)
    reason = found.get("StatusReason", "")
    if found["Status"] == "FAILED":
        drop(cloud, made)
        # That is how CloudFormation says that there is nothing to do.
        if "didn't contain changes" in reason or "No updates" in reason:
            return "", []
        raise CloudError(f"AWS refuses the change: {reason}", "Correct what it names.")
    return made, [
        Change(
            change["Action"],
            change["LogicalResourceId"],
            change["ResourceType"],
            change.get("Replacement") == "True",
        )
        for change in (c["ResourceChange"] for c in found["Changes"])
    ]


def apply(cloud: Cloud, change_set: str, tell: Callable[[str], None]) -> StackFacts:
    """Let a change set happen, and wait; where it fails, AWS puts back what was."""
    with asking():
        cloud.client("cloudformation").execute_change_set(
            StackName=cloud.stack, ChangeSetName=change_set
        )
    return wait(cloud, cloud.stack, "UPDATE_COMPLETE", tell)


def drop(cloud: Cloud, change_set: str) -> None:
    """Forget a change set."""
    with asking():
        cloud.client("cloudformation").delete_change_set(
            StackName=cloud.stack, ChangeSetName=change_set
        )


def delete(cloud: Cloud, tell: Callable[[str], None]) -> None:
    """Delete the stack and wait until it is gone.

    Raises:
        CloudError: a resource cannot be deleted; which, and why.
    """
    found = describe(cloud)
    if found is None:
        return
    with asking():
        cloud.client("cloudformation").delete_stack(StackName=found.identity)
    wait(cloud, found.identity, "DELETE_COMPLETE", tell)


def wait(cloud: Cloud, identity: str, wanted: str, tell: Callable[[str], None]) -> StackFacts:
    """Wait for a status, and tell what happens to each resource meanwhile.

    Raises:
        CloudError: it ended in another status, or takes longer than half an hour.
    """
    until, seen = time.monotonic() + _PATIENCE, set[str]()
    begun = time.time() - POLL_SECONDS
    while True:
        found = describe(cloud, identity)
        if found is None:
            # Some services forget a deleted stack at once.
            found = StackFacts(identity, "DELETE_COMPLETE", "", {}, {}, 0.0)
        for event in reversed(_events(cloud, identity)):
            if event["EventId"] in seen or event["Timestamp"].timestamp() < begun:
                continue
            seen.add(event["EventId"])
            if event.get("ResourceStatus", "").endswith("_COMPLETE"):
                tell(f"  {event['LogicalResourceId']}: {event['ResourceStatus']}")
        if found.status == wanted:
            return found
        if not found.status.endswith("_IN_PROGRESS"):
            raise CloudError(
                f"The stack {cloud.stack} did not come to {wanted}, but to {found.status}: "
                f"{failure(cloud, identity) or found.reason or 'no reason is given'}",
                "Nothing is left of it."
                if found.status == "DELETE_COMPLETE"
                else "Correct what it names and repeat the command.",
            )
        if time.monotonic() > until:
            raise CloudError(
                f"The stack {cloud.stack} is still {found.status} after half an hour.",
                "Watch it by `pomona cloud status`.",
            )
        time.sleep(POLL_SECONDS)


def failure(cloud: Cloud, identity: str) -> str:
    """The first resource of a stack that failed by itself, with the reason."""
    for event in reversed(_events(cloud, identity)):
        reason = event.get("ResourceStatusReason", "")
        if event.get("ResourceStatus", "").endswith("_FAILED") and not any(
            echo in reason for echo in _ECHOES
        ):
            return f"{event['LogicalResourceId']} ({event['ResourceType']}): {reason}"
    return ""


def _events(cloud: Cloud, identity: str) -> list[dict[str, Any]]:
    """Newest first; none where the stack is not known any more."""
    with asking():
        try:
            pages = cloud.client("cloudformation").get_paginator("describe_stack_events")
            return [e for page in pages.paginate(StackName=identity) for e in page["StackEvents"]]
        except Exception as error:
            if code_of(error) == "ValidationError":
                return []
            raise


def _pairs(chosen: dict[str, str]) -> list[dict[str, str]]:
    return [{"ParameterKey": k, "ParameterValue": v} for k, v in sorted(chosen.items())]
