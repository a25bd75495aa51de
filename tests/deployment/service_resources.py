"""How the ledger, roles, logs, parameters, secrets, and what ECS runs are created."""

from tests.deployment.resources import Context, Created, Properties, kind, whole

from jibe_sqs.sandbox.aws.deployment import ACCOUNT


@kind("AWS::DynamoDB::Table", again=True)
def table(context: Context, properties: Properties) -> Created:
    """Creates a table, or changes the protection of the one of this stack and logical name."""
    dynamodb, name = context.client("dynamodb"), properties.pop("TableName", None) or context.name()
    names = dynamodb.list_tables()["TableNames"]
    if there := [each for each in names if each == name or each.startswith(f"{context.stack}-{context.logical}-")]:
        changed = {"TableName": there[0], "DeletionProtectionEnabled": properties["DeletionProtectionEnabled"]}
        arn = context.call("dynamodb", "update_table", changed)["TableDescription"]["TableArn"]
        return Created(there[0], {"Arn": arn}, lambda: dynamodb.delete_table(TableName=there[0]))
    expiry, recovery = properties.pop("TimeToLiveSpecification", None), "PointInTimeRecoverySpecification"
    recovering = properties.pop(recovery, None)
    arn = context.call("dynamodb", "create_table", {"TableName": name, **properties})["TableDescription"]["TableArn"]
    if expiry:
        context.call("dynamodb", "update_time_to_live", {"TableName": name, "TimeToLiveSpecification": expiry})
    if recovering:
        context.call("dynamodb", "update_continuous_backups", {"TableName": name, recovery: recovering})
    return Created(name, {"Arn": arn}, lambda: dynamodb.delete_table(TableName=name))


@kind("AWS::IAM::Role")
def role(context: Context, properties: Properties) -> Created:
    iam, name = context.client("iam"), properties.pop("RoleName", None) or context.name(longest=64)
    policies, managed = properties.pop("Policies", []), properties.pop("ManagedPolicyArns", [])
    made = context.call("iam", "create_role", {"RoleName": name, **properties})["Role"]
    for policy in policies:
        context.call("iam", "put_role_policy", {"RoleName": name, **policy})
    for arn in managed:
        iam.attach_role_policy(RoleName=name, PolicyArn=arn)

    def delete() -> None:
        for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
            iam.delete_role_policy(RoleName=name, PolicyName=policy)
        for arn in managed:
            iam.detach_role_policy(RoleName=name, PolicyArn=arn)
        iam.delete_role(RoleName=name)

    return Created(name, {"Arn": made["Arn"], "RoleId": made["RoleId"]}, delete)


@kind("AWS::IAM::Policy", again=True)
def policy_of_roles(context: Context, properties: Properties) -> Created:
    iam, roles, name = context.client("iam"), properties.pop("Roles"), properties["PolicyName"]
    for each in roles:
        context.call("iam", "put_role_policy", {"RoleName": each, **properties})

    def delete() -> None:
        for each in roles:
            iam.delete_role_policy(RoleName=each, PolicyName=name)

    return Created(name, delete=delete)


@kind("AWS::Logs::LogGroup")
def log_group(context: Context, properties: Properties) -> Created:
    logs, name = context.client("logs"), properties.pop("LogGroupName", None) or context.name()
    logs.create_log_group(logGroupName=name)
    if days := properties.pop("RetentionInDays", None):
        logs.put_retention_policy(logGroupName=name, retentionInDays=int(days))
    whole(context, properties, "Tags")
    arn = f"arn:aws:logs:{context.region}:{ACCOUNT}:log-group:{name}:*"
    return Created(name, {"Arn": arn}, lambda: logs.delete_log_group(logGroupName=name))


@kind("AWS::Logs::MetricFilter", again=True)
def metric_filter(context: Context, properties: Properties) -> Created:
    name = properties.get("FilterName") or context.name()
    renamed = {"MetricTransformations": properties.pop("MetricTransformations")}
    context.call("logs", "put_metric_filter", {**properties, **renamed, "FilterName": name})
    return Created(name)


@kind("AWS::SSM::Parameter", again=True)
def parameter(context: Context, properties: Properties) -> Created:
    ssm, name = context.client("ssm"), properties.get("Name") or context.name()
    context.call("ssm", "put_parameter", properties | {"Name": name, "Overwrite": True})
    return Created(name, {"Value": properties["Value"]}, lambda: ssm.delete_parameter(Name=name))


@kind("AWS::SecretsManager::Secret")
def secret(context: Context, properties: Properties) -> Created:
    api, name = context.client("secretsmanager"), properties.get("Name") or context.name()
    arn = context.call("secretsmanager", "create_secret", properties | {"Name": name})["ARN"]
    return Created(arn, {"Id": arn}, lambda: api.delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True))


@kind("AWS::ECS::Cluster")
def cluster(context: Context, properties: Properties) -> Created:
    ecs, name = context.client("ecs"), properties.get("ClusterName") or context.name()
    settings = properties.pop("ClusterSettings", [])
    given = properties | {"ClusterName": name, "Settings": settings}
    arn = context.call("ecs", "create_cluster", given)["cluster"]["clusterArn"]
    return Created(name, {"Arn": arn}, lambda: ecs.delete_cluster(cluster=name))


@kind("AWS::ECS::TaskDefinition", again=True)
def task_definition(context: Context, properties: Properties) -> Created:
    ecs, family = context.client("ecs"), properties.get("Family") or context.name()
    made = context.call("ecs", "register_task_definition", properties | {"Family": family})["taskDefinition"]
    arn = made["taskDefinitionArn"]
    return Created(arn, {"TaskDefinitionArn": arn}, lambda: ecs.deregister_task_definition(taskDefinition=arn))


@kind("AWS::ECS::Service", again=True)
def service(context: Context, properties: Properties) -> Created:
    """Creates a service, or updates the one of this stack and logical name."""
    ecs = context.client("ecs")
    name, where = properties.pop("ServiceName", None) or f"{context.stack}-{context.logical}", properties["Cluster"]
    there = ecs.describe_services(cluster=where, services=[name])["services"]
    if [each for each in there if each["status"] == "ACTIVE"]:
        changed = {
            each: properties[each] for each in ("Cluster", "TaskDefinition", "DesiredCount") if each in properties
        }
        arn = context.call("ecs", "update_service", {"service": name, **changed})["service"]["serviceArn"]
    else:
        arn = context.call("ecs", "create_service", {"ServiceName": name, **properties})["service"]["serviceArn"]

    def delete() -> None:
        ecs.update_service(cluster=where, service=name, desiredCount=0)
        ecs.delete_service(cluster=where, service=name, force=True)

    return Created(arn, {"Name": name, "ServiceArn": arn}, delete)


@kind("AWS::ApplicationAutoScaling::ScalableTarget", again=True)
def scalable_target(context: Context, properties: Properties) -> Created:
    context.call("application-autoscaling", "register_scalable_target", properties)
    identity = "|".join(properties[each] for each in ("ResourceId", "ScalableDimension", "ServiceNamespace"))

    def delete() -> None:
        named = ("ServiceNamespace", "ResourceId", "ScalableDimension")
        api = context.client("application-autoscaling")
        api.deregister_scalable_target(**{each: properties[each] for each in named})

    return Created(identity, {"Id": identity}, delete)


@kind("AWS::ApplicationAutoScaling::ScalingPolicy", again=True)
def scaling_policy(context: Context, properties: Properties) -> Created:
    if target := properties.pop("ScalingTargetId", None):
        named = ("ResourceId", "ScalableDimension", "ServiceNamespace")
        properties |= dict(zip(named, target.split("|"), strict=True))
    renamed = {name: properties.pop(name) for name in list(properties) if name.endswith("PolicyConfiguration")}
    made = context.call("application-autoscaling", "put_scaling_policy", {**properties, **renamed})
    return Created(made["PolicyARN"], {"Arn": made["PolicyARN"]})
