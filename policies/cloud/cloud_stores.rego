# METADATA
# scope: package
# title: Caches, file systems and image repositories are encrypted and closed
# description: >-
#   ElastiCache encrypts what it holds and what goes over the network, and with classified data asks who is there. An EFS
#   FileSystem is encrypted, and backed up where the data is classified. An ECR Repository does not let tags be moved and
#   scans what is pushed. The policies of file systems and repositories are open to nobody but principals of the tenant's
#   accounts. Keys are the tenant's where the class of the data asks for it.
# custom:
#   severity: high
#   enforcement: deny
#   controls: ["CIS AWS Foundations 2.3.1", "NIST 800-53 SC-28", "NIST 800-53 SC-8", "NIST 800-53 RA-5", "PCI DSS 3.5.1", "PCI DSS 4.2.1", "HIPAA 164.312(a)(2)(iv)", "HIPAA 164.312(e)(2)(ii)", "SOC 2 CC6.1"]
#   match:
#     rules:
#     - {apiGroups: [elasticache.services.k8s.aws], apiVersions: ["*"], resources: [replicationgroups, cacheclusters, serverlesscaches], operations: [CREATE, UPDATE]}
#     - {apiGroups: [efs.services.k8s.aws], apiVersions: ["*"], resources: [filesystems], operations: [CREATE, UPDATE]}
#     - {apiGroups: [ecr.services.k8s.aws], apiVersions: ["*"], resources: [repositories], operations: [CREATE, UPDATE]}
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
package portcullis.cloud_stores

import data.portcullis.lib.cloud
import data.portcullis.lib.cloud_stores

deny contains fault if some fault in cloud_stores.faults(input.request.object, cloud.scope)
