# METADATA
# scope: package
# title: Cloud resources are made where the tenant is
# description: >-
#   An object of ACK in a tenant's namespace, and the namespace itself, name no AWS account, region, team or endpoint that is
#   not the tenant's (`accounts`, `regions`). Buckets and policies have names of the tenant (`buckets`, `names`; by default
#   they begin with the tenant and `-`). Nothing in a tenant's namespace gives rights on the cluster itself or on the
#   organisation (`platformKinds`). What is there already at AWS is taken over only where its name is the tenant's.
#   Fields are exported to the tenant's namespaces only, and a role for namespaces (IAMRoleSelector) is of the account of
#   the tenants that it is for.
# related_resources:
# - https://aws-controllers-k8s.github.io/docs/guides/cross-account
# - https://aws-controllers-k8s.github.io/docs/guides/adoption
# custom:
#   severity: critical
#   enforcement: deny
#   controls: ["NIST 800-53 AC-3", "NIST 800-53 AC-4", "PCI DSS 7.2.5", "HIPAA 164.312(a)(1)", "SOC 2 CC6.1"]
#   match:
#     rules:
#     # All of ACK: rules of webhooks have no wildcards within a group.
#     - apiGroups:
#       - services.k8s.aws
#       - acm.services.k8s.aws
#       - acmpca.services.k8s.aws
#       - amplify.services.k8s.aws
#       - apigateway.services.k8s.aws
#       - apigatewayv2.services.k8s.aws
#       - appconfig.services.k8s.aws
#       - applicationautoscaling.services.k8s.aws
#       - athena.services.k8s.aws
#       - autoscaling.services.k8s.aws
#       - backup.services.k8s.aws
#       - bedrock.services.k8s.aws
#       - bedrockagent.services.k8s.aws
#       - bedrockagentcorecontrol.services.k8s.aws
#       - cloudfront.services.k8s.aws
#       - cloudtrail.services.k8s.aws
#       - cloudwatch.services.k8s.aws
#       - cloudwatchlogs.services.k8s.aws
#       - codeartifact.services.k8s.aws
#       - cognitoidentity.services.k8s.aws
#       - cognitoidentityprovider.services.k8s.aws
#       - documentdb.services.k8s.aws
#       - dynamodb.services.k8s.aws
#       - ec2.services.k8s.aws
#       - ecr.services.k8s.aws
#       - ecrpublic.services.k8s.aws
#       - ecs.services.k8s.aws
#       - efs.services.k8s.aws
#       - eks.services.k8s.aws
#       - elasticache.services.k8s.aws
#       - elbv2.services.k8s.aws
#       - emrcontainers.services.k8s.aws
#       - emrserverless.services.k8s.aws
#       - eventbridge.services.k8s.aws
#       - firehose.services.k8s.aws
#       - fsx.services.k8s.aws
#       - globalaccelerator.services.k8s.aws
#       - glue.services.k8s.aws
#       - iam.services.k8s.aws
#       - kafka.services.k8s.aws
#       - keyspaces.services.k8s.aws
#       - kinesis.services.k8s.aws
#       - kms.services.k8s.aws
#       - lambda.services.k8s.aws
#       - memorydb.services.k8s.aws
#       - mq.services.k8s.aws
#       - networkfirewall.services.k8s.aws
#       - opensearchserverless.services.k8s.aws
#       - opensearchservice.services.k8s.aws
#       - organizations.services.k8s.aws
#       - pipes.services.k8s.aws
#       - prometheusservice.services.k8s.aws
#       - ram.services.k8s.aws
#       - rds.services.k8s.aws
#       - recyclebin.services.k8s.aws
#       - redshift.services.k8s.aws
#       - redshiftserverless.services.k8s.aws
#       - route53.services.k8s.aws
#       - route53resolver.services.k8s.aws
#       - s3.services.k8s.aws
#       - s3control.services.k8s.aws
#       - s3files.services.k8s.aws
#       - s3tables.services.k8s.aws
#       - sagemaker.services.k8s.aws
#       - secretsmanager.services.k8s.aws
#       - ses.services.k8s.aws
#       - sesv2.services.k8s.aws
#       - sfn.services.k8s.aws
#       - sns.services.k8s.aws
#       - sqs.services.k8s.aws
#       - ssm.services.k8s.aws
#       - wafv2.services.k8s.aws
#       apiVersions: ["*"]
#       resources: ["*"]
#       operations: [CREATE, UPDATE]
#     - {apiGroups: [""], apiVersions: [v1], resources: [namespaces], operations: [CREATE, UPDATE]}
#   parameters:
#     tenantLabel: tenant
#     # Kinds whose names at AWS must be the tenant's, beside roles (iam_access).
#     named: [Bucket, Policy]
#     # What the platform alone makes, with `*`: an AccessEntry makes anybody an administrator of the cluster.
#     platformKinds:
#     - eks.services.k8s.aws/AccessEntry
#     - eks.services.k8s.aws/Addon
#     - eks.services.k8s.aws/Capability
#     - eks.services.k8s.aws/Cluster
#     - eks.services.k8s.aws/FargateProfile
#     - eks.services.k8s.aws/IdentityProviderConfig
#     - eks.services.k8s.aws/Nodegroup
#     - organizations.services.k8s.aws/*
#     - ram.services.k8s.aws/*
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     named: {items: {type: string, minLength: 1}}
#     platformKinds: {items: {type: string, minLength: 1}}
package portcullis.cloud_ownership

import data.portcullis.lib.cloud
import data.portcullis.lib.cloud_ownership
import data.portcullis.lib.objects
import data.portcullis.lib.tenants

subject := input.request.object

kind := input.request.kind.kind

spec := objects.child(subject, "spec")

deny contains fault if {
	kind != "Namespace"
	some fault in cloud_ownership.owned(subject, cloud.scope)
}

# What a namespace says counts for all that is made in it. A new one belongs to whom its own label names.
deny contains fault if {
	kind == "Namespace"
	tenant := tenants.tenant_in(objects.labels(subject))
	some fault in cloud_ownership.placed(subject, cloud.scope_of(tenant, null))
}

deny contains violation if {
	tenants.owner
	some path in [["to", "namespace"], ["kubernetes", "metadata", "namespace"]]
	kind in {"FieldExport", "AdoptedResource"}
	namespace := objects.at(spec, path)
	namespace != null
	not tenants.is_of(namespace, tenants.owner)
	violation := {
		"msg": sprintf("%s writes to namespace `%s`, which is not of tenant `%s`", [kind, objects.shown(namespace), tenants.owner]),
		"field": concat(".", array.concat(["spec"], path)),
		"fix": "name a namespace of the tenant",
	}
}

deny contains violation if {
	tenants.owner
	kind == "AdoptedResource"
	some key, value in objects.child(spec, "aws")
	key in {"arn", "nameOrID"}
	not cloud_ownership.of_tenant(value, kind, cloud.scope)
	violation := {
		"msg": sprintf("AdoptedResource takes over `%s`, and nothing says that it is of tenant `%s`", [objects.shown(value), tenants.owner]),
		"field": sprintf("spec.aws.%s", [key]),
		"fix": "name what is the tenant's by its name; what is known by an id is taken over by the platform",
	}
}

deny contains violation if {
	kind == "IAMRoleSelector"
	some tenant in selected
	not objects.shown(objects.value(spec, "arn")) in {""}
	not cloud.own_account(cloud.account_of(spec.arn), cloud.scope_of(tenant, null))
	violation := {
		"msg": sprintf("role `%s` is for namespaces of tenant `%s`, and of an account that is not the tenant's", [spec.arn, tenant]),
		"field": "spec.arn",
		"fix": "name a role of an account of the tenant",
	}
}

# The tenants of the namespaces that a selector takes, as far as it names them.
selected contains tenant if {
	some name in objects.items(objects.child(spec, "namespaceSelector"), "names")
	tenant := tenants.of_namespace(name)
}

selected contains tenant if tenant := tenants.tenant_in(objects.child(objects.child(objects.child(spec, "namespaceSelector"), "labelSelector"), "matchLabels"))
