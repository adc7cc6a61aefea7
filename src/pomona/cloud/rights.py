"""What the person who runs `pomona cloud` may do: a policy for exactly one cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pomona.access.policies import Document, Partition
    from pomona.cloud.account import Cloud


def operator_policy(cloud: Cloud, account: str, partition: Partition = "aws") -> Document:
    """The operator's rights, for the cluster of this name in this region.

    EC2 creates things that have no name yet, so that making is limited by region, and ending to
    what carries the cluster's tag.

    Args:
        cloud: the cluster.
        account: its number.
        partition: of AWS.
    """
    here = {"StringEquals": {"aws:RequestedRegion": cloud.region}}
    tagged = {"StringEquals": {"aws:ResourceTag/pomona:cluster": cloud.name}}

    def arn(service: str, rest: str, *, everywhere: bool = False) -> str:
        return f"arn:{partition}:{service}:{'' if everywhere else cloud.region}:{account}:{rest}"

    bucket = f"arn:{partition}:s3:::{cloud.bucket(account)}"
    roles = arn("iam", f"role/{cloud.stack}-*", everywhere=True)
    images = f"arn:{partition}:ssm:{cloud.region}::parameter/aws/service/*"
    group = "autoScalingGroup:*:autoScalingGroupName"
    statements = [
        _allow("Stack", ["cloudformation:*"], arn("cloudformation", f"stack/{cloud.stack}/*")),
        _allow("Look", [
            "autoscaling:Describe*", "cloudformation:Describe*", "cloudwatch:DescribeAlarms",
            "ec2:Describe*", "ec2:GetConsoleOutput", "logs:DescribeLogGroups",
            "pricing:GetProducts", "ssm:GetCommandInvocation", "ssm:ListCommands",
        ], "*"),
        _allow("Image", ["ssm:GetParameters"], images),
        _allow("Network", [
            "ec2:AssociateRouteTable", "ec2:AttachInternetGateway",
            "ec2:AuthorizeSecurityGroupEgress", "ec2:AuthorizeSecurityGroupIngress",
            "ec2:CreateInternetGateway", "ec2:CreateLaunchTemplate",
            "ec2:CreateLaunchTemplateVersion", "ec2:CreateRoute", "ec2:CreateRouteTable",
            "ec2:CreateSecurityGroup", "ec2:CreateSubnet", "ec2:CreateTags", "ec2:CreateVpc",
            "ec2:CreateVpcEndpoint", "ec2:ModifySubnetAttribute", "ec2:ModifyVpcAttribute",
            "ec2:RunInstances",
        ], "*", here),
        _allow("RemoveOwn", [
            "ec2:DeleteInternetGateway", "ec2:DeleteLaunchTemplate", "ec2:DeleteRoute",
            "ec2:DeleteRouteTable", "ec2:DeleteSecurityGroup", "ec2:DeleteSubnet", "ec2:DeleteVpc",
            "ec2:DeleteVpcEndpoints", "ec2:DetachInternetGateway", "ec2:DisassociateRouteTable",
            "ec2:RevokeSecurityGroupEgress", "ec2:RevokeSecurityGroupIngress",
            "ec2:TerminateInstances",
        ], "*", tagged),
        _allow("Groups", ["autoscaling:*"], [
            arn("autoscaling", f"{group}/{name}")
            for name in (cloud.master_group, cloud.worker_group)
        ]),
        _allow("Alarm", [
            "cloudwatch:DeleteAlarms", "cloudwatch:PutMetricAlarm", "cloudwatch:TagResource",
        ], arn("cloudwatch", f"alarm:pomona-{cloud.name}-idle")),
        _allow("Logs", ["logs:*"], [
            arn("logs", f"log-group:{cloud.log_group}"),
            arn("logs", f"log-group:{cloud.log_group}:*"),
        ]),
        _allow("Roles", [
            "iam:AddRoleToInstanceProfile", "iam:AttachRolePolicy", "iam:CreateInstanceProfile",
            "iam:CreatePolicy", "iam:CreatePolicyVersion", "iam:CreateRole",
            "iam:DeleteInstanceProfile", "iam:DeletePolicy", "iam:DeletePolicyVersion",
            "iam:DeleteRole", "iam:DeleteRolePolicy", "iam:DetachRolePolicy",
            "iam:GetInstanceProfile", "iam:GetPolicy", "iam:GetPolicyVersion", "iam:GetRole",
            "iam:GetRolePolicy", "iam:ListPolicyVersions", "iam:PutRolePolicy",
            "iam:RemoveRoleFromInstanceProfile", "iam:TagInstanceProfile", "iam:TagPolicy",
            "iam:TagRole",
        ], [
            arn("iam", f"{kind}/{cloud.stack}-*", everywhere=True)
            for kind in ("role", "policy", "instance-profile")
        ]),
        _allow("GiveRoles", ["iam:PassRole"], roles, {
            "StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}
        }),
        _allow("Secret", [
            "ssm:AddTagsToResource", "ssm:DeleteParameters", "ssm:PutParameter",
        ], arn("ssm", f"parameter/pomona/{cloud.name}/*")),
        _allow("Command", ["ssm:SendCommand", "ssm:StartSession"], arn("ec2", "instance/*"), {
            "StringEquals": {"ssm:resourceTag/pomona:cluster": cloud.name}
        }),
        _allow("CommandDocument", ["ssm:SendCommand"],
               f"arn:{partition}:ssm:{cloud.region}::document/AWS-RunShellScript"),
        _allow("Session", ["ssm:ResumeSession", "ssm:TerminateSession"],
               arn("ssm", "session/${aws:userid}-*")),
        _allow("Bucket", [
            "s3:CreateBucket", "s3:DeleteBucket", "s3:DeleteBucketPolicy", "s3:GetBucketPolicy",
            "s3:ListBucket", "s3:ListBucketVersions", "s3:PutBucketOwnershipControls",
            "s3:PutBucketPolicy", "s3:PutBucketPublicAccessBlock", "s3:PutBucketTagging",
            "s3:PutEncryptionConfiguration", "s3:PutLifecycleConfiguration",
        ], bucket),
        _allow("Objects", [
            "s3:AbortMultipartUpload", "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:GetObject",
            "s3:PutObject",
        ], f"{bucket}/*"),
    ]  # fmt: skip
    return {"Version": "2012-10-17", "Statement": statements}


def _allow(
    sid: str,
    actions: list[str],
    resource: str | list[str],
    condition: dict[str, Any] | None = None,
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resource,
    }  # fmt: skip
    return found | ({"Condition": condition} if condition else {})
