# METADATA
# scope: package
# title: Tables are encrypted, recoverable and hard to lose
# description: >-
#   A DynamoDB Table of ACK is encrypted by KMS, with a key of the tenant where the class of the data asks for it; it can
#   be recovered to a point in time and is protected from deletion. Its policy is open to nobody but principals of the
#   tenant's accounts, and its replicas are in the tenant's regions.
# custom:
#   severity: high
#   enforcement: deny
#   controls: ["NIST 800-53 SC-28", "NIST 800-53 CP-9", "NIST 800-53 AC-3", "PCI DSS 3.5.1", "HIPAA 164.312(a)(2)(iv)", "HIPAA 164.308(a)(7)(ii)(A)", "SOC 2 CC6.1", "SOC 2 A1.2"]
#   match:
#     rules:
#     - {apiGroups: [dynamodb.services.k8s.aws], apiVersions: ["*"], resources: [tables], operations: [CREATE, UPDATE]}
#   parameters:
#     tenantLabel: tenant
#     # Key of the namespaces' label with the class of their data.
#     classificationLabel: classification
#     # Classes of data that is kept and guarded, and of data encrypted with a key of the tenant.
#     classified: [confidential, phi]
#     keyed: [phi]
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     classificationLabel: {minLength: 1}
#     classified: {items: {type: string, minLength: 1}}
#     keyed: {items: {type: string, minLength: 1}}
package portcullis.dynamodb_tables

import data.portcullis.lib.cloud
import data.portcullis.lib.cloud_stores

deny contains fault if some fault in cloud_stores.faults(input.request.object, cloud.scope)
