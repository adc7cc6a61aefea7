"""The table of roles and actions: what each may do and must not do, and who says so.

    python benchmarks/roles.py
    python benchmarks/roles.py --simulator DIR     # where @cloud-copilot/iam-simulate is installed

Judges: the documents read by the rules of IAM (tests/servers/iam.py), a moto server that enforces
them (actions and resources; it reads no conditions), and, where given, iam-simulate.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from pomona.access.policies import ROLES
from tests.servers import roles
from tests.servers.iam import allows, create_user, enforcing
from tests.servers.moto import empty, moto_server

_SIMULATE = """
import { runSimulation } from '@cloud-copilot/iam-simulate'
let text = ''
for await (const part of process.stdin) text += part
const found = []
for (const request of JSON.parse(text)) {
  const response = await runSimulation({
    request: {
      principal: 'arn:aws:iam::123456789012:role/someone',
      action: request.action,
      resource: { resource: request.resource, accountId: '123456789012' },
      contextVariables: request.context
    },
    identityPolicies: [{ name: 'role', policy: request.policy }],
    resourcePolicy: request.bucketPolicy ?? undefined,
    serviceControlPolicies: [],
    resourceControlPolicies: []
  }, {})
  if (response.errors || response.resultType === 'error')
    throw new Error(JSON.stringify(response.errors) + request.action)
  found.push((response.overallResult ?? response.analysis.result) === 'Allowed')
}
console.log(JSON.stringify(found))
"""


def main() -> int:
    """Print the table; 0 if every judge agrees with what is wanted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulator", type=Path)
    simulator = parser.parse_args().simulator
    by_rules = {role: judge_by_rules(role) for role in ROLES}
    by_server = judge_by_server()
    by_simulator = judge_by_simulator(simulator) if simulator else {}
    wrong = 0
    print("| action | " + " | ".join(ROLES) + " | server | iam-simulate |")
    print("|---|" + "---|" * (len(ROLES) + 2))
    for index, attempt in enumerate(roles.ATTEMPTS):
        cells = []
        for role in ROLES:
            wanted = role in attempt.allowed
            cells.append(told(wanted) if by_rules[role][index] == wanted else "WRONG")
        for judge in (by_server, by_simulator):
            answers = {role: judge.get((role, index)) for role in ROLES}
            known = [role for role in ROLES if answers[role] is not None]
            agreed = all(answers[role] == (role in attempt.allowed) for role in known)
            cells.append(
                "-" if not known else "WRONG" if not agreed
                else "agrees" if len(known) == len(ROLES) else f"agrees ({len(known)} of 3)"
            )  # fmt: skip
        wrong += cells.count("WRONG")
        print(f"| {attempt.what} | " + " | ".join(cells) + " |")
    count = len(roles.ATTEMPTS) * len(ROLES)
    print(
        f"\n{count} verdicts by the rules, {len(by_server)} by the server, "
        f"{len(by_simulator)} by iam-simulate; {wrong} wrong."
    )
    return 1 if wrong else 0


def told(allowed: bool) -> str:
    """A verdict for people."""
    return "allowed" if allowed else "denied"


def judge_by_rules(role: Any) -> list[bool]:
    """Verdicts on every attempt of a role, by tests/servers/iam.py."""
    return [
        allows(
            [roles.documents()[role], *roles.bucket_documents()],
            attempt.action,
            arn(attempt),
            context(attempt),
        )
        for attempt in roles.ATTEMPTS
    ]


def judge_by_server() -> dict[tuple[str, int], bool]:
    """Verdicts of moto, where it can judge."""
    found = {}
    logging.disable(logging.INFO)
    with moto_server() as url:
        for role in ROLES:
            empty(url)
            roles.prepare(url)
            s3 = roles.client(url, create_user(url, role, roles.documents()[role]))
            with enforcing(url):
                for index, attempt in enumerate(roles.ATTEMPTS):
                    if attempt.judged(role):
                        found[role, index] = roles.verdict_of_server(s3, attempt)
    return found


def judge_by_simulator(folder: Path) -> dict[tuple[str, int], bool]:
    """Verdicts of iam-simulate, which is not ours, on every attempt."""
    places = [(role, index) for role in ROLES for index in range(len(roles.ATTEMPTS))]
    buckets = dict(zip(("orchard", "results"), roles.bucket_documents(), strict=True))
    requests = [
        {
            "policy": roles.documents()[role],
            "bucketPolicy": buckets.get(roles.ATTEMPTS[index].resource.split("/")[0]),
            "action": roles.ATTEMPTS[index].action,
            "resource": arn(roles.ATTEMPTS[index]),
            "context": context(roles.ATTEMPTS[index]),
        }
        for role, index in places
    ]
    done = subprocess.run(
        ["node", "--input-type=module", "-e", _SIMULATE],
        cwd=folder,
        input=json.dumps(requests),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return dict(zip(places, json.loads(done.stdout), strict=True))


def arn(attempt: roles.Attempt) -> str:
    """The resource of an attempt."""
    return "*" if attempt.resource == "*" else f"arn:aws:s3:::{attempt.resource}"


def context(attempt: roles.Attempt) -> dict[str, str]:
    """The condition keys that a request carries."""
    return {**attempt.context, "aws:SecureTransport": str(attempt.tls).lower()}


if __name__ == "__main__":
    sys.exit(main())
