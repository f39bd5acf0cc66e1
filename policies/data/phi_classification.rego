# METADATA
# scope: package
# title: Protected health information is classified and safeguarded
# description: >-
#   The label `classification` says how sensitive the data is that a Pod handles, or that a ConfigMap, a Secret or a
#   volume claim holds. Wherever it stands its value must be one of `levels`.
#   A Pod must carry it when its namespace is marked PHI (the label `classification` of the namespace), when its
#   workload is (that label on the Deployment, Job and so on), or when it uses data marked PHI: a Secret, ConfigMap or
#   PersistentVolumeClaim that `phiData` names, or that carries the label in `data.inventory`. In the last two cases its
#   level must be PHI itself; in a namespace marked PHI it must be at least `namespaceMinimum`.
#   A PHI Pod uses no host namespace and no image that is untagged or `latest` without a digest, and has an `owner`:
#   a label or annotation of its own, the namespace's label, or the `owner` of the tenant's contract.
#   No update removes the label or lowers it, on Pods, templates, namespaces or data. A value that is no level counts
#   as the highest here, so nothing slips below it.
# custom:
#   severity: critical
#   enforcement: deny
#   controls: ["HIPAA 164.312(a)(1)", "HIPAA 164.308(a)(2)", "NIST 800-53 RA-2", "NIST 800-53 AC-16", "SOC 2 CC6.1"]
#   match:
#     # Labels can be changed through `status` and `finalize` as well.
#     rules:
#     - apiGroups: [""]
#       apiVersions: [v1]
#       resources:
#       - pods
#       - pods/status
#       - namespaces
#       - namespaces/status
#       - namespaces/finalize
#       - configmaps
#       - secrets
#       - persistentvolumeclaims
#       - persistentvolumeclaims/status
#       operations: [CREATE, UPDATE]
#     podTemplates: true
#   onUpdate: ratchet
#   parameters:
#     # Key of the label.
#     label: classification
#     # Its values, the least sensitive first.
#     levels: [public, internal, confidential, phi]
#     # From this level on it is PHI.
#     phiLevel: phi
#     # The least a Pod may carry in a namespace marked PHI.
#     namespaceMinimum: public
#     # Key of the label or annotation that names who answers for a PHI Pod; on a namespace, of the label.
#     owner: owner
#     # Key of the label that says whose a namespace is.
#     tenantLabel: tenant
#     # Data that is marked without a label: `<kind>/<namespace>/<name>`, each with `*` for any.
#     # For example "Secret/tenant-c/records-db" or "PersistentVolumeClaim/*/phi-*".
#     phiData: []
#   parametersSchema:
#     label: {minLength: 1}
#     levels: {minItems: 1, uniqueItems: true, items: {type: string, minLength: 1}}
#     phiLevel: {minLength: 1}
#     namespaceMinimum: {minLength: 1}
#     owner: {minLength: 1}
#     tenantLabel: {minLength: 1}
#     phiData: {items: {type: string, minLength: 1}}
package portcullis.phi_classification

import data.portcullis.lib.objects
import data.portcullis.lib.pods
import data.portcullis.lib.tenants

parameters := input.parameters

key := parameters.label

subject := input.request.object

on_pod if input.request.kind.kind == "Pod"

containers := pods.containers(subject)

field := objects.field("metadata.labels", key)

default namespace := ""

namespace := input.request.namespace if is_string(input.request.namespace)

# ---- Levels

# Rank of a label's value; one that is no level is the highest.
rank(value) := min([i | some i, level in parameters.levels; level == value]) if value in parameters.levels

rank(value) := count(parameters.levels) - 1 if not value in parameters.levels

phi_rank := rank(parameters.phiLevel)

# The label of an object; undefined when it is missing.
level_of(obj) := level if {
	level := objects.value(objects.labels(obj), key)
	level != null
}

is_phi(obj) if rank(level_of(obj)) >= phi_rank

allowed := concat(", ", parameters.levels)

deny contains fault if {
	on_pod
	some fault in pods.faults(subject)
}

deny contains fault if some fault in objects.metadata_faults(subject)

deny contains violation if {
	level := level_of(subject)
	not level in parameters.levels
	violation := {
		"msg": sprintf("the label `%s` is `%s`, which is none of %s", [key, objects.shown(level), allowed]),
		"field": field,
		"fix": sprintf("set it to one of %s", [allowed]),
	}
}

# ---- Removing and lowering

deny contains violation if {
	removed
	violation := {
		"msg": sprintf("the label `%s` was `%s` and cannot be removed", [key, objects.shown(level_of(input.request.oldObject))]),
		"field": field,
		"fix": "keep the label",
	}
}

# Only an update has an old object.
removed if {
	level_of(input.request.oldObject)
	objects.value(objects.labels(subject), key) == null
}

deny contains violation if {
	before := level_of(input.request.oldObject)
	after := level_of(subject)
	rank(after) < rank(before)
	violation := {
		"msg": sprintf(
			"the label `%s` was `%s` and cannot be lowered to `%s`",
			[key, objects.shown(before), objects.shown(after)],
		),
		"field": field,
		"fix": sprintf("keep `%s`", [objects.shown(before)]),
	}
}

# ---- Who must carry the label

# What marks the Pod: `{why, least}`, the least rank it must have.
marks contains {"why": why, "least": rank(parameters.namespaceMinimum)} if {
	on_pod
	is_phi({"metadata": input.namespace})
	why := sprintf("namespace `%s` is marked PHI", [namespace])
}

marks contains {"why": why, "least": phi_rank} if {
	on_pod
	is_phi(input.parent.object)
	why := sprintf("its %s is marked PHI", [input.parent.kind.kind])
}

marks contains {"why": why, "least": phi_rank} if {
	on_pod
	some use in data_uses
	marked_data(use)
	why := sprintf("it uses %s `%s`, which is marked PHI", [use.kind, use.name])
}

deny contains violation if {
	some mark in marks
	objects.value(objects.labels(subject), key) == null
	not removed
	violation := {
		"msg": sprintf("the Pod must carry the label `%s`: %s", [key, mark.why]),
		"field": field,
		"fix": sprintf("set it to %s", [concat(" or ", array.slice(parameters.levels, mark.least, count(parameters.levels)))]),
	}
}

deny contains violation if {
	some mark in marks
	level := level_of(subject)
	rank(level) < mark.least
	violation := {
		"msg": sprintf("the label `%s` must be `%s` or above, not `%s`: %s", [
			key,
			parameters.levels[mark.least],
			level,
			mark.why,
		]),
		"field": field,
		"fix": sprintf("set it to `%s`", [parameters.levels[mark.least]]),
	}
}

# ---- Data that a Pod uses

marked_data(use) if {
	some pattern in parameters.phiData
	glob.match(pattern, ["/"], concat("/", [use.kind, namespace, use.name]))
}

marked_data(use) if is_phi(data.inventory.namespace[namespace].v1[use.kind][use.name])

# Secrets, ConfigMaps and volume claims that the Pod names: `{kind, name}`.
data_uses contains use if {
	some volume in volumes
	some use in uses_of_volume(volume)
}

data_uses contains use if {
	some volume in volumes
	some source in objects.items(objects.child(volume, "projected"), "sources")
	some use in named({
		"Secret": objects.child(source, "secret"),
		"ConfigMap": objects.child(source, "configMap"),
	})
}

data_uses contains use if {
	some c in containers
	some source in objects.items(c.container, "envFrom")
	some use in named({
		"Secret": objects.child(source, "secretRef"),
		"ConfigMap": objects.child(source, "configMapRef"),
	})
}

data_uses contains use if {
	some c in containers
	some variable in objects.items(c.container, "env")
	source := objects.child(variable, "valueFrom")
	some use in named({
		"Secret": objects.child(source, "secretKeyRef"),
		"ConfigMap": objects.child(source, "configMapKeyRef"),
	})
}

volumes := objects.items(pods.spec(subject), "volumes")

uses_of_volume(volume) := named({"ConfigMap": objects.child(volume, "configMap")}) | {use |
	some kind, name in {
		"Secret": objects.value(objects.child(volume, "secret"), "secretName"),
		"PersistentVolumeClaim": objects.value(objects.child(volume, "persistentVolumeClaim"), "claimName"),
	}
	is_string(name)
	use := {"kind": kind, "name": name}
}

named(references) := {{"kind": kind, "name": reference.name} |
	some kind, reference in references
	is_string(reference.name)
}

# ---- Safeguards of a PHI Pod

phi_pod if {
	on_pod
	is_phi(subject)
}

deny contains violation if {
	phi_pod
	some host in ["hostNetwork", "hostPID", "hostIPC"]
	not objects.value(pods.spec(subject), host) in {null, false}
	violation := {
		"msg": sprintf("a PHI Pod must not share the host's namespaces: %s is set", [host]),
		"field": sprintf("spec.%s", [host]),
		"fix": "leave it out",
	}
}

deny contains violation if {
	phi_pod
	some used in images
	loose(used.image)
	violation := {
		"msg": sprintf("a PHI Pod must not use image `%s`: it is untagged or `latest`, without a digest", [used.image]),
		"field": used.field,
		"fix": "name a version, or better a digest",
	}
}

deny contains violation if {
	phi_pod
	not owned
	violation := {
		"msg": sprintf("a PHI Pod must have an owner: neither the Pod, nor its namespace, nor the contract of a tenant says `%s`", [parameters.owner]),
		"field": objects.field("metadata.labels", parameters.owner),
		"fix": sprintf("set the label or the annotation `%s` to who answers for the Pod", [parameters.owner]),
	}
}

owned if {
	some where in [objects.labels(subject), objects.annotations(subject)]
	named_owner(objects.value(where, parameters.owner))
}

# The Pods of a namespace are its owner's, and those of a tenant the contract's.
owned if named_owner(objects.value(objects.child(input.namespace, "labels"), parameters.owner))

owned if named_owner(objects.value(tenants.contract, "owner"))

named_owner(owner) if {
	is_string(owner)
	trim_space(owner) != ""
}

images contains {"field": concat(".", [c.field, "image"]), "image": image} if {
	some c in containers
	image := text(objects.value(c.container, "image"))
}

images contains {"field": sprintf("spec.volumes[%d].image.reference", [i]), "image": image} if {
	some i, volume in volumes
	objects.value(volume, "image") != null
	image := text(objects.value(objects.child(volume, "image"), "reference"))
}

text(value) := value if is_string(value)

text(value) := "" if not is_string(value)

# `[registry[:port]/]path[:tag][@digest]`: neither a digest nor a tag other than `latest`. A colon before the last
# slash belongs to a port; a digest has a colon of its own, so what follows the first one is never just `latest`.
loose(image) if {
	segments := split(image, "/")
	parts := split(segments[count(segments) - 1], ":")
	tag := concat(":", array.slice(parts, 1, count(parts)))
	tag in {"", "latest"}
}
