# METADATA
# scope: package
# title: Classified data outlives the object that stands for it
# description: >-
#   ACK deletes a bucket, a database, a table, a file system or a key at AWS when its object is deleted, unless the
#   annotation `services.k8s.aws/deletion-policy` says `retain`, on the object or, by service, on the namespace. Where the
#   data is classified it says so, and an object that does not say so is not deleted.
# related_resources:
# - https://aws-controllers-k8s.github.io/docs/guides/deletion-policy
# custom:
#   severity: high
#   enforcement: deny
#   controls: ["NIST 800-53 CP-9", "NIST 800-53 SI-12", "PCI DSS 10.5.1", "HIPAA 164.308(a)(7)(ii)(A)", "HIPAA 164.316(b)(2)(i)", "SOC 2 A1.2"]
#   match:
#     rules:
#     - {apiGroups: [s3.services.k8s.aws], apiVersions: ["*"], resources: [buckets], operations: [CREATE, UPDATE, DELETE]}
#     - {apiGroups: [rds.services.k8s.aws], apiVersions: ["*"], resources: [dbinstances, dbclusters, globalclusters], operations: [CREATE, UPDATE, DELETE]}
#     - {apiGroups: [dynamodb.services.k8s.aws], apiVersions: ["*"], resources: [tables], operations: [CREATE, UPDATE, DELETE]}
#     - {apiGroups: [efs.services.k8s.aws], apiVersions: ["*"], resources: [filesystems], operations: [CREATE, UPDATE, DELETE]}
#     - {apiGroups: [kms.services.k8s.aws], apiVersions: ["*"], resources: [keys], operations: [CREATE, UPDATE, DELETE]}
#   parameters:
#     tenantLabel: tenant
#     # Key of the namespaces' label with the class of their data, and the classes that are kept.
#     classificationLabel: classification
#     classified: [confidential, phi]
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     classificationLabel: {minLength: 1}
#     classified: {items: {type: string, minLength: 1}}
package portcullis.cloud_retention

import data.portcullis.lib.cloud
import data.portcullis.lib.cloud_ownership
import data.portcullis.lib.objects

request := input.request

subject := request.object if request.operation != "DELETE"

subject := request.oldObject if request.operation == "DELETE"

said := objects.value(objects.annotations(subject), "services.k8s.aws/deletion-policy")

# The annotation of the namespace is by service: `s3.services.k8s.aws/deletion-policy`.
of_namespace := objects.value(objects.child(input.namespace, "annotations"), sprintf("%s.services.k8s.aws/deletion-policy", [cloud.service(subject)]))

policy := said if said != null

policy := of_namespace if said == null

shown := "not said" if policy == null

shown := sprintf("`%s`", [objects.shown(policy)]) if policy != null

deny contains violation if {
	cloud.scope.classified
	request.operation != "DELETE"
	policy != "retain"
	violation := {
		"msg": sprintf("%s holds classified data, and that goes with the object: its deletion policy is %s", [cloud_ownership.what(subject), shown]),
		"field": "metadata.annotations[\"services.k8s.aws/deletion-policy\"]",
		"fix": "set the annotation to retain",
	}
}

deny contains violation if {
	cloud.scope.classified
	request.operation == "DELETE"
	policy != "retain"
	violation := {
		"msg": sprintf("%s holds classified data, which would be deleted with it", [cloud_ownership.what(subject)]),
		"field": "metadata.annotations[\"services.k8s.aws/deletion-policy\"]",
		"fix": "set the annotation to retain, and delete it then",
	}
}
