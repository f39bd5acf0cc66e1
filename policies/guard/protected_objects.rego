# METADATA
# scope: package
# title: What must not be lost is not deleted
# description: >-
#   Refused is the deletion of what carries "true" under `key`, as a label or an annotation (everything in namespaces, and of
#   the cluster's own objects those that `match` names); of a namespace
#   that holds volume claims, or whose data is PHI; of a resource definition of which there are objects; of a volume that is
#   bound; and of backups and what they stand on (`backups`, and Velero's requests to delete a backup). Nobody gives
#   a protected object an owner either, with which it would go. Whoever breaks the glass for the tenant, or everywhere by
#   `breakGlass`, may. The platform takes the protection away first; nobody else may. Controllers carry out what was
#   admitted before and are not asked. What a namespace holds and which objects there are is known from `data.inventory`.
# custom:
#   severity: critical
#   enforcement: deny
#   controls: ["NIST 800-53 CP-9", "NIST 800-53 CM-5", "NIST 800-53 SI-12", "HIPAA 164.308(a)(7)(ii)(A)", "HIPAA 164.312(c)(1)", "SOC 2 A1.2"]
#   match:
#     rules:
#     - {apiGroups: ["*"], apiVersions: ["*"], resources: ["*"], operations: [UPDATE, DELETE], scope: Namespaced}
#     - {apiGroups: [velero.io], apiVersions: ["*"], resources: [deletebackuprequests], operations: [CREATE], scope: Namespaced}
#     - {apiGroups: [""], apiVersions: [v1], resources: [namespaces, persistentvolumes], operations: [UPDATE, DELETE]}
#     - {apiGroups: [apiextensions.k8s.io], apiVersions: ["*"], resources: [customresourcedefinitions], operations: [UPDATE, DELETE]}
#     - {apiGroups: [snapshot.storage.k8s.io], apiVersions: ["*"], resources: [volumesnapshotcontents], operations: [UPDATE, DELETE]}
#     - {apiGroups: [karpenter.sh], apiVersions: ["*"], resources: [nodepools], operations: [UPDATE, DELETE]}
#   onUpdate: all
#   parameters:
#     tenantLabel: tenant
#     # Label or annotation of objects that are not deleted; its value is "true".
#     key: portcullis.io/protected
#     # Label of a namespace that says how sensitive its data is, and its values that are kept.
#     classification: classification
#     keptLevels: [phi]
#     # Where the inventory has no volume claims of any namespace: `warn`, `deny` or `allow`.
#     whenUnknown: warn
#     # Kinds that are kept, as `<group>/<Kind>`.
#     backups:
#     - velero.io/Backup
#     - velero.io/BackupStorageLocation
#     - velero.io/Schedule
#     - backup.services.k8s.aws/BackupVault
#     - backup.services.k8s.aws/BackupPlan
#     - snapshot.storage.k8s.io/VolumeSnapshot
#     - snapshot.storage.k8s.io/VolumeSnapshotContent
#     # Who may delete everywhere in an emergency.
#     breakGlass: {groups: [], users: []}
#     # Who may take a protection away.
#     platformGroups: ["system:masters"]
#     platformUsers: []
#     controllers:
#       groups: ["system:nodes", "system:serviceaccounts:kube-system"]
#       # Velero deletes backups that have expired.
#       users: ["system:kube-scheduler", "system:kube-controller-manager", "system:apiserver", "system:serviceaccount:velero:velero"]
#       userPrefixes: ["eks:"]
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     key: {minLength: 1}
#     classification: {minLength: 1}
#     keptLevels: {items: {type: string, minLength: 1}}
#     whenUnknown: {enum: [warn, deny, allow]}
#     backups: {items: {type: string, minLength: 1}}
#     breakGlass:
#       additionalProperties: {type: array, items: {type: string, minLength: 1}}
#       propertyNames: {enum: [groups, users]}
#     platformGroups: {items: {type: string, minLength: 1}}
#     platformUsers: {items: {type: string, minLength: 1}}
#     controllers:
#       required: [groups, users, userPrefixes]
#       additionalProperties: {type: array, items: {type: string, minLength: 1}}
#       propertyNames: {enum: [groups, users, userPrefixes]}
package portcullis.protected_objects

import data.portcullis.lib.objects
import data.portcullis.lib.requester
import data.portcullis.lib.tenants

parameters := input.parameters

request := input.request

old := request.oldObject

kind := request.kind.kind

group := request.kind.group

whole if objects.value(request, "subResource") in {null, ""}

emergency if requester.among(objects.child(parameters, "breakGlass"))

emergency if requester.breaks_glass(tenants.owner)

deleting if {
	request.operation == "DELETE"
	whole
	not requester.controller
	not emergency
}

name := objects.shown(objects.value(objects.child(old, "metadata"), "name"))

protected(obj) if objects.labels(obj)[parameters.key] == "true"

protected(obj) if objects.annotations(obj)[parameters.key] == "true"

ask := "ask those who may break the glass for the tenant (`breakGlass` of the contract)"

deny contains violation if {
	deleting
	protected(old)
	violation := {
		"msg": sprintf("%s `%s` is protected by `%s`", [kind, name, parameters.key]),
		"fix": sprintf("have the platform take `%s` away first, or %s", [parameters.key, ask]),
	}
}

deny contains violation if {
	request.operation == "UPDATE"
	whole
	protected(old)
	not protected(request.object)
	not requester.platform
	not emergency
	violation := {
		"msg": sprintf("only the platform takes the protection of %s `%s` away", [kind, name]),
		"field": objects.field("metadata.labels", parameters.key),
		"fix": "keep it, or ask the platform team",
	}
}

# The garbage collector deletes what is left of an owner that is gone.
deny contains violation if {
	request.operation == "UPDATE"
	whole
	protected(old)
	some owner in objects.items(objects.child(request.object, "metadata"), "ownerReferences")
	not owner in objects.items(objects.child(old, "metadata"), "ownerReferences")
	not requester.platform
	not emergency
	violation := {
		"msg": sprintf("%s `%s` is protected, and would go with its new owner `%s`", [kind, name, objects.shown(objects.value(owner, "name"))]),
		"field": "metadata.ownerReferences",
		"fix": "leave it out, or ask the platform team",
	}
}

# ---- Namespaces

on_namespace if {
	kind == "Namespace"
	group == ""
}

claims := tenants.in_namespace(name, "v1", "PersistentVolumeClaim")

deny contains violation if {
	deleting
	on_namespace
	count(claims) > 0
	violation := {
		"msg": sprintf("namespace `%s` holds data: %s", [name, concat(", ", sort([sprintf("volume claim `%s`", [c]) | some c, _ in claims]))]),
		"fix": "delete the claims first, once what is on them is saved",
	}
}

deny contains violation if {
	deleting
	on_namespace
	level := class_of_data
	level in parameters.keptLevels
	violation := {
		"msg": sprintf("namespace `%s` holds data of class `%s`", [name, level]),
		"fix": ask,
	}
}

# As the namespace says itself, else as the contract has it for namespaces that say nothing.
class_of_data := said if {
	said := objects.value(objects.labels(old), parameters.classification)
	not said in {null, ""}
} else := objects.value(objects.child(tenants.contract, "classification"), "default")

unknown := {
	"msg": sprintf("whether namespace `%s` holds data is not known: no volume claim is in data.inventory", [name]),
	"fix": "give Portcullis the cluster's volume claims as data",
} if {
	deleting
	on_namespace
	tenants.owner
	not tenants.knows_kind("v1", "PersistentVolumeClaim")
}

deny contains finding if {
	finding := unknown
	parameters.whenUnknown == "deny"
}

warn contains finding if {
	finding := unknown
	parameters.whenUnknown == "warn"
}

# ---- Definitions, volumes, backups

defined := objects.child(objects.child(old, "spec"), "names").kind

defined_group := objects.child(old, "spec").group

instances contains sprintf("%s/%s", [namespace, object]) if {
	deleting
	kind == "CustomResourceDefinition"
	some namespace, versions in data.inventory.namespace
	some api_version, kinds in versions
	split(api_version, "/")[0] == defined_group
	some object, _ in kinds[defined]
}

instances contains object if {
	deleting
	kind == "CustomResourceDefinition"
	some api_version, kinds in data.inventory.cluster
	split(api_version, "/")[0] == defined_group
	some object, _ in kinds[defined]
}

deny contains violation if {
	count(instances) > 0
	violation := {
		"msg": sprintf("there are %d objects of `%s`, such as `%s`, and all of them would go", [count(instances), name, min(instances)]),
		"fix": "delete the objects first",
	}
}

deny contains violation if {
	deleting
	kind == "PersistentVolume"
	group == ""
	claim := objects.child(objects.child(old, "spec"), "claimRef")
	count(claim) > 0
	objects.child(old, "status").phase == "Bound"
	violation := {
		"msg": sprintf("volume `%s` is bound to claim `%s/%s`", [name, objects.shown(objects.value(claim, "namespace")), objects.shown(objects.value(claim, "name"))]),
		"fix": "delete the claim first",
	}
}

deny contains violation if {
	deleting
	sprintf("%s/%s", [group, kind]) in parameters.backups
	violation := {
		"msg": sprintf("%s `%s` is a backup, or what backups stand on", [kind, name]),
		"fix": sprintf("let it expire, or %s", [ask]),
	}
}

deny contains violation if {
	request.operation == "CREATE"
	group == "velero.io"
	kind == "DeleteBackupRequest"
	not requester.controller
	not emergency
	backup := objects.shown(objects.value(objects.child(request.object, "spec"), "backupName"))
	violation := {
		"msg": sprintf("Backup `%s` would be deleted by the request", [backup]),
		"field": "spec.backupName",
		"fix": sprintf("let it expire, or %s", [ask]),
	}
}
