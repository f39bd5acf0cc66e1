# METADATA
# scope: package
# title: Databases are encrypted, closed, backed up and hard to lose
# description: >-
#   An RDS DBInstance or DBCluster of ACK is encrypted, not reachable from outside, keeps backups for `backupDays` and is
#   protected from deletion; a GlobalCluster is encrypted. No password stands in the manifest. With classified data it
#   takes logins by IAM; where the class asks for it RDS keeps the password, the key is the tenant's, and an instance runs
#   in more than one zone. It is made from no snapshot of an account that is not the tenant's. An instance of a cluster
#   has its storage, backups and logins from that.
# custom:
#   severity: critical
#   enforcement: deny
#   controls: ["CIS AWS Foundations 2.2.1", "CIS AWS Foundations 2.2.3", "CIS AWS Foundations 2.2.4", "NIST 800-53 SC-28", "NIST 800-53 SC-7", "NIST 800-53 CP-9", "PCI DSS 1.4.4", "PCI DSS 3.5.1", "HIPAA 164.312(a)(2)(iv)", "HIPAA 164.308(a)(7)(ii)(A)", "SOC 2 CC6.1", "SOC 2 A1.2"]
#   match:
#     rules:
#     - {apiGroups: [rds.services.k8s.aws], apiVersions: ["*"], resources: [dbinstances, dbclusters, globalclusters], operations: [CREATE, UPDATE]}
#   parameters:
#     tenantLabel: tenant
#     # Key of the namespaces' label with the class of their data.
#     classificationLabel: classification
#     # Classes of data that is kept and guarded, and of data encrypted with a key of the tenant.
#     classified: [confidential, phi]
#     keyed: [phi]
#     # Classes of data whose databases run in more than one zone.
#     available: [phi]
#     # Least days of backups.
#     backupDays: 7
#     # Engines that take logins by IAM.
#     iamEngines: [postgres, mysql, mariadb, aurora-postgresql, aurora-mysql]
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     classificationLabel: {minLength: 1}
#     classified: {items: {type: string, minLength: 1}}
#     keyed: {items: {type: string, minLength: 1}}
#     available: {items: {type: string, minLength: 1}}
#     backupDays: {type: integer, minimum: 1, maximum: 35}
#     iamEngines: {items: {type: string, minLength: 1}}
package portcullis.rds_databases

import data.portcullis.lib.cloud
import data.portcullis.lib.cloud_stores

deny contains fault if some fault in cloud_stores.faults(input.request.object, cloud.scope)
