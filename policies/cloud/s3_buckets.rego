# METADATA
# scope: package
# title: Buckets are closed, encrypted and the tenant's own
# description: >-
#   An S3 Bucket of ACK has no public ACL and no grants, all four public access blocks, and an owner of all that is in it.
#   It says how it is encrypted (`aws:kms` or `AES256`; with a key of the tenant where the class of the data asks for it)
#   and keeps versions of classified data. Its policy can be read, is open to nobody but principals of the tenant's
#   accounts, and no copies of it go to buckets that are not the tenant's.
# related_resources:
# - https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html
# custom:
#   severity: critical
#   enforcement: deny
#   controls: ["CIS AWS Foundations 2.1.4", "NIST 800-53 AC-3", "NIST 800-53 SC-28", "NIST 800-53 CP-9", "PCI DSS 1.3.1", "PCI DSS 3.5.1", "HIPAA 164.312(a)(2)(iv)", "SOC 2 CC6.1"]
#   match:
#     rules:
#     - {apiGroups: [s3.services.k8s.aws], apiVersions: ["*"], resources: [buckets], operations: [CREATE, UPDATE]}
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
package portcullis.s3_buckets

import data.portcullis.lib.cloud
import data.portcullis.lib.cloud_stores

deny contains fault if some fault in cloud_stores.faults(input.request.object, cloud.scope)
