# METADATA
# scope: package
# title: PHI rests on encrypted volumes
# description: >-
#   A volume claim that is marked PHI, or that is in a namespace marked PHI, is of a storage class that is known to encrypt:
#   one of `encryptedClasses`, or one whose `encrypted` parameter is "true" in `data.inventory`. A claim without a class
#   takes the default class of the inventory. So do the claims that a PHI Pod makes for itself (`ephemeral`); a PHI Pod
#   mounts nothing of its node (`hostPath`). A StorageClass of one of `provisioners` says `encrypted: "true"`, whoever
#   writes it.
# related_resources:
# - https://github.com/kubernetes-sigs/aws-ebs-csi-driver/blob/master/docs/parameters.md
# - https://docs.aws.amazon.com/eks/latest/userguide/create-storage-class.html
# custom:
#   severity: critical
#   enforcement: deny
#   controls: ["HIPAA 164.312(a)(2)(iv)", "NIST 800-53 SC-28", "NIST 800-53 SC-28(1)", "SOC 2 CC6.1"]
#   match:
#     rules:
#     - {apiGroups: [""], apiVersions: [v1], resources: [pods, persistentvolumeclaims], operations: [CREATE, UPDATE]}
#     - {apiGroups: [storage.k8s.io], apiVersions: ["*"], resources: [storageclasses], operations: [CREATE, UPDATE]}
#     podTemplates: true
#   parameters:
#     tenantLabel: tenant
#     # Key of the label that says how sensitive data is, and its values that mean PHI.
#     label: classification
#     phiLevels: [phi]
#     # Names of storage classes that encrypt, with `*`, besides those the inventory knows.
#     encryptedClasses: []
#     # Provisioners whose classes must say that they encrypt.
#     provisioners: [ebs.csi.aws.com, ebs.csi.eks.amazonaws.com, kubernetes.io/aws-ebs]
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     label: {minLength: 1}
#     phiLevels: {items: {type: string, minLength: 1}}
#     encryptedClasses: {items: {type: string, minLength: 1}}
#     provisioners: {items: {type: string, minLength: 1}}
package portcullis.phi_volumes

import data.portcullis.lib.objects
import data.portcullis.lib.phi
import data.portcullis.lib.pods
import data.portcullis.lib.tenants

parameters := input.parameters

kind := input.request.kind.kind

subject := input.request.object

classes := objects.as_object(data.inventory.cluster["storage.k8s.io/v1"].StorageClass)

encrypts(name) if tenants.fits_any(parameters.encryptedClasses, name)

encrypts(name) if encrypted(classes[name])

encrypted(class) if objects.value(objects.child(class, "parameters"), "encrypted") == "true"

# The class that a claim gets: its own, else the default one.
class_of(spec) := name if {
	name := objects.value(spec, "storageClassName")
	name != null
} else := name if {
	some name, class in classes
	objects.annotations(class)["storageclass.kubernetes.io/is-default-class"] == "true"
} else := "the default one"

# Claims, with the path of the class: `{name, field, spec}`.
claims contains {"name": tenants.name, "field": "spec.storageClassName", "spec": objects.child(subject, "spec")} if {
	kind == "PersistentVolumeClaim"
}

claims contains {"name": objects.shown(objects.value(volume, "name")), "field": field, "spec": spec} if {
	kind == "Pod"
	some i, volume in objects.items(pods.spec(subject), "volumes")
	ephemeral := objects.child(volume, "ephemeral")
	count(ephemeral) > 0
	spec := objects.child(objects.child(ephemeral, "volumeClaimTemplate"), "spec")
	field := sprintf("spec.volumes[%d].ephemeral.volumeClaimTemplate.spec.storageClassName", [i])
}

deny contains violation if {
	phi.subject
	some claim in claims
	class := class_of(claim.spec)
	not encrypts(class)
	violation := {
		"msg": sprintf("claim `%s` is for PHI, and storage class `%s` is not known to encrypt", [claim.name, class]),
		"field": claim.field,
		"fix": "name a storage class that encrypts",
	}
}

deny contains violation if {
	phi.subject
	kind == "Pod"
	some i, volume in objects.items(pods.spec(subject), "volumes")
	objects.value(volume, "hostPath") != null
	violation := {
		"msg": sprintf("a PHI Pod must not mount a path of its node: volume `%s`", [objects.shown(objects.value(volume, "name"))]),
		"field": sprintf("spec.volumes[%d].hostPath", [i]),
		"fix": "use a volume claim",
	}
}

deny contains violation if {
	kind == "StorageClass"
	subject.provisioner in parameters.provisioners
	not encrypted(subject)
	violation := {
		"msg": sprintf("storage class `%s` does not encrypt", [input.request.name]),
		"field": "parameters.encrypted",
		"fix": "set it to \"true\"; a class cannot be changed, so make another",
	}
}
