"""``pomona cloud``: a cluster on AWS, from its price to its end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pomona.cli import options as o

if TYPE_CHECKING:
    from pomona.cloud.life import Plan
    from pomona.cloud.prices import Prices

EU = "eu-west-1"

Name = Annotated[str, typer.Option("--name", metavar="NAME", help="Of the cluster.")]
Region = Annotated[
    str,
    typer.Option(
        "--region",
        metavar="REGION",
        envvar="POMONA_CLOUD_REGION",
        help="Of AWS. Whatever the AWS settings say, it is one in the EU unless named here.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would happen; change nothing.")]
PriceFile = Annotated[
    Path | None, typer.Option("--prices", metavar="FILE", help="Prices of your own, as JSON.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    from pomona.cli import cloud_quote, cloud_run

    cloud = typer.Typer(
        name="cloud",
        help="A cluster on AWS: quote, up, submit, logs, down.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    cloud_quote.register(cloud)
    cloud.command("up")(up)
    cloud.command("status")(status)
    cloud_run.register(cloud)
    cloud.command("scale")(scale)
    cloud.command("down")(down)
    cloud.command("rights")(rights)
    app.add_typer(cloud)


def up(
    archive: Annotated[
        Path | None,
        typer.Option(
            "--archive",
            metavar="FILE",
            help="The environment, of `pomona cluster pack`. Default: the one in the bucket.",
        ),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", "-w", min=0, help="How many.")] = 2,
    kind: Annotated[
        str | None,
        typer.Option("--type", metavar="TYPE", help="Of the workers. Default: t3/t4g.medium."),
    ] = None,
    master: Annotated[
        str | None,
        typer.Option("--master-type", metavar="TYPE", help="Default: t3/t4g.medium."),
    ] = None,
    spot: Annotated[
        bool | None, typer.Option("--spot/--no-spot", help="Workers that AWS may reclaim, cheaper.")
    ] = None,
    idle: Annotated[
        int | None,
        typer.Option("--idle", metavar="MINUTES", help="Idle time until all ends. Default: 60."),
    ] = None,
    most: Annotated[
        int | None, typer.Option("--most", metavar="N", min=1, help="Workers, at most: 16.")
    ] = None,
    disk: Annotated[
        int | None, typer.Option("--disk", metavar="GIB", min=12, help="Each. Default: 20.")
    ] = None,
    image: Annotated[
        str | None,
        typer.Option("--image", metavar="al2023|ubuntu", help="Default: what FILE runs on."),
    ] = None,
    source: Annotated[
        str | None, typer.Option("--input", metavar="s3://…", help="Default: images in its bucket.")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", metavar="s3://…", help="Default: results in its bucket."),
    ] = None,
    vpc: Annotated[
        str | None, typer.Option("--vpc", metavar="ID", help="A network of yours.")
    ] = None,
    subnets: Annotated[
        list[str] | None,
        typer.Option("--subnet", metavar="ID", help="Of it; may be given more than once."),
    ] = None,
    ssh_key: Annotated[
        str | None, typer.Option("--ssh-key", metavar="NAME", help="A key pair in EC2.")
    ] = None,
    ssh_from: Annotated[
        str | None, typer.Option("--ssh-from", metavar="CIDR", help="Who may use SSH.")
    ] = None,
    tags: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="KEY=VALUE", help="On everything; may be repeated."),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait until the workers have registered.")
    ] = True,
    name: Name = "pomona",
    region: Region = EU,
    prices: PriceFile = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    verbose: o.Verbose = False,
) -> None:
    """Make the cluster, or bring it to what is asked for; what fails is taken back.

    Run again, it changes nothing but what differs. It costs from here on, until `down`, or until
    it was idle for an hour.
    """
    from pomona.cli.terminal import reporting, result, say

    with reporting(verbose=verbose, resume=f"See what is left: pomona cloud status --name {name}"):
        from pomona.cloud import life, release
        from pomona.cloud.account import Cloud
        from pomona.cloud.plan import Wish
        from pomona.cloud.prices import load_prices

        cloud = Cloud(name, region)
        wish = Wish(
            workers=workers, worker_type=kind, master_type=master, spot=spot, idle_minutes=idle,
            most_workers=most, disk_gib=disk, image=image, input=_place(source),
            output=_place(output), vpc=vpc, subnets=tuple(subnets or ()), ssh_key=ssh_key,
            ssh_from=ssh_from,
        )  # fmt: skip
        wish.check()
        say(f"pomona: in {region}" + _about(region))
        found = release.read_archive(archive) if archive is not None else None
        plan = life.plan(cloud, wish, found, o.pairs(tags, "--tag") or {})
        _say_cost(plan, load_prices(prices))
        if dry_run:
            _show(plan)
            return
        _confirm("Make it?", yes=yes)
        life.up(plan, say, registration=wait)
        result(f"the cluster {name} stands: a master and {workers} workers")
        _say_next(plan)


def status(
    name: Name = "pomona",
    region: Region = EU,
    prices: PriceFile = None,
    as_json: o.Json = False,
    verbose: o.Verbose = False,
) -> None:
    """A table of what exists, what the instances do, and what they have cost so far."""
    from pomona.cli.terminal import print_json, reporting, result

    with reporting(verbose=verbose):
        from pomona.cloud.account import Cloud
        from pomona.cloud.prices import load_prices
        from pomona.cloud.state import look

        state = look(Cloud(name, region), load_prices(prices))
        if as_json:
            print_json(state.facts())
            return
        for line in state.lines():
            result(line)


def scale(
    workers: Annotated[int, typer.Argument(metavar="N", min=0, help="Workers.")],
    name: Name = "pomona",
    region: Region = EU,
    prices: PriceFile = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    verbose: o.Verbose = False,
) -> None:
    """Another number of workers, also while a run goes on."""
    from pomona.cli.terminal import reporting, result, say

    with reporting(verbose=verbose):
        from pomona.cloud import life, stack
        from pomona.cloud.account import Cloud
        from pomona.cloud.prices import load_prices
        from pomona.errors import CloudError

        cloud = Cloud(name, region)
        present = stack.describe(cloud)
        if present is None:
            raise CloudError(f"There is no cluster {name} in {region}.", "pomona cloud up")
        say(_cost(load_prices(prices), region, present.parameters, workers))
        if dry_run:
            result(f"would let the cluster {name} have {workers} workers")
            return
        _confirm(f"Let it have {workers} workers?", yes=yes)
        life.scale(cloud, workers, say)
        result(f"the cluster {name} has {workers} workers")


def down(
    delete_bucket: Annotated[
        bool,
        typer.Option("--delete-bucket", help="Delete the bucket too, with images and results."),
    ] = False,
    name: Name = "pomona",
    region: Region = EU,
    dry_run: DryRun = False,
    yes: Yes = False,
    verbose: o.Verbose = False,
) -> None:
    """Remove everything but the bucket. Safe to repeat."""
    from pomona.cli.terminal import reporting, result, say

    with reporting(verbose=verbose, resume="Repeat it until it says that nothing is left."):
        from pomona.cloud import life, release, stack
        from pomona.cloud.account import Cloud
        from pomona.cloud.state import look_quickly

        cloud = Cloud(name, region)
        present = stack.describe(cloud)
        bucket = present.parameters["BucketName"] if present else cloud.bucket(cloud.account())
        holds = release.bucket_exists(cloud, bucket)
        for line in look_quickly(cloud):
            say(line)
        if dry_run:
            tail = f"and the bucket {bucket}" if delete_bucket and holds else "not the bucket"
            result(f"would delete the stack {cloud.stack}, its instances, its secret, {tail}")
            return
        if delete_bucket and holds:
            _confirm(f"Delete the bucket {bucket} with all images and results?", yes=yes)
        elif present is not None:
            _confirm(f"Remove the cluster {name}?", yes=yes)
        there = life.down(cloud, say)
        if delete_bucket:
            release.delete_bucket(cloud, bucket, say)
        if not there:
            result(f"there is no cluster {name} in {region}: nothing costs")
        else:
            result(f"the cluster {name} is gone: instances, network, roles, logs and secret")
        if holds and not delete_bucket:
            result(f"the bucket {bucket} stays (--delete-bucket)")


def rights(
    name: Name = "pomona",
    region: Region = EU,
    account: Annotated[
        str | None, typer.Option("--account", metavar="NUMBER", help="Default: the present one.")
    ] = None,
    verbose: o.Verbose = False,
) -> None:
    """Print the policy that the person needs who makes and removes this cluster."""
    import json

    from pomona.cli.terminal import reporting, result

    with reporting(verbose=verbose):
        from pomona.cloud.account import Cloud
        from pomona.cloud.rights import operator_policy

        cloud = Cloud(name, region)
        result(json.dumps(operator_policy(cloud, account or cloud.account()), indent=2))


def _about(region: str) -> str:
    if region.startswith("eu-") and region == EU:
        return " (Ireland): the photographs stay in the EU; --region chooses another"
    return "" if region.startswith("eu-") else ", which is NOT in the EU: are people in the images?"


def _place(text: str | None) -> tuple[str, str] | None:
    """Bucket and prefix of an address."""
    if text is None:
        return None
    from pomona.errors import UsageError
    from pomona.storage import Location

    where = Location.parse(text)
    if where.scheme != "s3":
        raise UsageError(f"{text} is not in S3.", "Upload it first: pomona upload DIR s3://…")
    return where.bucket, where.key


def _cost(prices: Prices, region: str, chosen: dict[str, str], workers: int) -> str:
    """What a cluster costs an hour, in one line."""
    from pomona.cloud.prices import cluster_hour
    from pomona.errors import UsageError

    try:
        idle, busy = (
            prices.euros(
                cluster_hour(
                    prices,
                    region,
                    master=chosen["MasterType"],
                    worker=chosen["WorkerType"],
                    workers=workers,
                    spot=chosen.get("Spot") == "yes",
                    disk_gib=int(chosen.get("DiskGiB", "20")),
                    load=load,
                )
            )
            for load in (0.0, 1.0)
        )
    except UsageError as error:
        return f"it costs money, how much is not known: {error.what}"
    credit = f", {busy:.3f} with every core busy (CPU credits)" if busy > idle else ""
    return (
        f"a master {chosen['MasterType']} and {workers} workers {chosen['WorkerType']}"
        f"{' (spot)' if chosen.get('Spot') == 'yes' else ''}: {idle:.3f} EUR an hour{credit}; "
        f"prices of {prices.date}, without tax and storage"
    )


def _say_cost(plan: Plan, prices: Prices) -> None:
    from pomona.cli.terminal import say

    say(_cost(prices, plan.cloud.region, plan.chosen, plan.wish.workers))


def _confirm(question: str, *, yes: bool) -> None:
    """Ask on a terminal; elsewhere ``--yes`` has to be given.

    Raises:
        UsageError: nobody can be asked, or the answer is no.
    """
    import sys

    from pomona.errors import UsageError

    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("Nobody can be asked here.", "Give --yes.")
    if not typer.confirm(question, err=True):
        raise UsageError("Nothing was done.", "")


def _show(plan: Plan) -> None:
    """What ``up`` would create or change."""
    from pomona.cli.terminal import result
    from pomona.cloud import machines, stack
    from pomona.cloud.plan import resources

    if plan.present is None:
        result(f"would create the stack {plan.cloud.stack} in {plan.cloud.region}:")
        for name, kind in resources(plan.chosen):
            result(f"  create  {name:<18} {kind}")
        result(f"would put {'the environment' if plan.archive else 'nothing'} into {plan.bucket}")
        result(f"would make the secret {plan.cloud.parameter('secret')}")
        result(f"would start 1 master and {plan.wish.workers} workers")
        return
    change_set, changes = stack.changes(plan.cloud, plan.chosen, plan.tags)
    if change_set:
        stack.drop(plan.cloud, change_set)
    if not changes:
        result(f"the stack {plan.cloud.stack} would stay as it is")
    for change in changes:
        again = ", made anew" if change.replacement else ""
        result(f"  {change.action.lower():<7} {change.resource:<18} {change.kind}{again}")
    for group, found in machines.groups(plan.cloud).items():
        wanted = 1 if group == plan.cloud.master_group else plan.wish.workers
        if wanted != found.wanted:
            result(f"would have {wanted} instances in {group}, not {found.wanted}")


def _say_next(plan: Plan) -> None:
    """The commands that come next, to copy."""
    from pomona.cli.terminal import say

    extra = "" if plan.cloud.name == "pomona" else f" --name {plan.cloud.name}"
    extra += "" if plan.cloud.region == EU else f" --region {plan.cloud.region}"
    chosen = plan.chosen
    say(f"  pomona upload DIR s3://{chosen['InputBucket']}/{chosen['InputPrefix']}")
    say(f"  pomona cloud submit{extra} --follow")
    say(f"  pomona cloud down{extra}")
