# METADATA
# scope: package
# title: Cloud resources say whose they are and what they hold
# description: >-
#   An object of ACK in a tenant's namespace carries the tags tenant, owner, cost centre and classification. They say what
#   the namespace says, and where that says nothing the contract.
# custom:
#   severity: medium
#   enforcement: deny
#   controls: ["NIST 800-53 CM-8", "NIST 800-53 RA-2", "PCI DSS 12.5.1", "HIPAA 164.310(d)(2)(iii)", "SOC 2 CC6.1"]
#   match:
#     rules:
#     - apiGroups:
#       - dynamodb.services.k8s.aws
#       - ec2.services.k8s.aws
#       - ecr.services.k8s.aws
#       - efs.services.k8s.aws
#       - elasticache.services.k8s.aws
#       - iam.services.k8s.aws
#       - kms.services.k8s.aws
#       - lambda.services.k8s.aws
#       - rds.services.k8s.aws
#       - s3.services.k8s.aws
#       - sns.services.k8s.aws
#       - sqs.services.k8s.aws
#       apiVersions: ["*"]
#       resources: ["*"]
#       operations: [CREATE, UPDATE]
#   parameters:
#     # Keys of the labels of namespaces, and of the tags, which are the same.
#     tenantLabel: tenant
#     ownerLabel: owner
#     costCentreLabel: cost-centre
#     classificationLabel: classification
#     # Kinds that must have the tags. What other kinds say in these tags must be right too.
#     kinds: [Bucket, CacheCluster, DBCluster, DBInstance, FileSystem, Function, Key, Policy, Queue, ReplicationGroup, Repository, Role, SecurityGroup, ServerlessCache, Table, Topic]
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     ownerLabel: {minLength: 1}
#     costCentreLabel: {minLength: 1}
#     classificationLabel: {minLength: 1}
#     kinds: {items: {type: string, minLength: 1}}
package portcullis.cloud_tags

import data.portcullis.lib.cloud
import data.portcullis.lib.cloud_ownership
import data.portcullis.lib.objects
import data.portcullis.lib.tenants

parameters := input.parameters

known := {
	parameters.tenantLabel: cloud.tenant,
	parameters.ownerLabel: said(parameters.ownerLabel, objects.value(tenants.contract, "owner")),
	parameters.costCentreLabel: said(parameters.costCentreLabel, objects.value(tenants.contract, "costCentre")),
	parameters.classificationLabel: cloud.class,
}

said(label, agreed) := objects.value(tenants.namespace_labels, label) if objects.value(tenants.namespace_labels, label) != null

else := agreed

deny contains fault if some fault in cloud_ownership.tagged(input.request.object, known, cloud.scope)
