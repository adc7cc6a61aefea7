"""moto's AWS, with what its CloudFormation lacks done through moto's own services.

moto 5 creates a stack's resources by itself, except for a few types that it passes over with a
warning, and deletes fewer than it creates. What is missing is added here as one call a resource,
by boto3 to the same server: the facts that tests then read are kept by moto's EC2, S3,
auto-scaling and CloudWatch, not by anything of ours.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from tests.servers.moto import moto_server

if TYPE_CHECKING:
    from collections.abc import Iterator


def _client(service: str, region: str) -> Any:
    import boto3

    return boto3.client(
        service,
        region_name=region,
        endpoint_url=os.environ["POMONA_TEST_CLOUD"],
        aws_access_key_id="AKIACLOUDFORMATION00",
        aws_secret_access_key="none",
    )


bucket_policies: dict[str, dict[str, Any]] = {}
"""The policy that a stack gave each bucket."""

_kept: list[type] = []
"""moto finds its types by ``__subclasses__``, which holds them weakly."""


def _complete() -> None:
    """Teach moto's CloudFormation the types and deletions that the template needs."""
    from moto.cloudformation.models import Change, ChangeSet
    from moto.cloudformation.parsing import ResourceMap
    from moto.core.common_models import CloudFormationModel
    from moto.ec2.models.security_groups import SecurityGroup
    from moto.s3.models import FakeBucket

    class Added:
        """A resource that another service of moto keeps."""

        kind: ClassVar[str]
        name: ClassVar[str] = ""
        physical_resource_id = ""

        @classmethod
        def cloudformation_type(cls) -> str:
            return cls.kind

        @classmethod
        def cloudformation_name_type(cls) -> str:
            return cls.name

        @classmethod
        def has_cfn_attr(cls, _attr: str) -> bool:
            return False

        def __init__(self, identity: str) -> None:
            self.physical_resource_id = identity

        @classmethod
        def make(cls, name: str, given: dict[str, Any], region: str) -> str:
            raise NotImplementedError

        @classmethod
        def remove(cls, name: str, region: str) -> None:
            """By default it goes with what it belongs to."""

        @classmethod
        def create_from_cloudformation_json(
            cls, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str,
            **_: Any,
        ) -> Any:  # fmt: skip
            return cls(cls.make(resource_name, cloudformation_json["Properties"], region_name))

        @classmethod
        def update_from_cloudformation_json(
            cls, original_resource: Any, new_resource_name: str, cloudformation_json: Any,
            account_id: str, region_name: str,
        ) -> Any:  # fmt: skip
            cls.remove(original_resource.physical_resource_id, region_name)
            return cls(cls.make(new_resource_name, cloudformation_json["Properties"], region_name))

        @classmethod
        def delete_from_cloudformation_json(
            cls, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str
        ) -> None:
            cls.remove(resource_name, region_name)

    class BucketPolicy(Added, CloudFormationModel):
        kind = "AWS::S3::BucketPolicy"

        @classmethod
        def make(cls, name: str, given: dict[str, Any], region: str) -> str:
            # moto reads no conditions: it would refuse everything, not just plain http.
            bucket_policies[given["Bucket"]] = json.loads(json.dumps(given["PolicyDocument"]))
            return str(given["Bucket"])

    class Egress(Added, CloudFormationModel):
        kind = "AWS::EC2::SecurityGroupEgress"

        @classmethod
        def make(cls, name: str, given: dict[str, Any], region: str) -> str:
            peer = {"UserIdGroupPairs": [{"GroupId": given["DestinationSecurityGroupId"]}]}
            _client("ec2", region).authorize_security_group_egress(
                GroupId=given["GroupId"], IpPermissions=[_rule(given) | peer]
            )
            return name

    class ScalingPolicy(Added, CloudFormationModel):
        kind = "AWS::AutoScaling::ScalingPolicy"

        @classmethod
        def make(cls, name: str, given: dict[str, Any], region: str) -> str:
            groups = _client("autoscaling", region)
            whole = {"ScalingAdjustment": int(given["ScalingAdjustment"])}
            groups.put_scaling_policy(PolicyName=name, **given | whole)
            made = groups.describe_policies(PolicyNames=[name])["ScalingPolicies"]
            return str(made[0]["PolicyARN"])

    class Alarm(Added, CloudFormationModel):
        kind = "AWS::CloudWatch::Alarm"
        name = "AlarmName"

        @classmethod
        def make(cls, name: str, given: dict[str, Any], region: str) -> str:
            whole = {k: int(given[k]) for k in ("EvaluationPeriods", "DatapointsToAlarm")}
            metrics = json.loads(json.dumps(given["Metrics"]))
            _client("cloudwatch", region).put_metric_alarm(
                **given | whole | {"Metrics": metrics, "Threshold": float(given["Threshold"])}
            )
            return str(given["AlarmName"])

        @classmethod
        def remove(cls, name: str, region: str) -> None:
            _client("cloudwatch", region).delete_alarms(AlarmNames=[name])

    _kept.extend((BucketPolicy, Egress, ScalingPolicy, Alarm))
    created_group = SecurityGroup.create_from_cloudformation_json.__func__  # type: ignore[attr-defined]

    def make_group(
        cls: Any, /, name: str, given: Any, account: str, region: str, **more: Any
    ) -> Any:
        made = created_group(cls, name, given, account, region, **more)
        rules = given["Properties"].get("SecurityGroupEgress", [])
        if rules:
            ec2 = _client("ec2", region)
            everything = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
            ec2.revoke_security_group_egress(GroupId=made.id, IpPermissions=[everything])
            ec2.authorize_security_group_egress(
                GroupId=made.id,
                IpPermissions=[_rule(r) | {"IpRanges": [{"CidrIp": r["CidrIp"]}]} for r in rules],
            )
        return made

    _replace(SecurityGroup, "create_from_cloudformation_json", classmethod(make_group))
    created_bucket = FakeBucket.create_from_cloudformation_json.__func__  # type: ignore[attr-defined]

    def make_bucket(
        cls: Any, /, name: str, given: Any, account: str, region: str, **more: Any
    ) -> Any:
        made = created_bucket(cls, name, given, account, region, **more)
        properties, s3 = given["Properties"], _client("s3", region)
        block = {k: str(v).lower() == "true" for k, v in _block(properties).items()}
        s3.put_public_access_block(Bucket=made.name, PublicAccessBlockConfiguration=block)
        rules = properties["LifecycleConfiguration"]["Rules"]
        s3.put_bucket_lifecycle_configuration(
            Bucket=made.name, LifecycleConfiguration={"Rules": [_lifecycle(r) for r in rules]}
        )
        return made

    _replace(FakeBucket, "create_from_cloudformation_json", classmethod(make_bucket))

    def diff(self: Any) -> list[Any]:
        """moto's own, which does not look at parameters."""
        resources, declared = self.stack.resource_map, self.template_dict["Parameters"]
        defaults = {name: str(p["Default"]) for name, p in declared.items() if "Default" in p}
        resources.input_parameters = defaults | resources.input_parameters
        found = resources.build_resource_diff(self.template_dict, self.parameters)
        kinds = self.template_dict["Resources"]
        return [
            Change(action=action, logical_resource_id=name, resource_type=kinds[name]["Type"])
            for action, names in found.items()
            for name in names
            if resources._parsed_resources.get(name) is not None
        ]

    _replace(ChangeSet, "diff", diff)

    _replace(ResourceMap, "delete", _delete)


def _replace(kind: Any, name: str, function: Any) -> None:
    setattr(kind, name, function)


_ORDER = (
    "CloudWatch::Alarm",
    "AutoScaling::AutoScalingGroup",
    "EC2::LaunchTemplate",
    "EC2::VPCEndpoint",
    "EC2::Subnet",
    "EC2::RouteTable",
    "EC2::SecurityGroup",
    "EC2::InternetGateway",
    "EC2::VPC",
    "IAM::InstanceProfile",
    "IAM::Role",
    "IAM::ManagedPolicy",
    "Logs::LogGroup",
)
"""What a stack's end deletes, one after the other; the rest goes with these, or is retained."""


def _delete(resources: Any) -> None:
    """Delete what a stack is made of, as CloudFormation orders it."""
    region = resources._region_name
    found = [
        (resources._resource_json_map[name]["Type"].removeprefix("AWS::"), resource)
        for name, resource in resources._parsed_resources.items()
        if name in resources._resource_json_map and resource is not None
    ]
    for kind in _ORDER:
        for it, resource in found:
            if it == kind:
                _remove(kind, resource.physical_resource_id, region)


def _remove(kind: str, name: str, region: str) -> None:
    ec2, iam = _client("ec2", region), _client("iam", region)
    match kind:
        case "CloudWatch::Alarm":
            _client("cloudwatch", region).delete_alarms(AlarmNames=[name])
        case "AutoScaling::AutoScalingGroup":
            _client("autoscaling", region).delete_auto_scaling_group(
                AutoScalingGroupName=name, ForceDelete=True
            )
        case "EC2::LaunchTemplate":
            ec2.delete_launch_template(LaunchTemplateId=name)
        case "EC2::VPCEndpoint":
            ec2.delete_vpc_endpoints(VpcEndpointIds=[name])
        case "EC2::Subnet":
            for table in ec2.describe_route_tables()["RouteTables"]:
                for link in table["Associations"]:
                    if link.get("SubnetId") == name:
                        ec2.disassociate_route_table(AssociationId=link["RouteTableAssociationId"])
            ec2.delete_subnet(SubnetId=name)
        case "EC2::RouteTable":
            ec2.delete_route_table(RouteTableId=name)
        case "EC2::SecurityGroup":
            ec2.delete_security_group(GroupId=name)
        case "EC2::InternetGateway":
            (gateway,) = ec2.describe_internet_gateways(InternetGatewayIds=[name])[
                "InternetGateways"
            ]
            for link in gateway["Attachments"]:
                ec2.detach_internet_gateway(InternetGatewayId=name, VpcId=link["VpcId"])
            ec2.delete_internet_gateway(InternetGatewayId=name)
        case "EC2::VPC":
            ec2.delete_vpc(VpcId=name)
        case "IAM::InstanceProfile":
            for role in iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"][
                "Roles"
            ]:
                iam.remove_role_from_instance_profile(
                    InstanceProfileName=name, RoleName=role["RoleName"]
                )
            iam.delete_instance_profile(InstanceProfileName=name)
        case "IAM::Role":
            for policy in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
                iam.detach_role_policy(RoleName=name, PolicyArn=policy["PolicyArn"])
            for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
                iam.delete_role_policy(RoleName=name, PolicyName=policy)
            iam.delete_role(RoleName=name)
        case "IAM::ManagedPolicy":
            iam.delete_policy(PolicyArn=name)
        case "Logs::LogGroup":
            _client("logs", region).delete_log_group(logGroupName=name)


def _rule(given: dict[str, Any]) -> dict[str, Any]:
    return {
        "IpProtocol": given["IpProtocol"],
        "FromPort": int(given["FromPort"]),
        "ToPort": int(given["ToPort"]),
    }


def _block(properties: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = properties["PublicAccessBlockConfiguration"]
    return found


def _lifecycle(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule as S3's own API writes it."""
    found: dict[str, Any] = {
        "ID": rule["Id"], "Status": rule["Status"], "Filter": {"Prefix": rule.get("Prefix", "")},
    }  # fmt: skip
    if "ExpirationInDays" in rule:
        found["Expiration"] = {"Days": int(rule["ExpirationInDays"])}
    if "AbortIncompleteMultipartUpload" in rule:
        days = int(rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"])
        found["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": days}
    return found


_completed = False


@contextmanager
def cloud_server() -> Iterator[str]:
    """The URL of an AWS of one's own, empty, and gone afterwards."""
    global _completed  # noqa: PLW0603 - moto's classes are changed once in a process
    with moto_server() as url:
        os.environ["POMONA_TEST_CLOUD"] = url
        if not _completed:
            _complete()
            _completed = True
        yield url
