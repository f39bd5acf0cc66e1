# METADATA
# scope: package
# title: Roles of tenants do what is needed, for the tenant
# description: >-
#   The policy documents of IAM Roles, Policies and Groups of ACK can be read, and allow neither every action nor every
#   resource, but for actions that know no resource (`withoutResource`). A role is taken by the services in `services`
#   (Pod Identity, Lambda) and by principals of the tenant's accounts only; it has a name that the contract's `roles`
#   allow, a permissions boundary that the platform made (`boundaries`), and no broad managed policy. A tenant's policies
#   reach no other account, no other tenant's bucket, and give no rights over rights. Tenants make no users, groups or
#   identity providers.
# related_resources:
# - https://docs.aws.amazon.com/eks/latest/userguide/pod-id-role.html
# custom:
#   severity: critical
#   enforcement: deny
#   controls: ["CIS AWS Foundations 1.15", "NIST 800-53 AC-3", "NIST 800-53 AC-6", "NIST 800-53 AC-6(1)", "PCI DSS 7.2.2", "PCI DSS 7.2.5", "HIPAA 164.308(a)(4)", "HIPAA 164.312(a)(1)", "SOC 2 CC6.1", "SOC 2 CC6.3"]
#   match:
#     rules:
#     - {apiGroups: [iam.services.k8s.aws], apiVersions: ["*"], resources: [roles, policies, groups, users, openidconnectproviders], operations: [CREATE, UPDATE]}
#   parameters:
#     tenantLabel: tenant
#     # Services that may take a role.
#     services: [pods.eks.amazonaws.com, lambda.amazonaws.com]
#     # Identity providers through which a role may be taken (IRSA), as ARNs with `*`.
#     federated: []
#     # Managed policies of AWS that are too broad, with `*`.
#     forbiddenPolicies: [AdministratorAccess, PowerUserAccess, SecurityAudit, ReadOnlyAccess, "*FullAccess", "IAM*"]
#     # Actions that know no resource, with `*`.
#     withoutResource: ["ecr:GetAuthorizationToken", "sts:GetCallerIdentity", "cloudwatch:PutMetricData", "xray:Put*", "xray:Get*", "logs:DescribeLogGroups", "ec2:Describe*", "s3:ListAllMyBuckets", "sqs:ListQueues", "kms:ListAliases"]
#     # Services whose actions tenants may not allow, and actions of theirs that they may.
#     platformServices: [iam, organizations, account, sso, sts, cloudtrail, config]
#     platformActions: ["sts:GetCallerIdentity", "sts:TagSession"]
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     services: {items: {type: string, minLength: 1}}
#     federated: {items: {type: string, minLength: 1}}
#     forbiddenPolicies: {items: {type: string, minLength: 1}}
#     withoutResource: {items: {type: string, minLength: 1}}
#     platformServices: {items: {type: string, minLength: 1}}
#     platformActions: {items: {type: string, minLength: 1}}
package portcullis.iam_access

import data.portcullis.lib.cloud
import data.portcullis.lib.cloud_access

deny contains fault if some fault in cloud_access.iam(input.request.object, cloud.scope)
