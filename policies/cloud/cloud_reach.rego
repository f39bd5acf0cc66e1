# METADATA
# scope: package
# title: Keys, networks and functions are open to whom they are for
# description: >-
#   A KMS Key of ACK is rotated, and its policy and grants are for principals of the tenant's accounts. An EC2
#   SecurityGroup lets in no block of addresses as large as the world, no text that is no block, and no group of another
#   account. A Lambda Function has no AWS keys in its environment and takes a role of the tenant; its address asks for
#   IAM.
# custom:
#   severity: critical
#   enforcement: deny
#   controls: ["CIS AWS Foundations 3.6", "CIS AWS Foundations 5.3", "CIS AWS Foundations 5.4", "NIST 800-53 SC-7", "NIST 800-53 SC-12", "NIST 800-53 IA-5(7)", "PCI DSS 1.3.1", "PCI DSS 3.7.4", "HIPAA 164.312(e)(1)", "SOC 2 CC6.6"]
#   match:
#     rules:
#     - {apiGroups: [kms.services.k8s.aws], apiVersions: ["*"], resources: [keys, grants], operations: [CREATE, UPDATE]}
#     - {apiGroups: [ec2.services.k8s.aws], apiVersions: ["*"], resources: [securitygroups], operations: [CREATE, UPDATE]}
#     - {apiGroups: [lambda.services.k8s.aws], apiVersions: ["*"], resources: [functions, functionurlconfigs], operations: [CREATE, UPDATE]}
#   parameters:
#     tenantLabel: tenant
#     # Key of the namespaces' label with the class of their data.
#     classificationLabel: classification
#     # Classes of data that is kept and guarded, and of data encrypted with a key of the tenant.
#     classified: [confidential, phi]
#     keyed: [phi]
#     # Ports that everybody may reach, by TCP.
#     publicPorts: []
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     classificationLabel: {minLength: 1}
#     classified: {items: {type: string, minLength: 1}}
#     keyed: {items: {type: string, minLength: 1}}
#     publicPorts: {items: {type: integer, minimum: 1, maximum: 65535}}
package portcullis.cloud_reach

import data.portcullis.lib.cloud
import data.portcullis.lib.cloud_access

deny contains fault if some fault in cloud_access.reach(input.request.object, cloud.scope)
